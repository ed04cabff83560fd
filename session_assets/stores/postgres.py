"""Reaching PostgreSQL: connections with bounded retries and clear errors, and locks that vanish with their holder.

Locks are session-level advisory locks of the database that the work is on: they need a direct connection, or a pooler in
session mode.
"""

from __future__ import annotations

import hashlib
import os
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

import psycopg
from psycopg import errors

from session_assets.errors import LockHeld, NotConfigured, SessionAssetsError, StoreUnavailable, UsageError
from session_assets.masking import one_line
from session_assets.stores import silence
from session_assets.stores.postgres_silence import WatchedConnection, kept_alive

_SCHEMES = ("postgresql+psycopg2", "postgresql+psycopg", "postgresql", "postgres")
_PAUSES = (0.2, 0.5, 1.0, 2.0, 4.0)  # seconds between tries to connect: a server that restarts is back by then
_PATIENCE = 8.0  # seconds after which no other try is begun: one that hangs takes as many itself
_LOCK_PAUSES = (0.1, 0.3, 0.1, 0.1, 0.1, 0.1)  # the server needs a moment to see that a killed holder is gone
_LEAST_TRIES = 2
_FINAL = ("authentication failed", "no password supplied", "does not exist", "no pg_hba.conf entry", "not permitted",
          "query_wait_timeout")  # fmt: skip
_SETTINGS = "SET TIME ZONE 'UTC'; SET DateStyle TO ISO; SET IntervalStyle TO postgres; SET extra_float_digits TO 1"
_FAULTS = ("08", "53", "57", "58", "XX")  # connection, resources, shutdown, file system, internal
_HOLDER = """
    SELECT a.application_name, a.backend_start FROM pg_locks l JOIN pg_stat_activity a USING (pid)
    WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1
      AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
      AND ((l.classid::bigint << 32) | l.objid::bigint) = %s
"""


@dataclass(frozen=True)
class Database:
    """A PostgreSQL database that an environment variable names. Open connections per process and thread."""

    variable: str
    url: str = field(repr=False)

    @staticmethod
    def from_env(variable: str, env: Mapping[str, str] | None = None) -> Database:
        """Raises `NotConfigured`, and `UsageError` for what is no PostgreSQL URL. Connects to nothing."""
        url = (os.environ if env is None else env).get(variable, "")
        if not url:
            raise NotConfigured(variable, "PostgreSQL")
        scheme, separator, rest = url.partition("://")
        if not separator or scheme not in _SCHEMES:
            raise UsageError(f"{variable} is not a PostgreSQL URL. Correct it and try again.")
        return Database(variable, f"postgresql://{rest}")

    def connect(self, purpose: str, *, autocommit: bool = True) -> psycopg.Connection:
        """A connection in UTC, named for its purpose, our process and host.

        Tries for about 8 s where the server cannot be reached. Raises `StoreUnavailable`, `UsageError`.
        """
        name = f"{purpose} pid {os.getpid()} on {socket.gethostname()}"[:63]
        began = time.monotonic()
        for pause in (*_PAUSES, None):
            try:
                connection = WatchedConnection.connect(
                    self.url, autocommit=True, application_name=name, client_encoding="utf8", **kept_alive(self.url)
                )
                connection.watch(self.variable, self.url)
                connection.execute(_SETTINGS)
                connection.autocommit = autocommit
                return connection
            except psycopg.OperationalError as error:
                is_late = time.monotonic() - began > _PATIENCE
                if pause is None or is_late or any(text in str(error) for text in _FINAL):
                    raise self.explained(error) from None
                time.sleep(pause)
            except psycopg.ProgrammingError:  # its text would show the URL
                raise UsageError(f"{self.variable} is not a PostgreSQL URL. Correct it and try again.") from None
        raise AssertionError("unreachable")

    def explained(self, error: psycopg.Error) -> SessionAssetsError:
        """A driver's error without the values of any row, as one that says what to do."""
        primary = one_line(error.diag.message_primary or str(error)).rstrip(".")
        if isinstance(error, errors.InsufficientPrivilege):
            return UsageError(f"{self.variable}: the account lacks a privilege: {primary}. Grant it and try again.")
        unreachable = isinstance(error, psycopg.OperationalError | psycopg.InterfaceError) and error.sqlstate is None
        if unreachable or (error.sqlstate or "").startswith(_FAULTS):
            return StoreUnavailable("PostgreSQL", self.variable, silence.said(self.variable) or primary)
        return SessionAssetsError(f"PostgreSQL ({self.variable}) refused a statement: {primary} ({error.sqlstate}).")

    @contextmanager
    def attempting(self) -> Iterator[None]:
        """Turn a driver's errors inside the block into ours."""
        try:
            yield
        except psycopg.Error as error:  # its own text shows the values of rows
            raise self.explained(error) from None

    @contextmanager
    def connected(self, purpose: str) -> Iterator[psycopg.Connection]:
        """A connection for the block, each statement its own transaction, with errors explained."""
        with self.attempting(), self.connect(purpose) as connection:
            yield connection

    @contextmanager
    def lock(self, name: str, purpose: str, what: str) -> Iterator[None]:
        """Hold a lock on a connection of its own. Raises `LockHeld` naming the holder of `what`."""
        key = lock_key(name)
        connection = self.connect(purpose)
        try:
            with self.attempting():
                for trial, pause in enumerate(_LOCK_PAUSES):
                    if _row(connection.execute("SELECT pg_try_advisory_lock(%s)", [key]))[0]:
                        break
                    who = holder(connection, key) if trial >= _LEAST_TRIES else None  # nobody: it has just finished
                    if who or trial == len(_LOCK_PAUSES) - 1:
                        who = who or "somebody who has just finished"
                        raise LockHeld(f"{what} is worked on by: {who}. Wait until it has finished, then run again.")
                    time.sleep(pause)
            yield
        finally:
            connection.close()

    @contextmanager
    def lock_waiting(self, name: str, purpose: str) -> Iterator[None]:
        """Hold a lock on a connection of its own, waiting up to 60 s for it."""
        with self.attempting(), self.connect(purpose) as connection:
            connection.execute("SET lock_timeout = '60s'")
            connection.execute("SELECT pg_advisory_lock(%s)", [lock_key(name)])
            yield


def lock_key(name: str) -> int:
    """The number of a named lock."""
    return int.from_bytes(hashlib.sha256(f"session_assets\n{name}".encode()).digest()[:8], signed=True)


def holder(connection: psycopg.Connection, key: int) -> str | None:
    """Who holds a lock: purpose, process, host and since when; None where it is free."""
    found = connection.execute(_HOLDER, [key]).fetchone()
    return f"{found[0]} (since {found[1]:%H:%M:%S} UTC)" if found else None


def _row(cursor: psycopg.Cursor) -> tuple:
    found = cursor.fetchone()
    assert found is not None
    return found
