"""Facts of contest sessions against raw reads and plain Python: `python -m bench.contest [--sessions N …] [--rounds N]`.

On a MongoDB of its own, 25 attempts a session, half of the documents from before the enhanced structure (`--old`). Each
figure is a median of interleaved rounds; what counts are the ratios within one run. Prints the tables of docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import tempfile
from pathlib import Path

import psutil
from pymongo import MongoClient

from bench.contest_sample import ATTEMPTS, plant
from bench.measure import Figures, interleaved, step
from session_assets.embedded.servers import Servers

_STEPS = {
    "raw_read": "raw read",
    "loops": "plain Python loops",
    "facts": "facts",
    "facts_stored": "facts, stored for the plan",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sessions", type=int, nargs="+", default=[20_000, 200_000])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--old", type=float, default=0.5, help="the share of documents that are not enhanced")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench") as folder:
        os.environ["SESSION_ASSETS_EMBEDDED_CACHE_GB"] = "4"
        servers = Servers(Path(folder))
        servers.up(["mongodb", "postgresql"])
        try:
            environment = servers.environment({})
            sizes = {count: _size(environment, count, options.old, options.rounds) for count in options.sessions}
        finally:
            servers.down()
    _print(sizes, options.old, options.rounds)


def _size(environment: dict[str, str], sessions: int, old: float, rounds: int) -> dict[str, Figures]:
    print(f"## {sessions:,} sessions", file=sys.stderr)
    uri = environment["CONTEST_MONGO_URI"].replace("/goaime?", f"/bench{sessions}?")
    env = {
        **environment,
        "CONTEST_MONGO_URI": uri,
        "CONTEST_START_DATE": "2024-06-01",
        "SESSION_ASSETS_STORAGE": f"{environment['SESSION_ASSETS_HOME']}/storage{sessions}",
    }
    with MongoClient(uri) as client:
        db = client.get_default_database()
        plant(db, sessions, old=old)
        work = {title: lambda name=name: step(name, env, "bench.contest_steps") for name, title in _STEPS.items()}
        figures = interleaved(rounds, work)
        client.drop_database(db.name)
    return figures


def _print(sizes: dict[int, dict[str, Figures]], old: float, rounds: int) -> None:
    memory = psutil.virtual_memory().total / 2**30
    print(f"{os.cpu_count()} cores, {memory:.0f} GiB, {platform.system()}; medians of {rounds} interleaved rounds;")
    print(f"{old:.0%} of the documents from before the enhanced structure.\n")
    for sessions, figures in sizes.items():
        print(f"### {sessions:,} sessions of {ATTEMPTS} attempts\n")
        print("| step | seconds | peak MB |\n|---|--:|--:|")
        for name, one in figures.items():
            print(f"| {name} | {one.time:.2f} | {one.memory:.0f} |")
        print()
    largest = sizes[max(sizes)]
    facts = largest["facts"]
    print(f"| at {max(sizes):,} sessions | figure | bound |\n|---|--:|--:|")
    print(f"| facts / raw read | {facts.time / largest['raw read'].time:.2f} | ≤ 6 |")
    print(f"| plain Python loops / facts | {largest['plain Python loops'].time / facts.time:.2f} | ≥ 2 |")
    print(f"| peak memory | {facts.memory:.0f} MB | ≤ 600 MB |")
    if len(sizes) > 1:
        print(
            f"| peak memory / that of {min(sizes):,} | {facts.memory / sizes[min(sizes)]['facts'].memory:.2f} | ≤ 1.25 |"
        )


if __name__ == "__main__":
    main()
