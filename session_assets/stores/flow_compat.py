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
from session_assets.flow.compat import NewFlow
from session_assets.flow.compat_model import FLOWS, Flows
from session_assets.flow.model import made_flow_id
from session_assets.stores.postgres import Database

_PAGE = 20_000
_PURPOSE = "session_assets compatibility"


class FlowTable:
    """The look-up of `flow.compat` on a database. Each call has a connection of its own.

    Asks anew each time whether the column is there, so that contract and downgrade may happen under a running application.
    """

    def __init__(self, database: Database, flows: Flows = FLOWS) -> None:
        self._database, self._flows = database, flows

    def flow_of(self, session: str) -> str | None:
        with self._database.connected(_PURPOSE) as connection:
            return _first(connection, self._flows, "{session} = %s", session, "f.{flow}::text")

    def session_of(self, flow: str) -> str | None:
        with self._database.connected(_PURPOSE) as connection:
            return _first(connection, self._flows, "f.{flow} = %s", flow, "({session})::text")

    def is_flow(self, flow: str) -> bool:
        return self.get(flow) is not None

    def get(self, flow: str) -> dict[str, Any] | None:
        if (guid := _guid(flow)) is None:
            return None
        with self._database.connected(_PURPOSE) as connection, connection.cursor(row_factory=dict_row) as cursor:
            query = _q("SELECT f.* FROM {table} f WHERE f.{flow} = %s", self._flows)
            return cursor.execute(query, [guid]).fetchone()

    def create(self, new: NewFlow, session: str | None = None) -> str:
        """A new flow. For a session it has the id that the migration would give it, so that whoever creates it, there is one."""
        of_session = None if session is None else _guid(session)
        if session is not None and of_session is None:
            raise UsageError(
                "a flow can be created for a session only where its id is a GUID. Correct it and try again."
            )
        flow = uuid.uuid4() if of_session is None else uuid.UUID(made_flow_id(of_session))
        with self._database.connected(_PURPOSE) as connection, connection.transaction():
            _insert(connection, self._flows, flow, new, of_session)
        return str(flow)


def pairs(database: Database, flows: Flows = FLOWS) -> Iterator[tuple[str | None, str]]:
    """(session, flow) of all flows, the one that a session is mapped to first: the earliest, made ones last."""
    with database.connected(_PURPOSE) as connection, connection.transaction():
        query = _joined(
            connection,
            flows,
            "SELECT ({session})::text, f.{flow}::text FROM {tables} ORDER BY {made}f.{created}, f.{flow}",
        )
        with connection.cursor("flow_map") as cursor:
            cursor.itersize = _PAGE
            yield from cursor.execute(query)


def contracted_at(database: Database, flows: Flows = FLOWS) -> datetime | None:
    """When the newest contract was completed that is not undone, else None."""
    with database.connected(_PURPOSE) as connection:
        if not exists(connection, flows.steps):
            return None
        query = _q("SELECT max(finished_at) FROM {steps} WHERE kind = 'contract' AND state = 'completed'", flows)
        found = connection.execute(query).fetchone()
        return found[0] if found else None


def is_contracted(database: Database, flows: Flows = FLOWS) -> bool | None:
    """Whether the table of flows names no session any more, as its columns say; None where there is no such table."""
    with database.connected(_PURPOSE) as connection:
        if not exists(connection, flows.table):
            return None
        return not has_column(connection, flows.table, flows.session)


def has_column(connection: psycopg.Connection, table: str, column: str) -> bool:
    """Whether a table, by its name on the search path, has a column."""
    query = "SELECT FROM pg_attribute WHERE attrelid = to_regclass(%s) AND attname = %s AND NOT attisdropped"
    return connection.execute(query, [table, column]).fetchone() is not None


def exists(connection: psycopg.Connection, table: str) -> bool:
    """Whether there is such a table on the search path."""
    found = connection.execute("SELECT to_regclass(%s)", [table]).fetchone()
    return found is not None and found[0] is not None


