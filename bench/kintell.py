"""Kintell imports against COPY, the old importer and dlt: `python -m bench.kintell [--rows N …] [--rounds N] [--against NAME …]`.

On a PostgreSQL of its own. Each figure is the median of interleaved rounds; what counts are the ratios within one run. dlt is
installed into a virtual environment of its own. Prints the tables of docs/benchmarks.md, "Kintell imports".
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import psutil
import psycopg

from bench.kintell_sample import add_users, write_sample
from bench.measure import Figures, interleaved, run
from session_assets.embedded.servers import Servers
from session_assets.stores.kintell_schema import migrate
from session_assets.stores.postgres import Database

DLT = ("dlt[postgres]==1.31.0", "pyarrow==25.0.0", "adbc-driver-manager==1.13.0", "adbc-driver-postgresql==1.13.0")
DLT_SETTINGS = {
    "file": "(c) dlt, the file handed to COPY as texts",
    "keys": "(c) dlt, the valid rows so, into a table with keys",
    "adbc": "(c) dlt, parsed, ADBC",
    "csv": "(c) dlt, parsed, CSV",
    "merge": "(c) dlt, parsed, upsert by session_id",
}
IMPORT = "whole import"
_OURS = {"copy": "(a) COPY of rows and events", "old_algorithm": "(b) old importer (extrapolated)"}
_TABLES = "kintell_sessions, backfill_jobs, backfill_rejects, backfill_row_changes, backfill_outbox"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=[100_000, 1_000_000])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--against", nargs="*", choices=[*_OURS, *DLT_SETTINGS], default=[*_OURS, *DLT_SETTINGS])
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench") as name:
        folder = Path(name)
        python = _with_dlt(folder / "dlt") if set(options.against) & set(DLT_SETTINGS) else ""
        servers = Servers(folder / "home")
        servers.up(["postgresql"])
        try:
            environment = {**os.environ, **servers.environment({}), "NATS_URL": ""}
            database = Database.from_env("KINTELL_DATABASE_URL", environment)
            sizes = {rows: _size(folder, environment, database, rows, options, python) for rows in options.rows}
        finally:
            servers.down()
    _print(sizes, options.rounds)


def _size(
    folder: Path,
    environment: dict[str, str],
    database: Database,
    rows: int,
    options: argparse.Namespace,
    python: str,
) -> dict[str, Figures]:
    print(f"## {rows:,} rows", file=sys.stderr)
    work = folder / str(rows)
    work.mkdir()
    write_sample(work / "sample.csv", rows)
    _clear(database)
    _step("whole_import", work, environment)  # makes what the reference copies, and warms the machine up
    _export(database, work)

    def ours(name: str) -> Callable[[], tuple[float, float]]:
        def step() -> tuple[float, float]:
            _clear(database)
            return _step(name, work, environment)

        return step

    def dlt(setting: str) -> Callable[[], tuple[float, float]]:
        def step() -> tuple[float, float]:
            _clear(database)
            script = str(Path(__file__).parent / "kintell_dlt.py")
            file = work / ("valid.csv" if setting == "keys" else "sample.csv")
            command = [python, "-W", "ignore", script, setting, str(file), database.url]
            _, megabytes, output = run(command, environment)
            return json.loads(output.splitlines()[-1])["seconds"], megabytes

        return step

    steps = {IMPORT: ours("whole_import")}
    steps |= {_OURS[name]: ours(name) for name in options.against if name in _OURS}
    steps |= {DLT_SETTINGS[name]: dlt(name) for name in options.against if name in DLT_SETTINGS}
    return interleaved(options.rounds, steps)


def _step(name: str, work: Path, environment: dict[str, str]) -> tuple[float, float]:
    command = [sys.executable, "-W", "ignore", "-m", "bench.kintell_steps", name, str(work)]
    _, megabytes, output = run(command, environment)
    return json.loads(output.splitlines()[-1])["seconds"], megabytes


def _clear(database: Database) -> None:
    """Empty tables with users, nothing left to be written by the server."""
    migrate(database)
    with psycopg.connect(database.url, autocommit=True) as connection:
        connection.execute(f"TRUNCATE {_TABLES}, users".encode())
        add_users(connection)
        connection.execute("VACUUM ANALYZE users")
        connection.execute("CHECKPOINT")


def _export(database: Database, work: Path) -> None:
    """What an import wrote, and the rows of its file; for the references. The users stay the same for them by their ids."""
    with psycopg.connect(database.url) as connection:
        for table, name in (("kintell_sessions", "sessions.copy"), ("backfill_outbox", "outbox.copy")):
            with (work / name).open("wb") as file, connection.cursor().copy(f"COPY {table} TO STDOUT".encode()) as rows:
                for chunk in rows:
                    file.write(chunk)
        ids = {one for (one,) in connection.execute("SELECT external_session_id FROM kintell_sessions")}
    with (
        (work / "sample.csv").open(encoding="utf-8") as sample,
        (work / "valid.csv").open("w", encoding="utf-8") as valid,
    ):
        valid.write(next(sample))
        valid.writelines(line for line in sample if line.partition(",")[0] in ids)


def _with_dlt(folder: Path) -> str:
    """The Python of a virtual environment with dlt."""
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    python = str(folder / "bin" / "python")
    subprocess.run([python, "-m", "pip", "install", "-q", "--disable-pip-version-check", *DLT], check=True)
    return python


def _print(sizes: dict[int, dict[str, Figures]], rounds: int) -> None:
    memory = psutil.virtual_memory().total / 2**30
    print(f"{os.cpu_count()} cores, {memory:.0f} GiB, {platform.system()}; medians of {rounds} interleaved rounds.\n")
    for rows, figures in sizes.items():
        print(
            f"### {rows:,} rows, 2 % bad\n\n| step | seconds | rows/s | peak MB | whole import ÷ it |\n|---|--:|--:|--:|--:|"
        )
        ours = figures[IMPORT].time
        for name, one in figures.items():
            print(f"| {name} | {one.time:.2f} | {rows / one.time:,.0f} | {one.memory:.0f} | {ours / one.time:.2f} |")
        print()
    if len(sizes) > 1:
        small, large = (figures[IMPORT].memory for figures in (sizes[min(sizes)], sizes[max(sizes)]))
        print(
            f"Peak memory of an import: {small:.0f} MB, and {large:.0f} MB for the larger file: {large / small:.2f} times."
        )


if __name__ == "__main__":
    main()
