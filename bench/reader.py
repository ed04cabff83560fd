"""The reader of dropped files against the `csv` module: `python -m bench.reader [--megabytes N …] [--rounds N]`.

Prints the tables of docs/benchmarks.md, "Reading dropped files". Each step is a process of its own. What counts are the ratios to
the same file read by `csv.reader` (not strict, so that it accounts for nothing), and that they stay the same at each size.
"""

from __future__ import annotations

import argparse
import csv
import json
import random
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from bench.measure import Figures, interleaved, run
from session_assets.kintell.reader import CsvFile

KINDS = {
    "clean": "9 columns",
    "quoted": "9 columns, each in quotes",
    "stray": "9 columns, a stray quote in 1 % of the rows",
    "adversary": "an eighth of that size, a quote reopened in every row and never closed",
    "wide": "5,000 columns",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--megabytes", type=int, nargs="+", default=[4, 16, 64])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--step", nargs=2, help="csv or ours, and a file: run by the bench itself")
    options = parser.parse_args()
    if options.step:
        _step(*options.step)
        return
    with tempfile.TemporaryDirectory(prefix="bench") as name:
        steps = {
            f"{reader} {kind} {size}": _timed(reader, write_sample(Path(name) / f"{kind}-{size}.csv", kind, size))
            for kind in KINDS
            for size in options.megabytes
            for reader in ("csv", "ours")
        }
        _print(interleaved(options.rounds, steps), options.megabytes)


def write_sample(path: Path, kind: str, megabytes: int) -> Path:
    """A file of a kind and a size, the same for the same ones."""
    chance = random.Random(megabytes)
    width = 5_000 if kind == "wide" else 3 if kind == "adversary" else 9
    rows = [[f"value {chance.randrange(10_000)}" for _ in range(width)] for _ in range(50 if kind == "wide" else 1_000)]
    with path.open("w", encoding="utf-8") as file:
        size = file.write(",".join(f"c{place}" for place in range(width)) + "\n")
        while size < megabytes * (125_000 if kind == "adversary" else 1_000_000):
            row = [*chance.choice(rows)]
            if kind == "stray" and chance.random() < 0.01:
                place = chance.randrange(width)
                row[place] = f'"{row[place]}'
            line = ",".join(f'"{value}"' for value in row) if kind == "quoted" else ",".join(row)
            size += file.write('x",y,"z\n' if kind == "adversary" else f"{line}\n")
    return path


def _timed(reader: str, path: Path) -> Callable[[], tuple[float, float]]:
    def step() -> tuple[float, float]:
        command = [sys.executable, "-W", "ignore", "-m", "bench.reader", "--step", reader, str(path)]
        _, megabytes, output = run(command, {})
        return json.loads(output.splitlines()[-1])["seconds"], megabytes

    return step


def _step(reader: str, path: str) -> None:
    began = time.process_time()
    if reader == "csv":
        csv.field_size_limit(2**31 - 1)
        with Path(path).open(newline="", encoding="utf-8") as file:
            rows = sum(1 for _ in csv.reader(file))
    else:
        rows = sum(frame.height for _, frame in CsvFile(Path(path), required=()).frames())
    print(json.dumps({"seconds": time.process_time() - began, "rows": rows}))


def _print(figures: dict[str, Figures], sizes: list[int]) -> None:
    print("Processor seconds divided by those of the csv module, and peak MB, by the size of the file.\n")
    print(f"| file | {' | '.join(f'{size} MB' for size in sizes)} |\n|---|{'--:|' * len(sizes)}")
    for kind, words in KINDS.items():
        cells = []
        for size in sizes:
            ours, reference = figures[f"ours {kind} {size}"], figures[f"csv {kind} {size}"]
            cells.append(f"{ours.time / reference.time:.1f} × ({ours.time:.1f} s), {ours.memory:.0f} MB")
        print(f"| {words} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
