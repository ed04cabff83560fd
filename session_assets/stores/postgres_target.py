"""How a PostgreSQL server names itself: what work on one of its databases belongs to (E2)."""

from __future__ import annotations

from psycopg import Connection

from session_assets.changes.target import StoreTarget

_SAID = """
    SELECT (SELECT system_identifier FROM pg_control_system())::text,
           coalesce(host(inet_server_addr()), 'socket') || ':' || coalesce(inet_server_port()::text, current_setting('port')),
           current_database()
"""


def postgres_target(connection: Connection, collection: str = "") -> StoreTarget:
    """The database of a connection as its server names it; `collection` is a table, or what the work is called.

    `pg_control_system()` and the address of the server need no right of their own.
    """
    row = connection.execute(_SAID).fetchone()
    assert row is not None
    return StoreTarget("postgresql", row[0], (row[1],), row[2], collection)
