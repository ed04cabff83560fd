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
from session_assets.kintell.revert import REFUSED, UNDONE, Reverted
from session_assets.progress import tell
from session_assets.stores.kintell_jobs import JobStore
from session_assets.stores.kintell_refusals import REFUSALS as TABLE_REFUSALS
from session_assets.stores.kintell_statements import REVERTED, SET_COLUMNS, digest

_BATCH = 10_000
_ONE_BY_ONE = 1000
_TRIES = 8
_CONFLICTS = (
    errors.DeadlockDetected,
    errors.LockNotAvailable,
    errors.SerializationFailure,
    errors.ForeignKeyViolation,
)
_TEMPORARY = """
    CREATE TEMP TABLE verdicts (row bigint, session_id uuid, change text, before jsonb, verdict text) ON COMMIT DELETE ROWS
"""
_BEGIN = """
    UPDATE backfill_jobs SET status = 'failed', reason = %s, attempt = attempt + 1, updated_at = now()
    WHERE id = %s AND reason IS DISTINCT FROM %s
"""
_JUDGE = sql.SQL("""
    INSERT INTO verdicts SELECT c.row, c.session_id, c.change, c.before,
        CASE WHEN s.id IS NULL THEN 'gone'
            WHEN EXISTS (SELECT FROM backfill_row_changes l WHERE l.session_id = c.session_id AND l.change = 'updated'
                AND l.changed_at > c.changed_at AND l.undone IS DISTINCT FROM 'undone' AND l.job_id <> c.job_id)
            THEN 'changed_later'
            WHEN s.digest IS DISTINCT FROM c.digest THEN 'edited'
            WHEN c.change = 'inserted' AND ({referenced}) THEN 'referenced'
            WHEN c.change = 'updated' AND EXISTS (SELECT FROM (VALUES (c.before ->> 'participant_id'),
                (c.before ->> 'volunteer_id')) AS p (id) WHERE NOT EXISTS (SELECT FROM users u WHERE u.id = p.id::uuid)
                AND p.id IS NOT NULL) THEN 'user_gone'
            ELSE 'undone' END
    FROM (SELECT * FROM backfill_row_changes WHERE job_id = %(job)s AND row > %(after)s
        AND (undone IS NULL OR (%(again)s AND undone <> 'undone')) ORDER BY row LIMIT %(limit)s) AS c
    LEFT JOIN LATERAL (SELECT s.id, {digest} AS digest FROM kintell_sessions s WHERE s.id = c.session_id {lock}) AS s ON true
""")
# Not once the same bytes were imported anew: what was left then belongs to that job too.
_AGAIN = """
    SELECT NOT EXISTS (SELECT FROM backfill_jobs o JOIN backfill_jobs m ON m.sha256 = o.sha256
        WHERE m.id = %s AND o.id <> m.id AND o.reason IS DISTINCT FROM 'rolled back')
"""
_NEXT = "SELECT min(row) FROM backfill_row_changes WHERE job_id = %s AND row > %s AND undone IS NULL"
_REFUSE = "UPDATE backfill_row_changes SET undone = 'refused' WHERE job_id = %s AND row = %s"
_SKIPPED_SINCE = """
    SELECT l.id::text, l.file_name, l.skipped_rows FROM backfill_jobs l JOIN backfill_jobs j ON j.id = %s
    WHERE l.skipped_rows > 0 AND l.created_at > j.created_at AND l.reason IS DISTINCT FROM 'rolled back'
        AND l.reason IS DISTINCT FROM 'rolling back' ORDER BY l.created_at
"""
_FORGET = "UPDATE backfill_row_changes SET undone = NULL WHERE job_id = %s AND undone <> 'undone'"
_LAST = "SELECT greatest(max(number), %s) FROM backfill_outbox WHERE job_id = %s"
_TELL = """
    INSERT INTO backfill_outbox (job_id, number, kind, session_id, external_session_id, session_type, participant_id,
        volunteer_id, scheduled_at, completed_at, duration_minutes, language_level, rating)
    SELECT %(job)s, %(base)s + undone_row, %(kind)s, id, external_session_id, session_type, participant_id, volunteer_id,
        scheduled_at, completed_at, duration_minutes, language_level, rating FROM undone
"""
_UNDO = sql.SQL("""
    WITH undone AS ({what} RETURNING v.row AS undone_row, s.*), told AS ({tell})
    SELECT coalesce(array_agg(undone_row), '{{}}') FROM undone
""")
_REMOVE = _UNDO.format(
    tell=sql.SQL(_TELL),
    what=sql.SQL("""DELETE FROM kintell_sessions s USING verdicts v
        WHERE v.verdict = 'undone' AND v.change = 'inserted' AND s.id = v.session_id"""),
)
_RESTORE = _UNDO.format(
    tell=sql.SQL(_TELL),
    what=sql.SQL("""UPDATE kintell_sessions s SET {values} FROM verdicts v
        CROSS JOIN LATERAL jsonb_populate_record(NULL::kintell_sessions, v.before) AS b
        WHERE v.verdict = 'undone' AND v.change = 'updated' AND s.id = v.session_id""").format(
        values=sql.SQL(", ").join(sql.SQL("{0} = b.{0}").format(sql.Identifier(name)) for name in SET_COLUMNS)
    ),
)
# A trigger may leave a row as it is without a word.
_LEFT = "SELECT count(*) FROM verdicts WHERE verdict = 'undone'"
_KEPT = "UPDATE verdicts SET verdict = 'kept' WHERE verdict = 'undone' AND row <> ALL (%s)"
_NOTE = """
    UPDATE backfill_row_changes c SET undone = v.verdict FROM verdicts v WHERE c.job_id = %s AND c.row = v.row
"""
_COUNT = "UPDATE backfill_jobs SET events_total = events_total + %s, updated_at = now() WHERE id = %s"
_REFUSED = """
    SELECT c.row, c.session_id::text, s.external_session_id, c.undone FROM backfill_row_changes c
    LEFT JOIN kintell_sessions s ON s.id = c.session_id WHERE c.job_id = %s AND c.undone <> 'undone' ORDER BY c.row
"""
_WOULD_REFUSE = """
    SELECT v.row, v.session_id::text, s.external_session_id, v.verdict FROM verdicts v
    LEFT JOIN kintell_sessions s ON s.id = v.session_id WHERE v.verdict <> 'undone' ORDER BY v.row
"""
_FOREIGN_KEYS = """
    SELECT conrelid::regclass::text, a.attname, r.attname FROM pg_constraint k
    JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = k.conkey[1]
    JOIN pg_attribute r ON r.attrelid = k.confrelid AND r.attnum = k.confkey[1]
    WHERE k.contype = 'f' AND k.confrelid = 'kintell_sessions'::regclass AND cardinality(k.conkey) = 1
"""


