"""Rows of a file that its job has been through, once more: rejected ones are retried, lost sessions come back.

What is in the table stays as it is: the same bytes are one job, and a session may hold later values. Counters, rejects and
changes move together in the transaction of a batch, so rows read = inserted + updated + skipped + rejected at every moment.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field, replace
from typing import Any

import polars as pl
import psycopg
from psycopg import sql

from session_assets.errors import UsageError
from session_assets.failpoints import failpoint
from session_assets.kintell.batch import Batch, Written
from session_assets.kintell.jobs import Outstanding, Policy
from session_assets.stores import kintell_statements as statements
from session_assets.stores.kintell_load import Lane, LeftOut, as_csv, counts, reject_rows, stage

_BASE = "SELECT coalesce(max(number), 0) FROM backfill_outbox WHERE job_id = %s"
_CHANGED = "SELECT row FROM backfill_row_changes WHERE job_id = %s AND row BETWEEN %s AND %s"
_REJECTED = "SELECT row FROM backfill_rejects WHERE job_id = %s AND row BETWEEN %s AND %s"
_DROP_REJECTS = "DELETE FROM backfill_rejects WHERE job_id = %s AND row = ANY(%s)"
_DROP_CHANGES = "DELETE FROM backfill_row_changes WHERE job_id = %s AND row = ANY(%s) RETURNING change"
# Of the known sessions only those of rows that were lost, or rejected and not repaired since, may be updated.
_FORGET = """
    DELETE FROM known k USING kintell_sessions s, backfill_jobs j WHERE s.id = k.id AND j.id = %(job)s AND NOT (
        k.row = ANY(%(lost)s) OR (k.row = ANY(%(rejected)s) AND s.created_at <= j.created_at AND NOT EXISTS (
            SELECT FROM backfill_row_changes c WHERE c.session_id = s.id AND c.change = 'updated'
                AND c.changed_at > j.created_at AND c.job_id <> j.id AND c.undone IS DISTINCT FROM 'undone')))
    RETURNING k.row
"""
_RECOUNT = """
    UPDATE backfill_jobs SET inserted_rows = inserted_rows + %(inserted)s, updated_rows = updated_rows + %(updated)s,
        skipped_rows = skipped_rows + %(skipped)s, failed_rows = failed_rows + %(rejected)s,
        successful_rows = successful_rows - %(rejected)s, kept_rows = kept_rows + %(kept)s,
        rejects_closed_at = CASE WHEN %(new_rejects)s > 0 THEN NULL ELSE rejects_closed_at END,
        events_total = events_total + %(events)s, updated_at = now()
    WHERE id = %(job)s AND attempt = %(attempt)s RETURNING pause_requested
