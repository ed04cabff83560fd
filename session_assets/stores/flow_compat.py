"""Sessions and flows as PostgreSQL knows them, before and after contract: from the column, else from the archive."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import LiteralString

import psycopg
from psycopg import sql

from session_assets.errors import UsageError
from session_assets.flow.compat_model import FLOWS, Flows
from session_assets.stores.postgres import Database

_PAGE = 20_000


@dataclass(frozen=True)
class _Source:
    """How the session of a flow is reached: an expression, and the tables that it needs."""

    session: sql.Composable
    tables: sql.Composable


def pairs(database: Database, flows: Flows = FLOWS) -> Iterator[tuple[str | None, str]]:
    """(session, flow) of all flows, the one that a session is mapped to first: the earliest, made ones last."""
    with database.connected("flow map") as connection, connection.transaction():
        source = _source(connection, flows)
        query = _q(
            "SELECT ({session})::text, f.{flow}::text FROM {tables} ORDER BY {made}f.{created}, f.{flow}",
            flows,
            session=source.session,
            tables=source.tables,
            made=_made_last(connection, flows),
        )
        with connection.cursor("flow_map") as cursor:
            cursor.itersize = _PAGE
            yield from cursor.execute(query)


def _source(connection: psycopg.Connection, flows: Flows) -> _Source:
    if has_column(connection, flows.table, flows.session):
        return _Source(_q("f.{session_column}", flows), _q("{table} f", flows))
    if exists(connection, flows.archive):
        joined = _q("{table} f LEFT JOIN {archive} a ON a.key1 = f.{key}", flows)
        return _Source(sql.SQL("a.old_value"), joined)
    raise UsageError(
        f"{flows.table} has neither {flows.session} nor its archive {flows.archive}. Check FLOW_DATABASE_URL."
    )


def _made_last(connection: psycopg.Connection, flows: Flows) -> sql.Composable:
    if not exists(connection, flows.made):
        return sql.SQL("")
    return _q("EXISTS (SELECT FROM {made_table} m WHERE m.flow_id = f.{flow}), ", flows)


def has_column(connection: psycopg.Connection, table: str, column: str) -> bool:
    """Whether a table, by its name on the search path, has a column."""
    query = "SELECT FROM pg_attribute WHERE attrelid = to_regclass(%s) AND attname = %s AND NOT attisdropped"
    return connection.execute(query, [table, column]).fetchone() is not None


def exists(connection: psycopg.Connection, table: str) -> bool:
    found = connection.execute("SELECT to_regclass(%s)", [table]).fetchone()
    return found is not None and found[0] is not None


def _q(text: LiteralString, flows: Flows, **parts: sql.Composable) -> sql.Composed:
    names = {
        "table": flows.table,
        "key": flows.key,
        "flow": flows.flow,
        "session_column": flows.session,
        "created": flows.created,
        "archive": flows.archive,
        "made_table": flows.made,
    }
    return sql.SQL(text).format(**{name: sql.Identifier(value) for name, value in names.items()}, **parts)
