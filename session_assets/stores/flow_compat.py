"""Sessions and flows as PostgreSQL knows them, before and after contract: from the column, else from the archive."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from datetime import datetime
from typing import Any, LiteralString

import psycopg
from psycopg import errors, sql
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from session_assets.errors import UsageError
from session_assets.flow import description
from session_assets.flow.compat import NewFlow
from session_assets.flow.model import Migration, made_flow_id
from session_assets.stores.flow_compat_tables import Seen, as_id, look
from session_assets.stores.flow_layout import q
from session_assets.stores.flow_types import is_text
from session_assets.stores.postgres import Database

_PAGE = 20_000
_PURPOSE = "session_assets compatibility"


class FlowTable:
    """The look-up of `flow.compat` on a database. Each call has a connection of its own.

    Asks anew each time whether the column is there, so that contract and downgrade may happen under a running application.
    Without a migration it is that of FLOW_SCHEMA, else the guide's.
    """

    def __init__(self, database: Database, migration: Migration | None = None) -> None:
        self._database, self._migration = database, migration or description.migration()

    def flow_of(self, session: str) -> str | None:
        with self._database.connected(_PURPOSE) as connection:
            return _first(connection, self._migration, session, is_session=True)

    def session_of(self, flow: str) -> str | None:
        with self._database.connected(_PURPOSE) as connection:
            return _first(connection, self._migration, flow, is_session=False)

    def is_flow(self, flow: str) -> bool:
        return self.get(flow) is not None

    def get(self, flow: str) -> dict[str, Any] | None:
        name = self._migration.flows.flow
        with self._database.connected(_PURPOSE) as connection, connection.cursor(row_factory=dict_row) as cursor:
            seen = _flows(connection, self._migration)
            value = as_id(flow, seen.columns[name])
            if value is None:
                return None
            query = q("SELECT f.* FROM {table} f WHERE f.{flow} = %s", table=seen.ident, flow=name)
            return cursor.execute(query, [value]).fetchone()

    def create(self, new: NewFlow, session: str | None = None) -> str:
        """A new flow. For a session it has the id that the migration would give it, so that whoever creates it, there is one."""
        with self._database.connected(_PURPOSE) as connection, connection.transaction():
            seen = _flows(connection, self._migration)
            of_session = None if session is None else as_id(session, _session_type(seen, self._migration))
            if session is not None and of_session is None:
                raise UsageError(
                    "a flow can be created for a session only where its id is one, such as a GUID. Correct it and try again."
                )
            flow = uuid.uuid4() if of_session is None else uuid.UUID(made_flow_id(of_session))
            kind = seen.columns[self._migration.flows.flow]
            if kind != "uuid" and not is_text(kind):
                raise UsageError(
                    f"ids of flows are {kind}, and only the application can give one: create the flow there, then try again."
                )
            _insert(connection, self._migration, seen, flow if kind == "uuid" else str(flow), new, of_session)
        return str(flow)


def pairs(database: Database, migration: Migration | None = None) -> Iterator[tuple[str | None, str]]:
    """(session, flow) of all flows, the one that a session is mapped to first: the earliest, made ones last."""
    migration = migration or description.migration()
    with database.connected(_PURPOSE) as connection, connection.transaction():
        query = _joined(
            migration,
            _flows(connection, migration),
            "SELECT ({session})::text, f.{flow}::text FROM {tables} ORDER BY {made}f.{created}, f.{flow}",
        )
        with connection.cursor("flow_map") as cursor:
            cursor.itersize = _PAGE
            yield from cursor.execute(query)


def contracted_at(database: Database, migration: Migration | None = None) -> datetime | None:
    """When the newest contract was completed that is not undone, else None."""
    with database.connected(_PURPOSE) as connection:
        seen = look(connection, migration or description.migration())
        if seen is None or seen.steps is None:
            return None
        query = q(
            "SELECT max(finished_at) FROM {steps} WHERE kind = 'contract' AND state = 'completed'", steps=seen.steps
        )
        found = connection.execute(query).fetchone()
        return found[0] if found else None


def is_contracted(database: Database, migration: Migration | None = None) -> bool | None:
    """Whether the table of flows names no session any more, as its columns say; None where there is no such table."""
    migration = migration or description.migration()
    with database.connected(_PURPOSE) as connection:
        seen = look(connection, migration)
        return None if seen is None else migration.flows.session not in seen.columns


def _flows(connection: psycopg.Connection, migration: Migration) -> Seen:
    """The table of flows. Raises `UsageError` where it is not there."""
    seen = look(connection, migration)
    if seen is None:
        raise UsageError(f"The database has no {migration.flows.name}. Check FLOW_DATABASE_URL and FLOW_SCHEMA.")
    if migration.flows.flow not in seen.columns:
        raise UsageError(
            f"{migration.flows.name} has no {migration.flows.flow}. Check FLOW_DATABASE_URL and FLOW_SCHEMA."
        )
    if migration.flows.session not in seen.columns and seen.archive is None:
        raise UsageError(
            f"{migration.flows.name} has neither {migration.flows.session} nor its archive. Check FLOW_DATABASE_URL."
        )
    return seen


def _session_type(seen: Seen, migration: Migration) -> str:
    return seen.columns.get(migration.flows.session) or seen.old_type or ""


def _first(connection: psycopg.Connection, migration: Migration, text: str, *, is_session: bool) -> str | None:
    """The first of the flows of a session, or of the sessions of a flow, in the order of the map.

    What can be no id of the column's type matches nothing.
    """
    for _ in range(2):
        seen = _flows(connection, migration)
        kind = _session_type(seen, migration) if is_session else seen.columns[migration.flows.flow]
        value = as_id(text, kind)
        if value is None:
            return None
        wanted: LiteralString = "f.{flow}::text" if is_session else "({session})::text"
        where: LiteralString = "{session} = %s" if is_session else "f.{flow} = %s"
        query: LiteralString = (
            "SELECT " + wanted + " FROM {tables} WHERE " + where + " ORDER BY {made}f.{created}, f.{flow} LIMIT 1"
        )
        try:
            found = connection.execute(_joined(migration, seen, query), [value]).fetchone()
            return found[0] if found else None
        except (errors.UndefinedColumn, errors.UndefinedTable):
            continue  # contract or downgrade came in between
    raise UsageError(f"{migration.flows.name} is being changed. Try again when the migration has finished.")


def _joined(migration: Migration, seen: Seen, text: LiteralString) -> sql.Composed:
    """A query over flows `f` with their session, wherever it stands now."""
    flows = migration.flows
    if flows.session in seen.columns:
        session, tables = sql.Identifier("f", flows.session), q("{table} f", table=seen.ident)
    else:
        assert seen.archive is not None
        session = sql.Identifier("a", "old_value")
        same = seen.same_key("f", "a")
        tables = q("{table} f LEFT JOIN {archive} a ON {same}", table=seen.ident, archive=seen.archive, same=same)
    made: sql.Composable = sql.SQL("")
    if seen.made is not None:
        made = q("EXISTS (SELECT FROM {made} m WHERE m.flow_id = f.{flow}), ", made=seen.made, flow=flows.flow)
    return q(text, session=session, tables=tables, made=made, flow=flows.flow, created=flows.created)


def _insert(
    connection: psycopg.Connection, migration: Migration, seen: Seen, flow: Any, new: NewFlow, session: Any
) -> None:
    flows = migration.flows
    guides = {
        "client_account_id": new.client_account_id,
        "engagement_id": new.engagement_id,
        "user_id": new.user_id,
        "flow_name": new.flow_name,
        "flow_description": new.flow_description,
        "status": "initialized",
        "progress_percentage": 0,
        "crewai_state_data": Jsonb({}),
    }
    values: dict[str, Any] = {name: value for name, value in guides.items() if name in seen.columns}
    values |= {name: flow for name in flows.uuids if name in seen.columns} | dict(new.columns) | {flows.flow: flow}
    has_old = flows.session in seen.columns
    if has_old and session is not None:
        values[flows.session] = session
    names = sql.SQL(", ").join(map(sql.Identifier, values))
    holes = sql.SQL(", ").join(sql.Placeholder() * len(values))
    query = q("INSERT INTO {table} ({names}) VALUES ({holes}) ON CONFLICT DO NOTHING", table=seen.ident, names=names,
              holes=holes)  # fmt: skip
    connection.execute(query, [*values.values()])
    keys = sql.SQL(", ").join(map(sql.Identifier, seen.keys))
    query = q("SELECT {keys} FROM {table} f WHERE f.{flow} = %s", keys=keys, table=seen.ident, flow=flows.flow)
    key = connection.execute(query, [flow]).fetchone()
    if key is None:
        raise UsageError(
            "the flow was not created: another row stands in its place. Choose another flow_name, then try again."
        )
    if session is not None and not has_old:  # so that look-ups find it, and a downgrade restores it
        names = sql.SQL(", ").join(sql.Identifier(f"key{place}") for place in range(1, len(key) + 1))
        holes = sql.SQL(", ").join(sql.Placeholder() * (len(key) + 1))
        assert seen.archive is not None
        query = q("INSERT INTO {archive} ({names}, old_value) VALUES ({holes}) ON CONFLICT DO NOTHING",
                  archive=seen.archive, names=names, holes=holes)  # fmt: skip
        connection.execute(query, [*key, session])