def _first(
    connection: psycopg.Connection, flows: Flows, where: LiteralString, value: str, wanted: LiteralString
) -> str | None:
    """The first of the flows that a condition holds for, in the order of the map. Values that are no GUID match nothing."""
    if (guid := _guid(value)) is None:
        return None
    text: LiteralString = (
        "SELECT " + wanted + " FROM {tables} WHERE " + where + " ORDER BY {made}f.{created}, f.{flow} LIMIT 1"
    )
    for _ in range(2):
        try:
            found = connection.execute(_joined(connection, flows, text), [guid]).fetchone()
            return found[0] if found else None
        except (errors.UndefinedColumn, errors.UndefinedTable):
            continue  # contract or downgrade came in between
    raise UsageError(f"{flows.table} is being changed. Try again when the migration has finished.")


def _joined(connection: psycopg.Connection, flows: Flows, text: LiteralString) -> sql.Composed:
    """A query over flows `f` with their session, wherever it stands now."""
    session: sql.Composable
    if has_column(connection, flows.table, flows.session):
        session, tables = _q("f.{session_column}", flows), _q("{table} f", flows)
    elif exists(connection, flows.archive):
        session = sql.SQL("a.old_value")
        tables = _q("{table} f LEFT JOIN {archive} a ON a.key1 = f.{key}", flows)
    else:
        raise UsageError(
            f"{flows.table} has neither {flows.session} nor its archive {flows.archive}. Check FLOW_DATABASE_URL."
        )
    made: sql.Composable = sql.SQL("")
    if exists(connection, flows.made):
        made = _q("EXISTS (SELECT FROM {made_table} m WHERE m.flow_id = f.{flow}), ", flows)
    return _q(text, flows, session=session, tables=tables, made=made)


def _insert(
    connection: psycopg.Connection, flows: Flows, flow: uuid.UUID, new: NewFlow, session: uuid.UUID | None
) -> None:
    values: dict[str, Any] = {
        flows.key: flow,
        flows.flow: flow,
        "client_account_id": new.client_account_id,
        "engagement_id": new.engagement_id,
        "user_id": new.user_id,
        "flow_name": new.flow_name,
        "flow_description": new.flow_description,
        "status": "initialized",
        "progress_percentage": 0,
        "crewai_state_data": Jsonb({}),
    }
    has_old = has_column(connection, flows.table, flows.session)
    if has_old and session is not None:
        values[flows.session] = session
    names = sql.SQL(", ").join(map(sql.Identifier, values))
    holes = sql.SQL(", ").join(sql.Placeholder() * len(values))
    query = _q("INSERT INTO {table} ({names}) VALUES ({holes}) ON CONFLICT DO NOTHING", flows, names=names, holes=holes)
    if not connection.execute(query, [*values.values()]).rowcount and not _is_there(connection, flows, flow):
        raise UsageError(
            "the flow was not created: another row stands in its place. Choose another flow_name, then try again."
        )
    if session is not None and not has_old:  # so that look-ups find it, and a downgrade restores it
        query = _q("INSERT INTO {archive} (key1, old_value) VALUES (%s, %s) ON CONFLICT DO NOTHING", flows)
        connection.execute(query, [flow, session])


def _is_there(connection: psycopg.Connection, flows: Flows, flow: uuid.UUID) -> bool:
    query = _q("SELECT FROM {table} f WHERE f.{flow} = %s", flows)
    return connection.execute(query, [flow]).fetchone() is not None


def _guid(text: str) -> uuid.UUID | None:
    try:
        return uuid.UUID(text)
    except ValueError:
        return None


def _q(text: LiteralString, flows: Flows, **parts: sql.Composable) -> sql.Composed:
    names = {
        "table": flows.table,
        "key": flows.key,
        "flow": flows.flow,
        "session_column": flows.session,
        "created": flows.created,
        "archive": flows.archive,
        "made_table": flows.made,
        "steps": flows.steps,
    }
    return sql.SQL(text).format(**{name: sql.Identifier(value) for name, value in names.items()}, **parts)
