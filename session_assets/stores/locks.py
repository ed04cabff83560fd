"""One lock per collection and partition, held by whoever plans, applies or reverts, in any process or host.

PostgreSQL session-level advisory locks on the Dagster database: they vanish with their holder, however it dies. The holder
is named through `application_name`, which PostgreSQL cuts to 63 bytes.

A holder whose host was cut off does not die for the server: it kept its locks for two hours, and nobody could tell it from one at
work. So a holder gives a sign of life every few seconds, and asks the server to look after its connection sooner than usual.
"""

from __future__ import annotations

import hashlib
import os
import socket
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

import psycopg

from session_assets.errors import LockHeld, NotConfigured, StoreUnavailable, UsageError
from session_assets.masking import one_line
from session_assets.stores import silence
from session_assets.stores.postgres_silence import WatchedConnection, kept_alive

VARIABLE = "DAGSTER_POSTGRES_URL"
_TAKE = "SELECT k FROM unnest(%s::bigint[]) AS k WHERE NOT pg_try_advisory_lock(k)"
_BEAT = 5.0
"""Seconds between two signs of life of a holder."""
_SILENT = 45.0
"""Seconds without one after which a holder counts as vanished."""
_ALIVE = "/* session-assets is alive */ SELECT 1"
_PROBED = "SET tcp_keepalives_idle = 10; SET tcp_keepalives_interval = 10; SET tcp_keepalives_count = 3"
"""The server drops a client that does not answer for 40 s, and its locks with it."""
_HOLDER = """
    SELECT a.application_name, a.backend_start, a.pid, a.query = %s AS gives_signs,
           extract(epoch FROM clock_timestamp() - a.state_change)::float8 AS silent_for
    FROM pg_locks l JOIN pg_stat_activity a USING (pid)
    WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1
      AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
      AND ((l.classid::bigint << 32) | l.objid::bigint) = %s
"""


@contextmanager
def collection_lock(
    collection: str, partitions: Iterable[str], purpose: str, env: Mapping[str, str] | None = None
) -> Iterator[None]:
    """Hold the locks of some partitions of a collection, all or none. Raises `LockHeld` naming the holder."""
    keys = {_number(collection, partition): partition for partition in partitions}
    with connected(f"{purpose} pid {os.getpid()} on {socket.gethostname()}"[:63], env) as connection:
        with _explained():
            connection.execute(_PROBED)
            refused = [row[0] for row in connection.execute(_TAKE, [sorted(keys)])]
            if refused:
                holder = connection.execute(_HOLDER, [_ALIVE, refused[0]]).fetchone()
                connection.execute("SELECT pg_advisory_unlock_all()")
                raise LockHeld(f"{collection}, partition {keys[refused[0]]} is locked by: {_told(holder)}")
        with _signs_of_life(connection):
            yield
        with _explained():
            connection.execute("SELECT 1")  # fails when the server dropped us, and our locks, in between


def _told(holder: tuple[Any, ...] | None) -> str:
    """Who holds a lock, and what to do: wait for one that is at work, look after one that is not heard of any more."""
    if holder is None:
        return "somebody who has just finished. Run again."
    name, since, pid, gives_signs, silent_for = holder
    who = f"{name} (since {since:%H:%M:%S} UTC)"
    if not gives_signs or silent_for < _SILENT:
        return f"{who}. Wait until it has finished, then run again."
    return (
        f"{who}, which has not been heard of for {silent_for:,.0f} s: its process is stopped, or its connection vanished."
        " Nothing was changed. If that process still runs, let it go on, or end it. If it is gone, or its host is, free the lock:"
        f" SELECT pg_terminate_backend({pid}) on the database of {VARIABLE}. Then run again: what it began is finished."
    )


@contextmanager
def _signs_of_life(connection: psycopg.Connection) -> Iterator[None]:
    """A block during which the connection says every few seconds that its process still works."""
    over = threading.Event()

    def beat() -> None:
        with suppress(psycopg.Error):  # a connection that is lost is told by the block's end
            connection.execute(_ALIVE)
            while not over.wait(_BEAT):
                connection.execute(_ALIVE)

    thread = threading.Thread(target=beat, name="lock", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join(_BEAT)


def require_dagster_database(env: Mapping[str, str] | None = None) -> None:
    """Raise `NotConfigured`, `UsageError` or `StoreUnavailable` where the Dagster database cannot be used."""
    connected("session-assets", env).close()


def connected(name: str, env: Mapping[str, str] | None = None) -> psycopg.Connection:
    """A connection to the Dagster database, each statement its own transaction. Raises as `require_dagster_database`."""
    url = dagster_url(env)
    try:
        with _explained():
            connection = WatchedConnection.connect(url, autocommit=True, application_name=name, **kept_alive(url))
            connection.watch(VARIABLE, url)
            return connection
    except psycopg.ProgrammingError:  # its text would show the URL
        raise UsageError(f"{VARIABLE} is not a PostgreSQL URL. Correct it and try again.") from None


def dagster_url(env: Mapping[str, str] | None = None) -> str:
    """The URL of the Dagster database, as libpq reads it. Raises `NotConfigured`."""
    url = (os.environ if env is None else env).get(VARIABLE, "")
    if not url:
        raise NotConfigured(VARIABLE, "The Dagster database")
    return url.replace("postgresql+psycopg2://", "postgresql://", 1)


@contextmanager
def _explained() -> Iterator[None]:
    """A block that asks the Dagster database. Raises `StoreUnavailable` if that is lost."""
    try:
        yield
    except psycopg.OperationalError as error:
        raise _unavailable(error) from None


def _unavailable(error: psycopg.Error) -> StoreUnavailable:
    return StoreUnavailable("PostgreSQL", VARIABLE, silence.said(VARIABLE) or one_line(error).rstrip("."))


def _number(collection: str, partition: str) -> int:
    digest = hashlib.sha256(f"session_assets\n{collection}\n{partition}".encode()).digest()
    return int.from_bytes(digest[:8], signed=True)
