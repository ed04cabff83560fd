"""What an import would do to the sessions that are there: looked up batch by batch, and nothing is kept."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator

import psycopg
from psycopg import sql

from session_assets.kintell.batch import Batch
from session_assets.kintell.jobs import Job, Outstanding, Policy
from session_assets.stores import kintell_statements as statements
from session_assets.stores.kintell_load import stage
from session_assets.stores.kintell_retry import RetryPreview
from session_assets.stores.kintell_schema import Schema
from session_assets.stores.postgres import Database

_DIFFERING = sql.SQL("""
    SELECT count(*) FROM known k JOIN batch b USING (row)
    CROSS JOIN LATERAL (SELECT FROM kintell_sessions s WHERE s.id = k.id AND ({differs}) OFFSET 0) AS s
""")
_MISREAD = sql.SQL("""
    SELECT count(*) FROM batch b JOIN backfill_row_changes c ON c.job_id = %s AND c.row = b.row AND c.undone IS NULL
    CROSS JOIN LATERAL (SELECT FROM kintell_sessions s WHERE s.id = c.session_id AND c.digest = {digest} AND ({differs})
        OFFSET 0) AS s
""")


class Preview:
    """Counts of rows, once all batches were looked at; none where the table is there and an import would have to mend it.

    `job` is the one that the bytes have, with what is `again` to be done of the rows before its checkpoint.
    """

    def __init__(
        self,
        database: Database,
        policy: Policy,
        absent: Collection[str],
        job: Job | None = None,
        again: Outstanding | None = None,
    ) -> None:
        self._database = database
        self._policy: Policy = policy
        self._absent = absent
        self._retry = RetryPreview(job.id, again, policy, absent) if job and again else None
        self._checkpoint = job.last_processed_row if job and again else 0
        self._restore_skipped = job is None or job.accepted_at is None
        self.counts: dict[str, int] = {}
        self.rejected = 0

    def looked_at(self, batches: Iterable[Batch]) -> Iterator[Batch]:
        """The same batches; of rows before the checkpoint, with those alone that would be rejected still."""
        with self._database.attempting(), self._database.connect("kintell dry run", autocommit=False) as connection:
            schema = Schema(connection)
            columns = schema.columns.get("kintell_sessions")
            known = columns is None or (set(statements.SET_COLUMNS) <= columns.keys() and not schema.wrong_types())
            inserted = updated = kept = 0
            accepted = 0
            differing = _DIFFERING.format(differs=statements.differs(self._absent, self._policy))
            statements.make_staging(connection)
            connection.commit()
            for batch in batches:
                accepted += batch.accepted.height
                if columns is not None and known:
                    with connection.cursor() as cursor:
                        if self._retry is not None and batch.last_row <= self._checkpoint:
                            batch = self._retry.look(cursor, batch, differing, restore_skipped=self._restore_skipped)
                        elif batch.accepted.height:
                            stage(cursor, batch)
                            found = cursor.execute(statements.CLASSIFY).rowcount
                            inserted += batch.accepted.height - found
                            if found and self._policy != "skip":
                                updated += _number(cursor.execute(differing))
                                if self._policy == "update":
                                    kept += _number(cursor.execute(statements.keeping(self._absent)))
                    connection.rollback()
                self.rejected += batch.rejected.height
                yield batch
            if columns is None:
                inserted = accepted
            if self._retry is not None:
                inserted, updated = inserted + self._retry.inserted, updated + self._retry.updated
                kept += self._retry.kept
            if known:
                unchanged = accepted - inserted - updated
                self.counts = {
                    "would_insert": inserted,
                    "would_update": updated,
                    "would_leave": unchanged,
                    "would_keep": kept,
                }


def count_misread(database: Database, job: Job, absent: Collection[str], batches: Iterable[Batch]) -> int:
    """Sessions that a job wrote, that are as it left them, and that say something else than the rows now."""
    count = 0
    with database.attempting(), database.connect("kintell dry run", autocommit=False) as connection:
        statements.make_staging(connection)
        connection.commit()
        misread = _MISREAD.format(
            digest=statements.digest(connection, job.digest_columns or []),
            differs=statements.differs(absent, "replace"),
        )
        for batch in batches:
            with connection.cursor() as cursor:
                stage(cursor, batch)
                count += _number(cursor.execute(misread, [job.id]))
            connection.rollback()
    return count


def _number(cursor: psycopg.Cursor) -> int:
    found = cursor.fetchone()
    return found[0] if found else 0
