"""The steps that `bench.kintell` measures, each in a process of its own: `python -m bench.kintell_steps NAME FOLDER`.

`FOLDER` holds `sample.csv` and, for the reference, what an import made of it: `sessions.copy` and `outbox.copy`.
"""

from __future__ import annotations

import csv
import json
import sys
import time
from datetime import datetime
from itertools import islice
from pathlib import Path

import psycopg

from session_assets.drops.folder import drop_key, fingerprint
from session_assets.graph.environment import Environment
from session_assets.kintell.attempt import Options
from session_assets.kintell.imports import Imports
from session_assets.stores.postgres import Database

OLD_SAMPLE = 5000
_READ = 1 << 20


def whole_import(folder: Path) -> float:
    """What `session-assets import` does: copy, checks, validation of the whole file, load, error file."""
    environment = Environment.load()
    began = time.perf_counter()
    imports = Imports(environment.settings, environment.storage)
    taken = imports.take(_partition(folder), folder / "sample.csv")
    job, _ = imports.run(taken, Options(), say=lambda line: print(line, file=sys.stderr))
    imports.write_errors(job)
    seconds = time.perf_counter() - began
    assert job.status == "completed", job.reason
    assert job.failed_rows, job
    return seconds


def copy(folder: Path) -> float:
    """The reference: COPY of the valid rows into the same constrained table, and of their events into the outbox."""
    began = time.perf_counter()
    with _connect() as connection:
        for table, name in (("kintell_sessions", "sessions.copy"), ("backfill_outbox", "outbox.copy")):
            with (
                (folder / name).open("rb") as file,
                connection.cursor().copy(f"COPY {table} FROM STDIN".encode()) as out,
            ):
                while chunk := file.read(_READ):
                    out.write(chunk)
            connection.commit()
    return time.perf_counter() - began


def old_algorithm(folder: Path) -> float:
    """The original importer: two SELECTs and one INSERT a row, each committed by itself; scaled to the file."""
    path = folder / "sample.csv"
    with path.open(encoding="utf-8") as file:
        total = sum(1 for _ in file) - 1
    find = "SELECT * FROM users WHERE email = %s LIMIT 1"
    with path.open(encoding="utf-8", newline="") as file, _connect() as connection:
        connection.autocommit = True
        began = time.perf_counter()
        for row in islice(csv.DictReader(file), OLD_SAMPLE):
            try:
                moment = datetime.fromisoformat(row["date"])
            except ValueError:
                continue
            participant = connection.execute(find, [row["participant_email"]]).fetchone()
            volunteer = connection.execute(find, [row["volunteer_email"]]).fetchone()
            if participant and volunteer:
                connection.execute(
                    "INSERT INTO kintell_sessions (external_session_id, session_type, participant_id, volunteer_id, scheduled_at,"
                    " completed_at, duration_minutes, feedback_text, language_level) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s)",
                    [
                        *(row["session_id"], row["session_type"], participant[0], volunteer[0], moment, moment),
                        *(row["duration_min"], row["feedback_text"], row["language_level"]),
                    ],
                )
        return (time.perf_counter() - began) / OLD_SAMPLE * total


def _partition(folder: Path) -> str:
    path = folder / "sample.csv"
    return drop_key(path, fingerprint(path))


def _connect() -> psycopg.Connection:
    return psycopg.connect(Database.from_env("KINTELL_DATABASE_URL").url)


STEPS = {one.__name__: one for one in (whole_import, copy, old_algorithm)}

if __name__ == "__main__":
    print(json.dumps({"seconds": STEPS[sys.argv[1]](Path(sys.argv[2]))}))