class Undo:
    """The undo of one job. Killed at any point, running it again finishes; finished, it tries again what it refused.

    Raises `UsageError` for a job that another program made.
    """

    def __init__(self, jobs: JobStore, job: Job) -> None:
        if job.sha256 is None:
            raise UsageError(
                f"Job {job.id} was made by another program: which rows it wrote is not known, so it cannot be taken back."
            )
        self._jobs = jobs
        self._database = jobs.database
        self._job = job

    def look(self) -> Reverted:
        """What `run` would do now, with what it did before; writes nothing."""
        with self._database.attempting(), self._connection() as connection:
            connection.execute(_TEMPORARY)
            again = self._again(connection)
            values = {"job": self._job.id, "after": 0, "limit": None, "again": again}
            connection.execute(self._judge(connection, lock=False), values)
            found = dict(
                connection.execute(
                    "SELECT change, count(*) FROM verdicts WHERE verdict = 'undone' GROUP BY 1"
                ).fetchall()
            )
            refused = connection.execute(_WOULD_REFUSE).fetchall()
            refused += [] if again else connection.execute(_REFUSED, [self._job.id]).fetchall()
            done = self._done(connection)
            connection.rollback()
        frame = pl.DataFrame(refused, schema=REFUSED, orient="row").sort("row")
        removed, restored = (found.get(name, 0) + done.get(name, 0) for name in ("inserted", "updated"))
        return Reverted(removed, restored, frame)

    def skipped_since(self) -> list[tuple[str, str, int]]:
        """Later imports, by job, file name and number of rows, that skipped rows: some may be rows which this job inserted."""
        with self._database.connected("kintell revert") as connection:
            return connection.execute(_SKIPPED_SINCE, [self._job.id]).fetchall()

    def run(self) -> Reverted:
        """Undo what can be undone; the job is failed then, with the reason `rolled back`.

        Raises `LockHeld` while somebody works on the job, `SessionAssetsError` where others keep writing the same rows.
        """
        with self._jobs.hold(self._job, "revert"):
            with self._database.connected("kintell revert") as connection:
                connection.execute(_BEGIN, [ROLLING_BACK, self._job.id, ROLLED_BACK])
            failpoint("kintell.revert.begun")
            with self._database.attempting(), self._connection() as connection:
                connection.execute(
                    "SET lock_timeout = '10s'; SET enable_seqscan = off"
                )  # a batch is looked up by its ids
                connection.execute(_TEMPORARY)
                judge = self._judge(connection, lock=True)
                if self._again(connection):
                    connection.execute(_FORGET, [self._job.id])
                base = _first(connection.execute(_LAST, [REVERTED, self._job.id]))
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
                        f"Job {self._job.id} could not be rolled back to its end in {_TRIES} tries"
                        f" ({error.diag.message_primary}): others write the same sessions. Run the same command again."
                    ) from None
                time.sleep(0.05 * 2**trial)
        raise AssertionError("unreachable")

    def _one_by_one(self, connection: psycopg.Connection, judge: sql.Composed, base: int) -> int:
        """Some rows alone, after the table refused one of a batch: what it refuses is left, and noted."""
        row = 0
        for count in range(_ONE_BY_ONE):
            last, row = row, _first(connection.execute(_NEXT, [self._job.id, row]))
            if row is None:
                return count
            try:
                self._undo(connection, judge, base, after=last, limit=1)
            except TABLE_REFUSALS:
                connection.rollback()
                connection.execute(_REFUSE, [self._job.id, row])
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
            rows = _first(connection.execute(_REMOVE, {**job, "kind": "removed"}))
            failpoint("kintell.revert.removed")
            rows += _first(connection.execute(_RESTORE, {**job, "kind": "restored"}))
            failpoint("kintell.revert.restored")
            if _first(connection.execute(_LEFT)) != len(rows):
                connection.execute(_KEPT, [rows])
            connection.execute(_NOTE, [self._job.id])
            connection.execute(_COUNT, [len(rows), self._job.id])
        failpoint("kintell.revert.counted")
        connection.commit()
        failpoint("kintell.revert.committed")
        return count

    def _judge(self, connection: psycopg.Connection, *, lock: bool) -> sql.Composed:
        referring = [
            sql.SQL(
                "EXISTS (SELECT FROM {} x WHERE x.{} = (SELECT s.{} FROM kintell_sessions s WHERE s.id = c.session_id))"
            ).format(sql.SQL(table), sql.Identifier(column), sql.Identifier(referred))
            for table, column, referred in connection.execute(_FOREIGN_KEYS)
        ]
        return _JUDGE.format(
            referenced=sql.SQL(" OR ").join(referring) if referring else sql.SQL("false"),
            digest=digest(connection, self._job.digest_columns or []),
            lock=sql.SQL("FOR UPDATE" if lock else ""),
        )

    def _again(self, connection: psycopg.Connection) -> bool:
        return bool(_first(connection.execute(_AGAIN, [self._job.id])))

    def _noted(self) -> Reverted:
        """What became of each row."""
        with self._database.connected("kintell revert") as connection:
            done = self._done(connection)
            refused = connection.execute(_REFUSED, [self._job.id]).fetchall()
        return Reverted(
            done.get("inserted", 0), done.get("updated", 0), pl.DataFrame(refused, schema=REFUSED, orient="row")
        )

    def _done(self, connection: psycopg.Connection) -> dict[str, int]:
        query = "SELECT change, count(*) FROM backfill_row_changes WHERE job_id = %s AND undone = %s GROUP BY 1"
        return dict(connection.execute(query, [self._job.id, UNDONE]).fetchall())

    def _connection(self) -> psycopg.Connection:
        return self._database.connect("kintell revert", autocommit=False)


def _first(cursor: psycopg.Cursor) -> Any:
    found = cursor.fetchone()
    assert found is not None
    return found[0]
