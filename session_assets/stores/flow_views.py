"""Read-only views with the old column names, for roll-back mode after contract: the archive's values, else the flow's session.

They stand in a schema of their own. An application that is rolled back reads them with that schema first in its search path.
"""

from __future__ import annotations

from collections.abc import Iterable

import psycopg
from psycopg import sql

from session_assets.errors import UsageError
from session_assets.flow.compat_model import FLOWS, LEGACY, LEGACY_SCHEMA, Flows, Legacy
from session_assets.stores.flow_compat import exists, has_column
from session_assets.stores.postgres import Database

_PURPOSE = "session_assets legacy views"
_KEYS = """
    SELECT a.attname FROM pg_constraint k
    CROSS JOIN unnest(k.conkey) WITH ORDINALITY u (number, place)
    JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = u.number
    WHERE k.conrelid = to_regclass(%s) AND k.contype = 'p' ORDER BY u.place
"""
_VIEW = """
    CREATE OR REPLACE VIEW {view} AS
    SELECT t.*, CASE WHEN a.key1 IS NOT NULL THEN a.old_value::text ELSE {session}::text END{cast} AS {old}
    FROM {table} t LEFT JOIN {archive} a ON {same}
"""
_SESSION = """
    (SELECT x.old_value FROM {flows} f JOIN {flows_archive} x ON x.key1 = f.{key} WHERE f.{flow} = {own} LIMIT 1)
"""
_GUID = "^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$"
_TYPE = "SELECT format_type(atttypid, atttypmod) FROM pg_attribute WHERE attrelid = to_regclass(%s) AND attname = %s"


def create_views(database: Database, legacy: Iterable[Legacy] = LEGACY, flows: Flows = FLOWS) -> list[str]:
    """Make the views, all or none; returns their names. Raises `UsageError` before contract: the columns are still there."""
    with database.connected(_PURPOSE) as connection, connection.transaction():
        connection.execute(sql.SQL("CREATE SCHEMA IF NOT EXISTS {}").format(sql.Identifier(LEGACY_SCHEMA)))
        return [_create(connection, one, flows) for one in legacy]


def drop_views(database: Database) -> None:
    """Drop the views and their schema; before a downgrade, since they hold on to tables that it changes."""
    with database.connected(_PURPOSE) as connection:
        connection.execute(sql.SQL("DROP SCHEMA IF EXISTS {} CASCADE").format(sql.Identifier(LEGACY_SCHEMA)))


def _create(connection: psycopg.Connection, legacy: Legacy, flows: Flows) -> str:
    if has_column(connection, legacy.table, legacy.old):
        raise UsageError(
            f"{legacy.table} still has {legacy.old}: read the table itself. Views are for the time after contract."
        )
    if not exists(connection, legacy.archive):
        raise UsageError(f"{legacy.table} has no archive: was the migration of this database undone? Nothing was made.")
    keys = [row[0] for row in connection.execute(_KEYS, [legacy.table])]
    same = sql.SQL(" AND ").join(
        sql.SQL("a.{} = t.{}").format(sql.Identifier(f"key{place}"), sql.Identifier(name))
        for place, name in enumerate(keys, start=1)
    )
    parts = {
        "view": sql.Identifier(LEGACY_SCHEMA, legacy.table),
        "table": sql.Identifier(legacy.table),
        "archive": sql.Identifier(legacy.archive),
        "old": sql.Identifier(legacy.old),
        "same": same,
        "session": _session(connection, legacy, flows),
        "cast": sql.SQL(f"::{_type(connection, legacy.archive, 'old_value')}"),  # pyright: ignore[reportArgumentType]
    }
    connection.execute(sql.SQL(_VIEW).format(**parts))
    return f"{LEGACY_SCHEMA}.{legacy.table}"


def _session(connection: psycopg.Connection, legacy: Legacy, flows: Flows) -> sql.Composable:
    """The session of a row that was written after contract: that of its flow."""
    if legacy.table == flows.table:
        return sql.SQL("NULL")
    own: sql.Composable = sql.Identifier("t", legacy.flow)
    if _type(connection, legacy.table, legacy.flow) != "uuid":
        own = sql.SQL("CASE WHEN {own} ~ {guid} THEN {own}::uuid END").format(own=own, guid=sql.Literal(_GUID))
    return sql.SQL(_SESSION).format(
        flows=sql.Identifier(flows.table),
        flows_archive=sql.Identifier(flows.archive),
        key=sql.Identifier(flows.key),
        flow=sql.Identifier(flows.flow),
        own=own,
    )


def _type(connection: psycopg.Connection, table: str, column: str) -> str:
    found = connection.execute(_TYPE, [table, column]).fetchone()
    if found is None:
        raise UsageError(
            f"{table} has no column {column}: this is not the database that was migrated. Nothing was made."
        )
    return str(found[0])
