"""The scanner of code references against bare `tokenize`: `python -m bench.flow_code [--rounds N] [--processes N]`.

The corpus is CPython's standard library with its tests, three times: as it is; with a last line that holds the name added to
each file, so that none can be passed over; and searched for a name that a third of its files hold. What counts is processor
time, of all processes: other work on the machine hardly changes it. Prints the table of docs/benchmarks.md, "Code references".
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import statistics
import sys
import sysconfig
import tempfile
from collections import defaultdict
from pathlib import Path

import psutil

from bench.measure import Figures, interleaved, run

BARE = "bare tokenize"
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
        spent: defaultdict[str, list[float]] = defaultdict(list)
        cases = {BARE: ("bare", "every", "session_id")} | {title: ("scan", *case) for title, case in _CASES.items()}

        def step(title: str) -> tuple[float, float]:
            work, folder, searched = cases[title]
            variables = {**environment, "FLOW_CODE_ROOT": f"{name}/{folder}", "FLOW_CODE_IDENTIFIERS": searched}
            command = [sys.executable, "-W", "ignore", "-m", "bench.flow_code_steps", work]
            _, megabytes, output = run(command, variables)
            told = json.loads(output.splitlines()[-1])
            spent[title].append(told["processor"])
            return told["seconds"], megabytes

        figures = interleaved(options.rounds, {title: lambda title=title: step(title) for title in cases})
    _print(figures, {title: statistics.median(all_) for title, all_ in spent.items()}, options, size, count)


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


def _print(
    figures: dict[str, Figures], spent: dict[str, float], options: argparse.Namespace, size: int, count: int
) -> None:
    memory = psutil.virtual_memory().total / 2**30
    print(
        f"{os.cpu_count()} cores, {memory:.0f} GiB, {platform.system()}, CPython {platform.python_version()};", end=" "
    )
    print(f"medians of {options.rounds} interleaved rounds on {options.processes} processes.")
    print(f"{count:,} files, {size / 1e6:.0f} MB.\n")
    print(
        "| step | seconds | processor seconds | peak MB of a process | processor time ÷ bare |\n|---|--:|--:|--:|--:|"
    )
    for name, one in figures.items():
        ratio = spent[name] / spent[BARE]
        print(f"| {name} | {one.time:.2f} | {spent[name]:.2f} | {one.memory:.0f} | {ratio:.2f} |")


if __name__ == "__main__":
    main()
