"""Batches into `kintell_sessions`: rows, rejects, before-images, events, counters and checkpoint in one transaction.

A lane is one connection. Two lanes write neighbouring batches at the same time and commit them in file order, so that a
checkpoint never runs ahead of its rows.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

import polars as pl
import psycopg
from psycopg import errors, sql

from session_assets.errors import SessionAssetsError, UsageError
from session_assets.failpoints import failpoint
from session_assets.kintell.batch import Batch, Written
from session_assets.kintell.jobs import Conflict, Job
from session_assets.masking import safe_text
from session_assets.stores import kintell_statements as statements
from session_assets.stores.kintell_refusals import REFUSALS, refused_rows
from session_assets.stores.postgres import Database

_CONFLICTS = (
    errors.UniqueViolation,
    errors.DeadlockDetected,
    errors.SerializationFailure,
    errors.LockNotAvailable,
)
_QUICK, _PATIENT = "2s", "60s"  # waits for a row: while a neighbour holds rows that the other may wait for, and alone
_MOMENT = "%Y-%m-%dT%H:%M:%S%.6fZ"


class LeftOut(Exception):
    """A trigger of the table leaves rows out, or gives them other ids."""


@dataclass
class Lane:
    """One transaction at a time: `write`, then `commit` or `rollback`."""

    database: Database
    job: Job
    absent: Collection[str]
    _connection: psycopg.Connection = field(init=False)
    _digest: sql.Composed = field(init=False)

    def __post_init__(self) -> None:
        self._connection = self.database.connect(f"kintell import {self.job.id[:8]}", autocommit=False)
        with self.database.attempting():
            statements.make_staging(self._connection)
            self._digest = statements.digest(self._connection, self.job.digest_columns or [])
            self._connection.commit()

    def write(self, batch: Batch, *, alone: bool = False) -> Written:
        """Everything but counters and checkpoint, uncommitted. Raises `Conflict` where another writer was in between.

        `alone` says that no other lane of ours holds rows: then waiting for other writers cannot be in vain.
        """
        try:
            return self._tried(batch, alone=alone)
        except Conflict:
            self.rollback()
            raise
        except _CONFLICTS as error:
            self.rollback()
            raise Conflict(f"{error.diag.message_primary}") from None
        except LeftOut:
            self.rollback()
            raise Conflict("a trigger of the table leaves rows out") from None
        except errors.ForeignKeyViolation:
            self.rollback()
            raise SessionAssetsError(
                f"Rows up to {batch.last_row} of {self.job.file_name} name a user who was deleted after the file was checked."
                f" Nothing of these rows was imported. Resume the job to check them again: job {self.job.id}."
            ) from None
        except psycopg.Error as error:
            if isinstance(error, REFUSALS) and not alone:  # alone, we look for the rows that are refused
                self.rollback()
                raise Conflict(f"{error.diag.message_primary}") from None
            raise self.database.explained(error) from None

    def commit(self, batch: Batch, written: Written, previous: int) -> bool:
        """Count, move the checkpoint from `previous` to the batch's last row, commit. Returns whether a pause is asked for.

        Raises `UsageError`, and commits nothing, where another process has taken the job over.
        """
        values = {
            "job": self.job.id,
            "attempt": self.job.attempt,
            "previous": previous,
            "last_row": batch.last_row,
            "rows": batch.rows,
            "successful": written.inserted + written.updated + written.skipped,
            **vars(written),
        }
        with self.database.attempting():
            found = self._connection.execute(statements.COUNT, values).fetchone()
            if found is None:
                self._connection.rollback()
                raise UsageError(
                    f"Job {self.job.id} was taken over by another process. `session-assets jobs` shows it."
                )
            failpoint("kintell.counted")
            self._connection.commit()
        failpoint("kintell.committed")
        return bool(found[0])

    def rollback(self) -> None:
        with self.database.attempting():
            self._connection.rollback()

    def close(self) -> None:
        self._connection.close()

    def _tried(self, batch: Batch, *, alone: bool) -> Written:
        """Rows that the table refuses are rejected, and the others written."""
        patience = _PATIENT if alone else _QUICK
        try:
            return self._written(batch, patience)
        except (*REFUSALS, errors.UniqueViolation, LeftOut):
            self._connection.rollback()
            refused = self._refused(batch, patience) if alone else {}
            self._connection.rollback()
            if not refused:
                raise
        return self._tried(batch.without(refused), alone=True)

    def _refused(self, batch: Batch, patience: str) -> dict[int, str]:
        with self._connection.cursor() as cursor:
            cursor.execute("SELECT set_config('lock_timeout', %s, true)", [patience])
            self._staged(cursor, batch)
            found = refused_rows(cursor, self.absent, policy=self.job.policy)
        return {row: safe_text(" ".join(why.split()))[:300] for row, why in found.items()}

    def _staged(self, cursor: psycopg.Cursor, batch: Batch) -> None:
        """Stages and classifies the rows that are written."""
        stage(cursor, batch)
        cursor.execute(statements.CLASSIFY)

    def _written(self, batch: Batch, patience: str) -> Written:
        job = {"job": self.job.id, "base": 0}
        with self._connection.cursor() as cursor:
            cursor.execute("SELECT set_config('lock_timeout', %s, true)", [patience])
            if batch.rejected.height:
                with cursor.copy(statements.COPY_REJECTS) as copy:
                    copy.write(as_csv(reject_rows(self.job.id, batch.rejected)))
            failpoint("kintell.rejected")
            if not batch.accepted.height:
                return Written(0, 0, batch.skipped, batch.rejected.height, 0)
            stage(cursor, batch)
            failpoint("kintell.staged")
            updated = told = kept = 0
            known = cursor.execute(statements.CLASSIFY).rowcount
            if known and self.job.policy != "skip":
                updated, told, kept = self._update(cursor, job)
            inserted, news = counts(cursor.execute(statements.write(self._digest), job))
            if inserted != batch.accepted.height - known:
                raise LeftOut
            failpoint("kintell.inserted")
        skipped = batch.accepted.height - inserted - updated + batch.skipped
        return Written(inserted, updated, skipped, batch.rejected.height, told + news, kept)

    def _update(self, cursor: psycopg.Cursor, job: dict[str, Any]) -> tuple[int, int, int]:
        """Update the known sessions that differ; returns updated rows, events, and rows that kept a stored value."""
        failpoint("kintell.classified")
        differing = cursor.execute(statements.differing(self.absent, self.job.policy)).rowcount
        failpoint("kintell.locked")
        cursor.execute("SET LOCAL enable_seqscan = off")  # else the planner may read the whole table for a batch
        if cursor.execute(statements.VANISHED).rowcount:
            raise Conflict("a session was deleted at the same moment")
        kept = 0
        if self.job.policy == "update":
            (kept,) = cursor.execute(statements.keeping(self.absent)).fetchone() or (0,)
        updated, told = counts(cursor.execute(statements.update(self._digest, self.absent, self.job.policy), job))
        cursor.execute("SET LOCAL enable_seqscan = on")
        if updated != differing:
            raise LeftOut
        failpoint("kintell.updated")
        return updated, told, kept


def stage(cursor: psycopg.Cursor, batch: Batch) -> None:
    """Copy the accepted rows of a batch into the staging table of `make_staging`."""
    with cursor.copy(statements.COPY_BATCH) as copy:
        copy.write(as_csv(_columns(batch.accepted)))


def counts(cursor: psycopg.Cursor) -> tuple[int, int]:
    found = cursor.fetchone()
    assert found is not None
    return found[0], found[1]


def _columns(accepted: pl.DataFrame) -> pl.DataFrame:
    """The staging table's columns, with new ids that rise with time: they fill an index from its right end."""
    moment = pl.col("scheduled_at").dt.strftime(_MOMENT)
    return accepted.select(
        "row",
        pl.Series("id", _ids(accepted.height)),
        "external_session_id",
        "session_type",
        "participant_id",
        "volunteer_id",
        moment,
        moment.alias("completed_at"),
        "duration_minutes",
        "rating",
        "feedback_text",
        "language_level",
        "metadata",
    )


