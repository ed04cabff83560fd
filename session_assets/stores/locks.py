"""One lock per collection and partition, held by whoever plans, applies or reverts, in any process or host.

PostgreSQL session-level advisory locks on the Dagster database: they vanish with their holder, however it dies. The holder
is named through `application_name`, which PostgreSQL cuts to 63 bytes.
"""

from __future__ import annotations

import hashlib
import os
import socket
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager

import psycopg

from session_assets.errors import LockHeld, NotConfigured, StoreUnavailable, UsageError
from session_assets.masking import one_line

VARIABLE = "DAGSTER_POSTGRES_URL"
_TAKE = "SELECT k FROM unnest(%s::bigint[]) AS k WHERE NOT pg_try_advisory_lock(k)"
_HOLDER = """
    SELECT a.application_name, a.backend_start FROM pg_locks l JOIN pg_stat_activity a USING (pid)
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
        refused = [row[0] for row in connection.execute(_TAKE, [sorted(keys)])]
        if refused:
            holder = connection.execute(_HOLDER, [refused[0]]).fetchone()
            who = f"{holder[0]} (since {holder[1]:%H:%M:%S} UTC)" if holder else "somebody who has just finished"
            connection.execute("SELECT pg_advisory_unlock_all()")
            raise LockHeld(
                f"{collection}, partition {keys[refused[0]]} is locked by: {who}. Wait until it has finished, then run again."
            )
        yield
        try:
            connection.execute("SELECT 1")  # fails when the server dropped us, and our locks, in between
        except psycopg.OperationalError as error:
            raise _unavailable(error) from None


def require_dagster_database(env: Mapping[str, str] | None = None) -> None:
    """Raise `NotConfigured`, `UsageError` or `StoreUnavailable` where the Dagster database cannot be used."""
    connected("session-assets", env).close()


def connected(name: str, env: Mapping[str, str] | None = None) -> psycopg.Connection:
    """A connection to the Dagster database, each statement its own transaction. Raises as `require_dagster_database`."""
    url = (os.environ if env is None else env).get(VARIABLE, "")
    if not url:
        raise NotConfigured(VARIABLE, "The Dagster database")
    plain = url.replace("postgresql+psycopg2://", "postgresql://", 1)
    try:
        return psycopg.connect(plain, autocommit=True, application_name=name, connect_timeout=8)
    except psycopg.OperationalError as error:
        raise _unavailable(error) from None
    except psycopg.ProgrammingError:  # its text would show the URL
        raise UsageError(f"{VARIABLE} is not a PostgreSQL URL. Correct it and try again.") from None


def _unavailable(error: psycopg.Error) -> StoreUnavailable:
    return StoreUnavailable("PostgreSQL", VARIABLE, one_line(error).rstrip("."))


def _number(collection: str, partition: str) -> int:
    digest = hashlib.sha256(f"session_assets\n{collection}\n{partition}".encode()).digest()
    return int.from_bytes(digest[:8], signed=True)