"""


@dataclass(frozen=True)
class Due:
    """Rows of a batch by what the job made of them before. Of rows that it wrote and that are there, nothing is due."""

    lost: list[int]
    rejected: list[int]
    settled: frozenset[int]

    @staticmethod
    def of(connection: psycopg.Connection, job_id: str, again: Outstanding, first: int, last: int) -> Due:
        """Of the rows from `first` to `last`."""
        changed = {row for (row,) in connection.execute(_CHANGED, [job_id, first, last])}
        rejected = [row for (row,) in connection.execute(_REJECTED, [job_id, first, last])]
        return Due(sorted(changed & again.lost), rejected, frozenset(changed - again.lost))


@dataclass(frozen=True)
class Sorted:
    """The due rows of a batch: those to insert, those of sessions that may be updated, and those that are rejected still."""

    batch: Batch
    fresh: int
    rejected: pl.DataFrame


def sort_out(cursor: psycopg.Cursor, job_id: str, batch: Batch, due: Due, *, restore_skipped: bool) -> Sorted:
    """Stages and classifies what is due of a batch: afterwards `batch` and `known` hold nothing else."""
    rows = batch.but(due.settled)
    asked = {*due.lost, *due.rejected}
    if not restore_skipped:
        rows = rows.but([row for row in rows.accepted["row"] if row not in asked])
    may_stay = pl.col("row").is_in([*asked]) | pl.col("reasons").list.contains("refused_by_table")
    rejected = rows.rejected.filter(may_stay)
    if not rows.accepted.height:
        return Sorted(rows, 0, rejected)
    stage(cursor, rows)
    known = cursor.execute(statements.CLASSIFY).rowcount
    left = {row for (row,) in cursor.execute(_FORGET, {"job": job_id, "lost": due.lost, "rejected": due.rejected})}
    if left:
        cursor.execute("DELETE FROM batch WHERE row = ANY(%s)", [[*left]])
    return Sorted(rows.but(left), rows.accepted.height - known, rejected)


@dataclass
class RetryLane(Lane):
    """A lane for rows before the checkpoint."""

    again: Outstanding = field(kw_only=True)
    _base: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        super().__post_init__()
        with self.database.attempting():
            (self._base,) = self._connection.execute(_BASE, [self.job.id]).fetchone() or (0,)
            self._connection.commit()

    def commit(self, batch: Batch, written: Written, previous: int) -> bool:
        """Count and commit; the checkpoint stays. Returns whether a pause is asked for."""
        values = {"job": self.job.id, "attempt": self.job.attempt, **vars(written)}
        with self.database.attempting():
            found = self._connection.execute(_RECOUNT, values).fetchone()
            if found is None:
                self._connection.rollback()
                raise UsageError(
                    f"Job {self.job.id} was taken over by another process. `session-assets jobs` shows it."
                )
            failpoint("kintell.recounted")
            self._connection.commit()
        failpoint("kintell.retried")
        return bool(found[0])

    def _written(self, batch: Batch, patience: str) -> Written:
        """Changes of the counters: what was lost or rejected leaves its class, and is counted in the one it is in now."""
        job = {"job": self.job.id, "base": self._base}
        with self._connection.cursor() as cursor:
            cursor.execute("SELECT set_config('lock_timeout', %s, true)", [patience])
            due = Due.of(self._connection, self.job.id, self.again, batch.first_row, batch.last_row)
            lost = [change for (change,) in cursor.execute(_DROP_CHANGES, [self.job.id, due.lost])]
            cursor.execute(_DROP_REJECTS, [self.job.id, due.rejected])
            failpoint("kintell.dropped")
            sorted_ = sort_out(cursor, self.job.id, batch, due, restore_skipped=self.job.accepted_at is None)
            if sorted_.rejected.height:
                with cursor.copy(statements.COPY_REJECTS) as copy:
                    copy.write(as_csv(reject_rows(self.job.id, sorted_.rejected)))
            inserted = updated = told = news = kept = 0
            if sorted_.batch.accepted.height:
                if self.job.policy != "skip" and sorted_.batch.accepted.height > sorted_.fresh:
                    updated, told, kept = self._update(cursor, job)
                inserted, news = counts(cursor.execute(statements.write(self._digest), job))
                if inserted != sorted_.fresh:
                    raise LeftOut
                failpoint("kintell.restored")
        inserted, updated = inserted - lost.count("inserted"), updated - lost.count("updated")
        rejected = sorted_.rejected.height - len(due.rejected)
        new_rejects = sorted_.rejected.filter(~pl.col("row").is_in(due.rejected)).height
        return Written(inserted, updated, -(inserted + updated + rejected), rejected, told + news, kept, new_rejects)

    def _staged(self, cursor: psycopg.Cursor, batch: Batch) -> None:
        due = Due.of(self._connection, self.job.id, self.again, batch.first_row, batch.last_row)
        sort_out(cursor, self.job.id, batch, due, restore_skipped=self.job.accepted_at is None)


class RetryPreview:
    """What a retry would do, batch by batch, without writing: the same rows are sorted out by the same statements."""

    def __init__(self, job_id: str, again: Outstanding, policy: Policy, absent: Collection[str]) -> None:
        self._job_id, self._again = job_id, again
        self._policy, self._absent = policy, absent
        self.inserted = self.updated = self.kept = self.rejected = 0

    def look(self, cursor: psycopg.Cursor, batch: Batch, differing: sql.Composed, *, restore_skipped: bool) -> Batch:
        """Count one batch, in a transaction that the caller rolls back; the batch with what would be rejected still."""
        due = Due.of(cursor.connection, self._job_id, self._again, batch.first_row, batch.last_row)
        found = sort_out(cursor, self._job_id, batch, due, restore_skipped=restore_skipped)
        self.inserted += found.fresh
        self.rejected += found.rejected.height
        if self._policy != "skip" and found.batch.accepted.height > found.fresh:
            self.updated += _number(cursor.execute(differing))
            if self._policy == "update":
                self.kept += _number(cursor.execute(statements.keeping(self._absent)))
        return replace(batch, rejected=found.rejected)


def _number(cursor: psycopg.Cursor) -> Any:
    found: Any = cursor.fetchone()
    return found[0]
