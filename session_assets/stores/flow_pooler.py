"""Tells a connection pooler in transaction mode from a database: there, session locks, settings and checkpoints would not hold.

A pooler makes up the process number that it gives a client at log-in. Where that number is not the server's, several clients
that stay connected are asked for their server process: in transaction mode they share them, or change them.
"""

from __future__ import annotations

from contextlib import ExitStack

import psycopg

from session_assets.errors import UsageError
from session_assets.stores.postgres import Database

_CLIENTS, _ROUNDS = 4, 3


def require_sessions(database: Database, connection: psycopg.Connection) -> None:
    """Raises `UsageError` where transactions of one client run in different server processes."""
    if _process(connection) == connection.info.backend_pid:
        return
    with ExitStack() as stack:
        clients = [connection]
        for _ in range(_CLIENTS):
            client = database.connect("flow pooler probe")
            client.prepare_threshold = None
            stack.callback(client.close)
            clients.append(client)
        seen = [{_process(client) for _ in range(_ROUNDS)} for client in clients]
    if any(len(one) > 1 for one in seen) or len(set[int]().union(*seen)) < len(clients):
        raise UsageError(
            f"{database.variable} leads to a connection pooler in transaction mode, where locks and settings of a session do"
            " not hold. Give the address of the database itself, or of a pool in session mode. Nothing was changed."
        )


def _process(connection: psycopg.Connection) -> int:
    row = connection.execute("SELECT pg_backend_pid()").fetchone()
    assert row is not None
    return row[0]
