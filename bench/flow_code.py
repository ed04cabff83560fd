"""The scanner of code references against bare `tokenize`: `python -m bench.flow_code [--rounds N] [--processes N]`.

The corpus is CPython's standard library with its tests, three times: as it is; with a last line that holds the name added to
each file, so that none can be passed over; and searched for a name that a third of its files hold. Prints the table of
docs/benchmarks.md, "Code references".
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import sys
import sysconfig
import tempfile
from pathlib import Path

import psutil

from bench.measure import Figures, interleaved, step

_CASES = {
    "session_id in every file": ("every", "session_id"),
    "`self`, in many files": ("plain", "self"),
    "session_id in hardly any file": ("plain", "session_id"),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench") as name:
        plain, every = Path(name, "plain"), Path(name, "every")
        size, count = _corpus(plain, every)
        environment = {"FLOW_CODE_PROCESSES": str(options.processes), "FLOW_CODE_SKIP": "none"}
        steps = {"bare tokenize": lambda: _step("bare", every, "session_id", environment)}
        steps |= {
            title: lambda folder=folder, searched=searched: _step("scan", Path(name, folder), searched, environment)
            for title, (folder, searched) in _CASES.items()
        }
        figures = interleaved(options.rounds, steps)
    _print(figures, options, size, count)


def _corpus(plain: Path, every: Path) -> tuple[int, int]:
    root = Path(sysconfig.get_path("stdlib"))
    files = [path for path in root.rglob("*.py") if "site-packages" not in path.parts]
    size = 0
    for path in files:
        for folder in (plain, every):
            target = folder / path.relative_to(root)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)
        size += path.stat().st_size
        with (every / path.relative_to(root)).open("ab") as file:
            file.write(b"\nsession_id = 1\n")
    return size, len(files)


def _step(name: str, root: Path, searched: str, environment: dict[str, str]) -> tuple[float, float]:
    variables = {**environment, "FLOW_CODE_ROOT": str(root), "FLOW_CODE_IDENTIFIERS": searched}
    return step(name, variables, "bench.flow_code_steps")


def _print(figures: dict[str, Figures], options: argparse.Namespace, size: int, count: int) -> None:
    memory = psutil.virtual_memory().total / 2**30
    print(
        f"{os.cpu_count()} cores, {memory:.0f} GiB, {platform.system()}, CPython {platform.python_version()};", end=" "
    )
    print(f"medians of {options.rounds} interleaved rounds on {options.processes} processes.")
    print(f"{count:,} files, {size / 1e6:.0f} MB.\n")
    print("| step | seconds | MB/s | peak MB of a process | ÷ bare tokenize |\n|---|--:|--:|--:|--:|")
    bare = figures["bare tokenize"].time
    for name, one in figures.items():
        print(f"| {name} | {one.time:.2f} | {size / 1e6 / one.time:.1f} | {one.memory:.0f} | {one.time / bare:.2f} |")
    worst = figures["session_id in every file"].time / bare
    print(f"\nWhere every file holds the name: {worst:.2f} of a bare pass, bound ≤ 1.3.", file=sys.stdout)


if __name__ == "__main__":
    main()
