"""How a PostgreSQL server names itself: what work on one of its databases belongs to (E2)."""

from __future__ import annotations

from psycopg import Connection

from session_assets.changes.target import STARTED, StoreTarget

_SAID = """
    SELECT (SELECT system_identifier FROM pg_control_system())::text,
           coalesce(host(inet_server_addr()), 'socket') || ':' || coalesce(inet_server_port()::text, current_setting('port')),
           to_char(pg_postmaster_start_time() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'), current_database()
"""


def postgres_target(connection: Connection, collection: str = "") -> StoreTarget:
    """The database of a connection as its server names it; `collection` is a table, or what the work is called.

    A server has an address for each way that leads to it. So the moment of its start counts as a member, too: whoever asks the
    same running server by another way finds the same target. None of these needs a right of its own.
    """
    row = connection.execute(_SAID).fetchone()
    assert row is not None
    system, address, started, database = row
    return StoreTarget("postgresql", system, (address, f"{STARTED}{started}"), database, collection)
