"""The identity slice against the bare Cosmos DB client: `python -m bench.identity [--rounds N] [--only NAME]`.

On an emulator of its own, which takes one of the cores: rates say little, ratios within one run do. Prints the tables of
docs/benchmarks.md, "Canonical user ids".
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
from pathlib import Path

import psutil

from bench.measure import Figures, interleaved, run
from session_assets.embedded.servers import Servers

_APPLIED, _PLANNED = 2000, 100_000  # sessions
_SECTIONS = ("apply", "plan")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", choices=_SECTIONS)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench") as folder:
        servers = Servers(Path(folder))
        servers.up(["cosmos"])
        try:
            environment = servers.environment({})
            wanted = [options.only] if options.only else _SECTIONS
            sections = {name: _MEASURED[name](environment, options.rounds) for name in wanted}
        finally:
            servers.down()
    _print(sections, options.rounds)


def _apply(environment: dict[str, str], rounds: int) -> tuple[int, dict[str, Figures]]:
    """Rounds of apply and of the bare client, each on documents of its own that are planted and planned before."""
    print(f"## {_APPLIED:,} sessions to apply", file=sys.stderr)
    figures: dict[str, Figures] = {}
    for number in range(rounds):
        for name in ("raw_apply", "apply"):
            env = _settings(environment, f"{name}{number}", _APPLIED)
            _step("plant", env)
            _step("plan", env)
            found = interleaved(1, {name: lambda name=name, env=env: _step(name, env)})[name]
            known = figures.setdefault(name.replace("_", " "), Figures())
            known.seconds += found.seconds
            known.megabytes += found.megabytes
    return _APPLIED, figures


def _plan(environment: dict[str, str], rounds: int) -> tuple[int, dict[str, Figures]]:
    print(f"## {_PLANNED:,} sessions to plan", file=sys.stderr)
    env = _settings(environment, "plan", _PLANNED)
    _step("plant", env)
    steps = {"raw read": lambda: _step("raw_read", env), "plan": lambda: _step("plan", env)}
    return _PLANNED, interleaved(rounds, steps)


_MEASURED = {"apply": _apply, "plan": _plan}


def _settings(environment: dict[str, str], name: str, sessions: int) -> dict[str, str]:
    return {
        **environment,
        "COSMOS_DATABASE_NAME": name,
        "SESSION_ASSETS_STORAGE": f"{environment['SESSION_ASSETS_HOME']}/{name}",
        "BENCH_SESSIONS": str(sessions),
    }


def _step(name: str, environment: dict[str, str]) -> tuple[float, float]:
    """The seconds that a step reports of its work alone, and its peak MB."""
    _, megabytes, output = run([sys.executable, "-W", "ignore", "-m", "bench.identity_steps", name], environment)
    return json.loads(output.splitlines()[-1])["seconds"], megabytes


def _print(sections: dict[str, tuple[int, dict[str, Figures]]], rounds: int) -> None:
    memory = psutil.virtual_memory().total / 2**30
    print(f"{os.cpu_count()} cores, {memory:.0f} GiB, {platform.system()}; medians of {rounds} interleaved rounds.\n")
    for name, (sessions, figures) in sections.items():
        print(f"### {name}: {sessions:,} sample sessions\n")
        print("| step | seconds | peak MB |\n|---|--:|--:|")
        for step, one in figures.items():
            print(f"| {step} | {one.time:.2f} | {one.memory:.0f} |")
        print("\n| figure | | bound |\n|---|--:|--:|")
        if name == "apply":
            print(f"| rate of apply / of the bare client | {_ratio(figures, 'raw apply', 'apply'):.2f} | ≥ 0.85 |\n")
        else:
            print(f"| rate of plan / of a bare paged read | {_ratio(figures, 'raw read', 'plan'):.2f} | |")
            print(f"| peak memory of plan | {figures['plan'].memory:.0f} MB | < 400 MB |\n")


def _ratio(figures: dict[str, Figures], reference: str, ours: str) -> float:
    return figures[reference].time / figures[ours].time


if __name__ == "__main__":
    main()
