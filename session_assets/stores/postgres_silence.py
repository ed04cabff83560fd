"""Calls to a PostgreSQL server, for `silence`: psycopg's connections, which are ours, and psycopg2's, which are Dagster's."""

from __future__ import annotations

import time
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Self, TypeVar
from weakref import ref

import psycopg
from psycopg import pq
from psycopg.abc import PQGen

from session_assets.io_calls import CallFailed, armed, io_call
from session_assets.stores import silence

_Result = TypeVar("_Result")
_SERVER = "postgresql"
_ENDS = ("commit_gen", "rollback_gen")
_CONNECT_SECONDS = 5
_WORKS = (
    "SELECT 1 FROM pg_stat_activity WHERE pid = %s AND state = 'active' AND wait_event_type IS DISTINCT FROM 'Client'"
)
_NAMED_WORKS = (
    "SELECT 1 FROM pg_stat_activity WHERE application_name = %s AND state = 'active'"
    " AND wait_event_type IS DISTINCT FROM 'Client'"
)
_PID = "SELECT pg_backend_pid()"
KEPT_ALIVE: dict[str, Any] = {
    "connect_timeout": 8,
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 60_000,
}
"""A peer that is gone is noticed in a minute. Parameters of libpq, where the URL says nothing; milliseconds for the last."""


def kept_alive(url: str) -> dict[str, Any]:
    """Those that a URL leaves open."""
    return {name: value for name, value in KEPT_ALIVE.items() if f"{name}=" not in url}


def works(url: str, pid: int) -> bool:
    """Whether a backend works on a statement. One that waits for its client does not: what we sent it is lost."""
    return _found(url, _WORKS, pid)


def named_works(url: str, name: str) -> bool:
    """Whether a backend of an application name works on a statement."""
    return _found(url, _NAMED_WORKS, name)


def _found(url: str, query: str, value: int | str) -> bool:
    options: dict[str, Any] = {**kept_alive(url), "connect_timeout": _CONNECT_SECONDS}
    with psycopg.connect(url, autocommit=True, **options) as connection:
        return connection.execute(query.encode(), [value]).fetchone() is not None


class WatchedConnection(psycopg.Connection[Any]):
    """A connection whose calls are watched, once `watch` was called."""

    variable = ""
    _url = ""
    _pid = 0
    _since: float | None = None

    def watch(self, variable: str, url: str) -> None:
        """Look after its calls from now on. Call before anything else is asked."""
        self.variable, self._url, self._pid = variable, url, self.info.backend_pid
        silence.watch(self)
        (self._pid,) = self.execute(_PID).fetchone() or (0,)  # a pooler made up the first one

    @classmethod
    def connect(cls, *arguments: Any, **options: Any) -> Self:
        try:
            with io_call(_SERVER, "connect"):
                return super().connect(*arguments, **options)
        except CallFailed as failed:
            raise _failure(failed) from None

    def wait(self, gen: PQGen[_Result], *arguments: Any, **options: Any) -> _Result:
        self._since = time.monotonic()
        try:
            with self._counted(gen) if armed() else nullcontext():
                return super().wait(gen, *arguments, **options)
        except CallFailed as failed:
            gen.close()
            if failed.mode != "full":
                self.pgconn.finish()
            raise _failure(failed) from None
        finally:
            self._since = None

    def _counted(self, gen: PQGen[Any]) -> AbstractContextManager[None]:
        kind = getattr(gen, "__name__", "wait").strip("_")
        is_idle = self.pgconn.transaction_status == pq.TransactionStatus.IDLE
        if kind.startswith("set_") or (kind in _ENDS and is_idle):
            return nullcontext()  # the server is not asked
        return io_call(self.variable or _SERVER, kind)

    def wait_since(self) -> float | None:
        return self._since

    def sockets(self) -> list[int]:
        return [] if self.closed else [self.pgconn.socket]

    def works(self) -> bool:
        return works(self._url, self._pid)


def _failure(failed: CallFailed) -> psycopg.Error:
    """What psycopg raises for it."""
    if failed.mode == "full":
        return psycopg.errors.DiskFull(f"could not extend file: {failed.strerror}")
    said = {"refused": failed.strerror, "timeout": "connection timeout expired"}
    return psycopg.OperationalError(said.get(failed.mode) or "server closed the connection unexpectedly")


class DagsterCalls:
    """One connection of Dagster's, by psycopg2."""

    def __init__(self, variable: str, url: str, connection: Any) -> None:
        self.variable = variable
        self._url = url
        self._connection = ref(connection)
        self._pid = connection.get_backend_pid()

    def watch(self) -> None:
        """Look after its calls from now on."""
        silence.watch(self)
        connection = self._connection()
        assert connection is not None
        with connection.cursor() as cursor:
            cursor.execute(_PID)
            (self._pid,) = cursor.fetchone()  # a pooler made up the first one
        connection.rollback()

    def wait_since(self) -> float | None:
        """Its socket tells since when; here only whether."""
        connection = self._connection()
        if connection is None or connection.closed or connection.info.transaction_status != pq.TransactionStatus.ACTIVE:
            return None
        return 0.0

    def sockets(self) -> list[int]:
        connection = self._connection()
        return [] if connection is None or connection.closed else [connection.fileno()]

    def works(self) -> bool:
        return works(self._url, self._pid)
