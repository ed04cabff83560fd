"""What an import would do to the sessions that are there: looked up batch by batch, and nothing is kept."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator

from psycopg import sql

from session_assets.kintell.batch import Batch
from session_assets.kintell.jobs import Policy
from session_assets.stores import kintell_statements as statements
from session_assets.stores.kintell_load import stage
from session_assets.stores.kintell_schema import Schema
from session_assets.stores.postgres import Database

_DIFFERING = sql.SQL("""
    SELECT count(*) FROM known k JOIN batch b USING (row)
    CROSS JOIN LATERAL (SELECT FROM kintell_sessions s WHERE s.id = k.id AND ({differs}) OFFSET 0) AS s
""")


class Preview:
    """Counts of rows, once all batches were looked at; none where the table is there and an import would have to mend it."""

    def __init__(self, database: Database, policy: Policy, absent: Collection[str]) -> None:
        self._database = database
        self._policy = policy
        self._absent = absent
        self.counts: dict[str, int] = {}

    def looked_at(self, batches: Iterable[Batch]) -> Iterator[Batch]:
        """The same batches."""
        with self._database.attempting(), self._database.connect("kintell dry run", autocommit=False) as connection:
            schema = Schema(connection)
            columns = schema.columns.get("kintell_sessions")
            known = columns is None or (set(statements.SET_COLUMNS) <= columns.keys() and not schema.wrong_types())
            inserted = updated = accepted = 0
            statements.make_staging(connection)
            connection.commit()
            for batch in batches:
                accepted += batch.accepted.height
                if columns is not None and known and batch.accepted.height:
                    with connection.cursor() as cursor:
                        stage(cursor, batch)
                        found = cursor.execute(statements.CLASSIFY).rowcount
                        inserted += batch.accepted.height - found
                        if found and self._policy == "update":
                            differing = _DIFFERING.format(differs=statements.differs(self._absent))
                            updated += (cursor.execute(differing).fetchone() or (0,))[0]
                    connection.rollback()
                yield batch
            if columns is None:
                inserted = accepted
            if known:
                unchanged = accepted - inserted - updated
                self.counts = {"would_insert": inserted, "would_update": updated, "would_leave": unchanged}