def reject_rows(job_id: str, rejected: pl.DataFrame) -> pl.DataFrame:
    fields = [None if one is None else json.dumps(one, ensure_ascii=False) for one in rejected["fields"].to_list()]
    return rejected.select(
        pl.lit(job_id),
        "row",
        "line",
        pl.Series("fields", fields, dtype=pl.String),
        pl.concat_str(pl.lit("\\x"), pl.col("raw").bin.encode("hex")).alias("raw"),
        pl.concat_str(pl.lit("{"), pl.col("reasons").list.join(","), pl.lit("}")).alias("reasons"),
        pl.col("message").str.replace_all("\x00", "\ufffd", literal=True),
    )


def as_csv(frame: pl.DataFrame) -> bytes:
    """For COPY: texts quoted, nulls not, so that an empty text and a null differ."""
    return frame.write_csv(include_header=False, quote_style="non_numeric").encode()


def _ids(count: int) -> list[str]:
    """UUIDs of version 7."""
    stamp = f"{time.time_ns() // 1_000_000:012x}"
    start, random = f"{stamp[:8]}-{stamp[8:]}", os.urandom(10 * count).hex()
    return [
        f"{start}-7{part[:3]}-{'89ab'[int(part[3], 16) % 4]}{part[4:7]}-{part[7:19]}"
        for part in (random[place : place + 20] for place in range(0, 20 * count, 20))
    ]
