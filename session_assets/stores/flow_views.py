"""Read-only views with the old column names, for roll-back mode after contract: the archive's values, else the flow's session.

They stand in a schema of their own. An application that is rolled back reads them with that schema first in its search path.
"""

from __future__ import annotations

from collections import Counter

import psycopg
from psycopg import sql

from session_assets.errors import UsageError
from session_assets.flow import description
from session_assets.flow.compat_model import LEGACY_SCHEMA
from session_assets.flow.model import Linked, Migration
from session_assets.stores.flow_compat_tables import Seen, look
from session_assets.stores.flow_ids import converted
from session_assets.stores.flow_layout import q, raw
from session_assets.stores.postgres import Database

_PURPOSE = "session_assets legacy views"
_VIEW = """
    CREATE OR REPLACE VIEW {view} AS
    SELECT t.*, CAST(CASE WHEN a.key1 IS NOT NULL THEN a.old_value::text ELSE {session}::text END AS {type}) AS {old}
    FROM {table} t LEFT JOIN {archive} a ON {same}
"""
_SESSION = """
    (SELECT x.old_value FROM {flows} f JOIN {archive} x ON {same} WHERE f.{flow} = {own} LIMIT 1)
"""


def create_views(database: Database, migration: Migration | None = None) -> list[str]:
    """Make the views, all or none; returns their names. Raises `UsageError` before contract: the columns are still there."""
    migration = migration or description.migration()
    with database.connected(_PURPOSE) as connection, connection.transaction():
        connection.execute(sql.SQL("CREATE SCHEMA IF NOT EXISTS {}").format(sql.Identifier(LEGACY_SCHEMA)))
        flows = _seen(connection, migration, migration.tables[0])
        tables = [(one, _seen(connection, migration, one)) for one in migration.tables]
        names = Counter(seen.name for _, seen in tables)
        return [
            _create(connection, migration, one, seen, flows, is_shared=names[seen.name] > 1) for one, seen in tables
        ]


def drop_views(database: Database) -> None:
    """Drop the views and their schema; before a downgrade, since they hold on to tables that it changes."""
    with database.connected(_PURPOSE) as connection:
        connection.execute(sql.SQL("DROP SCHEMA IF EXISTS {} CASCADE").format(sql.Identifier(LEGACY_SCHEMA)))


def _seen(connection: psycopg.Connection, migration: Migration, linked: Linked) -> Seen:
    seen = look(connection, migration, linked.name)
    if seen is None or (linked.fate != "archive" and linked.flow not in seen.columns):
        raise UsageError(
            f"{linked.name} has no {linked.flow}: this is not the database that was migrated. Nothing was made."
        )
    if linked.old in seen.columns:
        raise UsageError(
            f"{linked.name} still has {linked.old}: read the table itself. Views are for the time after contract."
        )
    if seen.archive is None:
        raise UsageError(f"{linked.name} has no archive: was the migration of this database undone? Nothing was made.")
    return seen


def _create(
    connection: psycopg.Connection, migration: Migration, linked: Linked, seen: Seen, flows: Seen, *, is_shared: bool
) -> str:
    """One view, of the table's name; of two tables of one name with the schema before it."""
    name = f"{seen.schema}.{seen.name}" if is_shared else seen.name
    assert seen.archive is not None and seen.old_type is not None
    statement = q(
        _VIEW, view=sql.Identifier(LEGACY_SCHEMA, name), session=_session(migration, linked, seen, flows),
        type=raw(seen.old_type), old=linked.old, table=seen.ident, archive=seen.archive, same=seen.same_key("t", "a"),
    )  # fmt: skip
    connection.execute(statement)
    return f"{LEGACY_SCHEMA}.{name}"


def _session(migration: Migration, linked: Linked, seen: Seen, flows: Seen) -> sql.Composable:
    """The session of a row that was written after contract: that of its flow."""
    flow = migration.flows.flow
    if linked.name == migration.flows.name or linked.flow not in seen.columns:
        return sql.SQL("NULL")
    assert flows.archive is not None
    own = converted(sql.Identifier("t", linked.flow), seen.columns[linked.flow], flows.columns[flow])
    return q(_SESSION, flows=flows.ident, archive=flows.archive, same=flows.same_key("f", "x"), flow=flow, own=own)
