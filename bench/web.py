"""The web slice against raw reads, bare writes and the old script: `python -m bench.web [--rounds N] [--small]`.

On servers of its own, at the seed's size and ten times that. Each figure is a median of interleaved rounds; what counts are
the ratios within one run. Prints the table of docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psutil
from pymongo import MongoClient

from bench.measure import Figures, interleaved, run, step
from session_assets.embedded.servers import Servers
from session_assets.embedded.web_sample import plant_seed_case
from session_assets.stores.mongo_indexes import create_event_indexes

CLI = str(Path(sys.executable).parent / "session-assets")
SEED_SESSIONS, SEED_EVENTS = 45_291, 320_410


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--small", action="store_true", help="only the seed's size")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench") as folder:
        os.environ["SESSION_ASSETS_EMBEDDED_CACHE_GB"] = "4"
        servers = Servers(Path(folder))
        servers.up(["mongodb", "postgresql"])
        try:
            environment = servers.environment({})
            rows = [_size(environment, scale, options.rounds) for scale in ((1,) if options.small else (1, 10))]
        finally:
            servers.down()
    _print(rows, options.rounds)


def _size(environment: dict[str, str], scale: int, rounds: int) -> dict[str, Figures]:
    """All figures at one size: with the seed's share of empty sessions, then with every session wiped."""
    print(f"## {scale} x the seed's size", file=sys.stderr)
    uri = environment["WEB_MONGO_URI"].replace("/web?", f"/bench{scale}?")
    env = {
        **environment,
        "WEB_MONGO_URI": uri,
        "WEB_START_DATE": (datetime.now(UTC) - timedelta(days=40)).strftime("%Y-%m-%d"),
        "SESSION_ASSETS_STORAGE": f"{environment['SESSION_ASSETS_HOME']}/storage{scale}",
    }
    with MongoClient(uri) as client:
        db = client.get_default_database()
        plant_seed_case(db, now=datetime.now(UTC), scale=scale)
        create_event_indexes(db)

        filled = {"session_id": {"$exists": True}, "event_count": {"$gt": 0}}

        def wipe() -> None:
            """Every session wiped, exactly as the first time: writes of a round do not show in the next."""
            db.wiped.aggregate([{"$out": "sessions"}])

        def cli(command: str, *expected: int) -> tuple[float, float]:
            seconds, megabytes, _ = run([CLI, command, "web", "--json"], env, expected)
            return seconds, megabytes

        figures = interleaved(rounds, {"raw read": lambda: step("raw_read", env), "facts": lambda: step("facts", env)})
        db.sessions.update_many(filled, {"$set": {"pages": [], "event_count": 0}})
        db.sessions.aggregate([{"$out": "wiped"}])
        step("facts", env)
        step("plan", env)
        written = {}
        for number in range(rounds):
            for name in ("bare_write", "apply"):
                wipe()
                found = interleaved(1, {name: lambda name=name: step(name, env)})[name]
                known = written.setdefault(name.replace("_", " "), Figures())
                known.seconds += found.seconds
                known.megabytes += found.megabytes
            print(f"  writes: round {number + 1} done", file=sys.stderr)
        figures |= written
        wiped: dict[str, Figures] = {}
        for _ in range(rounds):
            wipe()
            found = interleaved(
                1,
                {
                    "old algorithm (extrapolated)": lambda: step("old_algorithm", env),
                },
            )
            wipe()
            found |= interleaved(
                1,
                {
                    "verify, before": lambda: cli("verify", 1),
                    "plan": lambda: cli("plan", 0),
                    "apply plan": lambda: cli("apply", 0),
                    "verify, after": lambda: cli("verify", 0),
                },
            )
            for name, one in found.items():
                known = wiped.setdefault(name, Figures())
                known.seconds += one.seconds
                known.megabytes += one.megabytes
        client.drop_database(db.name)
    return figures | wiped


def _print(sizes: list[dict[str, Figures]], rounds: int) -> None:
    memory = psutil.virtual_memory().total / 2**30
    print(f"{os.cpu_count()} cores, {memory:.0f} GiB, {platform.system()}; medians of {rounds} interleaved rounds.\n")
    for scale, figures in zip((1, 10), sizes, strict=False):
        print(f"### {SEED_SESSIONS * scale:,} sessions, {SEED_EVENTS * scale:,} events\n")
        print("| step | seconds | peak MB |\n|---|--:|--:|")
        for name, one in figures.items():
            print(f"| {name} | {one.time:.2f} | {one.memory:.0f} |")
        print("\n| ratio | figure | bound |\n|---|--:|--:|")
        for name, value, bound in _ratios(figures):
            print(f"| {name} | {value:.2f} | {bound} |")
        print()
    if len(sizes) == 2:
        ours = ("facts", "apply", "verify, before", "plan", "apply plan", "verify, after")
        small, large = (max(size[name].memory for name in ours) for size in sizes)
        print(
            f"Peak memory of any of our steps: {small:.0f} MB, and {large:.0f} MB at ten times the size: {large / small:.2f}."
        )


def _ratios(figures: dict[str, Figures]) -> list[tuple[str, float, str]]:
    old = figures["old algorithm (extrapolated)"].time
    twice = figures["plan"].time + figures["apply plan"].time
    whole = twice + figures["verify, before"].time + figures["verify, after"].time
    return [
        ("facts / raw read", figures["facts"].time / figures["raw read"].time, "≤ 1.6"),
        ("apply / bare write", figures["apply"].time / figures["bare write"].time, "≤ 1.4"),
        ("old algorithm / (plan + apply)", old / twice, "≥ 15"),
        ("old algorithm / (verify + plan + apply + verify)", old / whole, "≥ 8"),
    ]


if __name__ == "__main__":
    main()
