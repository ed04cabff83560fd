"""Taking a job back in batches, each one transaction: sessions, compensating events, and a note of what became of each row."""

from __future__ import annotations

import time
from typing import Any

import polars as pl
import psycopg
from psycopg import errors, sql

from session_assets.errors import SessionAssetsError, UsageError
from session_assets.failpoints import failpoint
from session_assets.kintell.jobs import ROLLED_BACK, ROLLING_BACK, Job
from session_assets.kintell.revert import REFUSED, Reverted
from session_assets.progress import tell
from session_assets.stores import kintell_undo as statements
from session_assets.stores.kintell_jobs import JobStore
from session_assets.stores.kintell_refusals import REFUSALS as TABLE_REFUSALS
from session_assets.stores.kintell_schema import migrate_if_due
from session_assets.stores.kintell_statements import REVERTED

_BATCH = 10_000
_ONE_BY_ONE = 1000
_TRIES = 8
_CONFLICTS = (
    errors.DeadlockDetected,
    errors.LockNotAvailable,
    errors.SerializationFailure,
    errors.ForeignKeyViolation,
)


class Undo:
    """The undo of one job. Killed at any point, running it again finishes; finished, it tries again what it refused.

    Raises `UsageError` for a job that another program made, or that was imported into another database.
    """

    def __init__(self, jobs: JobStore, job: Job) -> None:
        if job.sha256 is None:
            raise UsageError(
                f"Job {job.id} was made by another program: which rows it wrote is not known, so it cannot be taken back."
            )
        jobs.require_own(job)
        self._jobs = jobs
        self._database = jobs.database
        self._job = job

    def look(self) -> Reverted:
        """What `run` would do now, with what it did before; writes nothing."""
        with self._database.attempting(), self._connection() as connection:
            connection.execute(statements.TEMPORARY)
            again = self._again(connection)
            values = {"job": self._job.id, "after": 0, "limit": None, "again": again}
            connection.execute(self._judge(connection, lock=False), values)
            found = dict(
                connection.execute(
                    "SELECT change, count(*) FROM verdicts WHERE verdict = 'undone' GROUP BY 1"
                ).fetchall()
            )
            job = {"job": self._job.id}
            refused = connection.execute(statements.WOULD_REFUSE, job).fetchall()
            noted = connection.execute(statements.REFUSED, job).fetchall()
            refused += [one for one in noted if not again or one[-1] == "returned"]
            done, unrecorded = self._done(connection), self._unrecorded(connection)
            connection.rollback()
        frame = pl.DataFrame(refused, schema=REFUSED, orient="row").sort("row")
        removed, restored = (found.get(name, 0) + done.get(name, 0) for name in ("inserted", "updated"))
        return Reverted(removed, restored, frame, unrecorded)

    def skipped_since(self) -> list[tuple[str, str, int]]:
        """Later imports, by job, file name and number of rows, that skipped rows: some may be rows which this job inserted."""
        with self._database.connected("kintell revert") as connection:
            return connection.execute(statements.SKIPPED_SINCE, [self._job.id]).fetchall()

    def run(self) -> Reverted:
        """Undo what can be undone; the job is failed then, with the reason `rolled back`.

        Raises `LockHeld` while somebody works on the job, `SessionAssetsError` where others keep writing the same rows.
        """
        migrate_if_due(self._database)
        with self._jobs.hold(self._job, "revert"):
            with self._database.connected("kintell revert") as connection:
                connection.execute(statements.BEGIN, [ROLLING_BACK, self._job.id, ROLLED_BACK])
            failpoint("kintell.revert.begun")
            with self._database.attempting(), self._connection() as connection:
                connection.execute(
                    "SET lock_timeout = '10s'; SET enable_seqscan = off"
                )  # a batch is looked up by its ids
                connection.execute(statements.TEMPORARY)
                judge = self._judge(connection, lock=True)
                if self._again(connection):
                    connection.execute(statements.FORGET, [self._job.id])
                base = _first(connection.execute(statements.LAST, [REVERTED, self._job.id]))
                connection.commit()
                undone = 0
                while count := self._batch(connection, judge, base):
                    undone += count
                    tell("kintell rows undone", undone, self._job.inserted_rows + self._job.updated_rows)
            with self._database.connected("kintell revert") as connection:
                connection.execute(
                    "UPDATE backfill_jobs SET reason = %s, pause_requested = false WHERE id = %s",
                    [ROLLED_BACK, self._job.id],
                )
            failpoint("kintell.revert.finished")
            return self._noted()

    def _batch(self, connection: psycopg.Connection, judge: sql.Composed, base: int) -> int:
        for trial in range(_TRIES):
            try:
                try:
                    return self._undo(connection, judge, base)
                except TABLE_REFUSALS:
                    connection.rollback()
                    return self._one_by_one(connection, judge, base)
            except _CONFLICTS as error:
                connection.rollback()
                if trial == _TRIES - 1:
                    raise SessionAssetsError(
                        f"Job {self._job.id} could not be rolled back whole in {_TRIES} tries"
                        f" ({error.diag.message_primary}): others write the same sessions. Run the same command again."
                    ) from None
                time.sleep(0.05 * 2**trial)
        raise AssertionError("unreachable")

    def _one_by_one(self, connection: psycopg.Connection, judge: sql.Composed, base: int) -> int:
        """Some rows alone, after the table refused one of a batch: what it refuses is left, and noted."""
        row = 0
        for count in range(_ONE_BY_ONE):
            last, row = row, _first(connection.execute(statements.NEXT, [self._job.id, row]))
            if row is None:
                return count
            try:
                self._undo(connection, judge, base, after=last, limit=1)
            except TABLE_REFUSALS:
                connection.rollback()
                connection.execute(statements.REFUSE, [self._job.id, row])
                connection.commit()
        return _ONE_BY_ONE

    def _undo(
        self,
        connection: psycopg.Connection,
        judge: sql.Composed,
        base: int,
        *,
        after: int = 0,
        limit: int | None = None,
    ) -> int:
        """One batch; returns the number of rows that it settled."""
        job = {"job": self._job.id, "base": base, "after": after, "limit": limit or _BATCH, "again": False}
        count = connection.execute(judge, job).rowcount
        failpoint("kintell.revert.judged")
        if count:
            rows = _first(connection.execute(statements.REMOVE, {**job, "kind": "removed"}))
            failpoint("kintell.revert.removed")
            rows += _first(connection.execute(statements.RESTORE, {**job, "kind": "restored"}))
            statements.pass_on(connection, self._job.id, self._job.digest_columns or [])
            failpoint("kintell.revert.restored")
            if _first(connection.execute(statements.LEFT)) != len(rows):
                connection.execute(statements.KEPT, [rows])
            connection.execute(statements.NOTE, [self._job.id])
            connection.execute(statements.COUNT, [len(rows), self._job.id])
        failpoint("kintell.revert.counted")
        connection.commit()
        failpoint("kintell.revert.committed")
        return count

    def _judge(self, connection: psycopg.Connection, *, lock: bool) -> sql.Composed:
        return statements.judge(connection, self._job.digest_columns or [], lock=lock)

    def _again(self, connection: psycopg.Connection) -> bool:
        return bool(_first(connection.execute(statements.AGAIN, [self._job.id])))

    def _noted(self) -> Reverted:
        """What became of each row."""
        with self._database.connected("kintell revert") as connection:
            done, unrecorded = self._done(connection), self._unrecorded(connection)
            refused = connection.execute(statements.REFUSED, {"job": self._job.id}).fetchall()
        frame = pl.DataFrame(refused, schema=REFUSED, orient="row")
        return Reverted(done.get("inserted", 0), done.get("updated", 0), frame, unrecorded)

    def _done(self, connection: psycopg.Connection) -> dict[str, int]:
        """Rows that were undone, of those that are so in the table now."""
        return dict(connection.execute(statements.DONE, [self._job.id]).fetchall())

    def _unrecorded(self, connection: psycopg.Connection) -> int:
        return _first(connection.execute(statements.UNRECORDED, {"job": self._job.id}))

    def _connection(self) -> psycopg.Connection:
        return self._database.connect("kintell revert", autocommit=False)


def _first(cursor: psycopg.Cursor) -> Any:
    found = cursor.fetchone()
    assert found is not None
    return found[0]
