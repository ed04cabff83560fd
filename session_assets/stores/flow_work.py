"""What every step of the migration works with: one connection, the schema as it is now, the record, and the limits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, LiteralString

import psycopg
from psycopg import sql

from session_assets.flow.model import Limits, Migration
from session_assets.flow.table_names import quoted, written
from session_assets.stores.flow_catalog import Table, read_table
from session_assets.stores.flow_layout import Layout, Place, raw
from session_assets.stores.flow_steps import Steps
from session_assets.stores.flow_waits import Say


def begin_snapshot(connection: psycopg.Connection, migration: Migration) -> None:
    """One snapshot to read from. Its tables keep their columns until it ends: contract waits, or has been before."""
    names = [quoted(name) for name in (migration.sessions.name, *(one.name for one in migration.tables))]
    found = connection.execute("SELECT to_regclass(name)::text FROM unnest(%s::text[]) name", [names]).fetchall()
    connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY")
    for (name,) in found:
        if name is not None:  # one that is missing is told by whoever looks for it
            connection.execute(sql.SQL("LOCK TABLE {} IN ACCESS SHARE MODE").format(raw(name)))


class Work:
    """Opened by `Flow.working`, which holds the lock of the migration."""

    def __init__(self, connection: psycopg.Connection, migration: Migration, limits: Limits, say: Say) -> None:
        self.connection, self.migration, self.limits, self.say = connection, migration, limits, say
        self.reload()

    def reload(self) -> None:
        """Look at the schema again."""
        self.layout = Layout(self.connection, self.migration)
        self.steps = Steps(self.connection, self.layout.schema)

    def place(self, name: str) -> Place:
        return next(one for one in self.layout.places if one.name == name)

    def read(self, place: Place) -> Table:
        """A table as the catalogue has it this moment."""
        return read_table(self.connection, written(place.table.schema, place.table.name))

    def one(self, statement: LiteralString | sql.Composed, values: Sequence[Any] = ()) -> Any:
        """The first value of the first row."""
        row = self.connection.execute(statement, values or None).fetchone()
        assert row is not None
        return row[0]
