"""Imports for tests: validated rows made by hand, a database with users, and what the tables say afterwards."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import polars as pl
import psycopg

from session_assets.kintell.batch import Batch
from session_assets.kintell.importing import run_import
from session_assets.kintell.jobs import Job, Source
from session_assets.kintell.model import ACCEPTED, REJECTED
from session_assets.kintell.revert import Reverted
from session_assets.stores.kintell_jobs import JobStore
from session_assets.stores.kintell_revert import Undo
from session_assets.stores.kintell_schema import migrate
from session_assets.stores.postgres import Database

VARIABLE = "KINTELL_DATABASE_URL"
HEADER = ["session_id", "session_type", "participant_email", "volunteer_email", "date", "duration_min", "rating"]
_BEGAN = datetime(2024, 1, 15, 10, tzinfo=UTC)
_COLUMNS = (
    "external_session_id, session_type, participant_id, volunteer_id, batch_id, program_instance_id, scheduled_at,"
    " completed_at, duration_minutes, rating, feedback_text, language_level, topics, metadata"
)


@dataclass
class File:
    """A validated file: each row accepted (ACCEPTED values by name), rejected (a reason), or skipped (None)."""

    rows: Sequence[dict[str, Any] | str | None]
    absent: Sequence[str] = ()
    header: list[str] = field(default_factory=lambda: list(HEADER))
    name: str = "sessions.csv"
    encoding: str | None = None
    timezone: str | None = None

    @property
    def total_rows(self) -> int:
        return len(self.rows)

    @property
    def source(self) -> Source:
        return Source(hashlib.sha256(repr([*self.rows]).encode()).hexdigest(), len(self.rows))

    def batches(self, batch_size: int = 10_000, after_row: int = 0, last_row: int | None = None) -> Iterator[Batch]:
        rows = self.rows[:last_row]
        for start in range(after_row, len(rows), batch_size):
            numbered = list(enumerate(rows, 1))[start : start + batch_size]
            accepted = [{"row": row, "line": row + 1, **one} for row, one in numbered if isinstance(one, dict)]
            rejected = [_rejected(row, one) for row, one in numbered if isinstance(one, str)]
            skipped = len(numbered) - len(accepted) - len(rejected)
            yield Batch(
                numbered[-1][0],
                pl.DataFrame(accepted, schema=ACCEPTED),
                pl.DataFrame(rejected, schema=REJECTED),
                skipped,
                pl.DataFrame(
                    [
                        {"row": row, "fields": [one["external_session_id"], "=1"]}
                        for row, one in numbered
                        if isinstance(one, dict)
                    ],
                    schema={"row": pl.Int64, "fields": pl.List(pl.String)},
                ),
            )


def _rejected(row: int, message: str) -> dict[str, Any]:
    return {
        "row": row,
        "line": row + 1,
        "fields": ["=1+1", 'a "quote", a comma', "", "ü\n\r", None] if row % 2 else None,
        "raw": None if row % 2 else b"\xff\x00,broken",
        "reasons": ["date_invalid", "ragged"],
        "message": message,
    }


@dataclass(frozen=True)
class Kintell:
    """A migrated database with ten participants and five volunteers."""

    database: Database

    @staticmethod
    def new(url: str) -> Kintell:
        kintell = Kintell(Database.from_env(VARIABLE, {VARIABLE: url}))
        migrate(kintell.database)
        with kintell.connect() as connection:
            connection.execute(
                "INSERT INTO users (email, role) SELECT 'participant' || n || '@example.com', 'participant'"
                " FROM generate_series(0, 9) n UNION ALL SELECT 'volunteer' || n || '@example.com', 'volunteer'"
                " FROM generate_series(0, 4) n ON CONFLICT DO NOTHING"
            )
        return kintell

    @property
    def jobs(self) -> JobStore:
        return JobStore(self.database)

    def connect(self) -> psycopg.Connection[Any]:
        return psycopg.connect(self.database.url, autocommit=True)

    def one(self, query: str, *values: Any) -> Any:
        with self.connect() as connection:
            found = connection.execute(query.encode(), values).fetchone()
            return found[0] if found and len(found) == 1 else found

    def all(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        with self.connect() as connection:
            return connection.execute(query.encode(), values).fetchall()

    def row(self, number: int, **changed: Any) -> dict[str, Any]:
        """An accepted row; `number` chooses its id and its values."""
        users = self.users()
        people = {
            "participant": f"participant{number % 10}@example.com",
            "volunteer": f"volunteer{number % 5}@example.com",
        }
        return {
            "external_session_id": f"kintell-session-{number:05d}",
            "session_type": "language" if number % 3 else "mentorship",
            "participant_email": people["participant"],
            "volunteer_email": people["volunteer"],
            "participant_id": users[people["participant"]],
            "volunteer_id": users[people["volunteer"]],
            "scheduled_at": _BEGAN + timedelta(minutes=number, microseconds=number),
            "duration_minutes": 1 + number % 90,
            "rating": None if number % 4 == 0 else Decimal(number % 5) / 4,
            "feedback_text": ["", None, 'He said "hi", \\. and left\r\n', "ünï\tcode"][number % 4],
            "language_level": [None, "B1"][number % 2],
            "metadata": None if number % 2 else '{"teacher": "x\\ny", "n": 1}',
            **changed,
        }

    def users(self) -> dict[str, str]:
        if not _USERS.get(self.database.url):
            _USERS[self.database.url] = dict(self.all("SELECT email, id::text FROM users"))
        return _USERS[self.database.url]

    def run(self, file: File, *, batch_size: int = 10, policy: Any = None) -> Job:
        """Import a file as `session-assets import` does, from its job's checkpoint on."""
        job = self.jobs.start(file.name, file.source)
        return run_import(self.jobs, job, lambda _: file, batch_size=batch_size, policy=policy)

    def revert(self, job_id: str) -> Reverted:
        return Undo(self.jobs, self.jobs.get(job_id)).run()

    def look(self, job_id: str) -> Reverted:
        return Undo(self.jobs, self.jobs.get(job_id)).look()

    def dump(self) -> dict[str, list[tuple[Any, ...]]]:
        """All tables without what differs from run to run: ids that we make, and times of writing."""
        age = "(SELECT created_at FROM backfill_jobs j WHERE j.id = job_id)"
        session = "(SELECT external_session_id FROM kintell_sessions s WHERE s.id = session_id)"
        return {
            "sessions": self.all(f"SELECT {_COLUMNS} FROM kintell_sessions ORDER BY external_session_id"),
            "rejects": self.all(
                "SELECT row, line, fields::text, raw, reasons, message FROM backfill_rejects ORDER BY row"
            ),
            "changes": self.all(
                f"SELECT row, {session}, change, before::jsonb - 'id' - 'created_at', undone FROM backfill_row_changes"
                f" ORDER BY {age}, row"
            ),
            "outbox": self.all(
                f"SELECT number, kind, {session}, external_session_id, session_type, participant_id, volunteer_id,"
                " scheduled_at, completed_at, duration_minutes, language_level, rating FROM backfill_outbox"
                f" ORDER BY {age}, number"
            ),
            "jobs": self.all(
                "SELECT file_name, total_rows, processed_rows, successful_rows, failed_rows, last_processed_row, status, reason,"
                " inserted_rows, updated_rows, skipped_rows, events_total FROM backfill_jobs ORDER BY created_at"
            ),
        }

    def killed_job(self, file: File) -> Job | None:
        """The job of a file whose process was killed, once the server has seen that it is gone."""
        for _ in range(100):
            job = self.jobs.find(file.source)
            if job is None or job.holder is None:
                return job
            time.sleep(0.05)
        raise AssertionError("the server still counts the killed process among its holders")


_USERS: dict[str, dict[str, str]] = {}
