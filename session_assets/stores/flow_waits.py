"""Working beside live traffic: locks that are waited for shortly and asked for again, and pauses while others need room."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import psycopg
from psycopg import errors, sql

from session_assets.errors import LockHeld, SessionAssetsError
from session_assets.flow.model import Limits
from session_assets.masking import safe_text

T = TypeVar("T")
Say = Callable[[str], None]
PASSING = (errors.LockNotAvailable, errors.DeadlockDetected, errors.SerializationFailure)
"""What passes when it is tried again a little later."""
_LONGEST_REST = 2.0  # seconds between two tries
_FEWEST = 50  # rows of a transaction
_BLOCKERS = """
    SELECT DISTINCT a.pid, a.application_name, a.state, extract(epoch FROM now() - a.xact_start)::bigint
    FROM pg_locks l JOIN pg_stat_activity a USING (pid)
    WHERE l.relation = ANY (%s) AND l.granted AND l.pid <> pg_backend_pid() ORDER BY 4 DESC NULLS LAST LIMIT 3
"""
_IS_BLIND = "SELECT NOT pg_has_role(current_user, 'pg_read_all_stats', 'USAGE')"
_LOAD = """
    SELECT (SELECT coalesce(max(extract(epoch FROM replay_lag)), 0)::float8 FROM pg_stat_replication),
           (SELECT coalesce(max(extract(epoch FROM now() - xact_start)), 0)::float8 FROM pg_stat_activity
            WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'
              AND application_name NOT LIKE 'flow %')
"""


class TooBusy(SessionAssetsError):
    """Others needed the database for longer than a step waits: run it again when they have finished."""


@contextmanager
def short(connection: psycopg.Connection, limits: Limits, *, statement: float | None = None) -> Iterator[None]:
    """One transaction that waits for locks shortly, and that our own triggers leave alone."""
    with connection.transaction():
        connection.execute(
            sql.SQL("SET LOCAL lock_timeout = {}; SET LOCAL statement_timeout = {}; SET LOCAL session_assets.flow_quiet = 'on'")
            .format(_ms(limits.lock), _ms(statement or limits.statement))
        )  # fmt: skip
        yield


def patiently(
    connection: psycopg.Connection, limits: Limits, work: Callable[[], T], what: str, tables: list[int], say: Say
) -> T:
    """Do work that needs a lock; while somebody has it, rest and try again. Raises `LockHeld` naming who has it.

    Between two tries nobody queues behind us.
    """
    for trial in range(1, limits.tries + 1):
        try:
            return work()
        except PASSING as error:
            if trial == limits.tries:
                who = blockers(connection, tables) or safe_text(error.diag.message_primary)
                raise LockHeld(
                    f"{what} could not have its lock in {trial} tries. In the way: {who}. Nothing is lost: run the step again."
                ) from None
            if trial in (1, 10):
                say(f"{what} waits: {blockers(connection, tables) or 'a lock is taken'}")
            time.sleep(min(_LONGEST_REST, limits.lock * (1 + trial / 4)) * random.uniform(0.5, 1.0))
    raise AssertionError("unreachable")


def blockers(connection: psycopg.Connection, tables: list[int]) -> str:
    """Who holds locks on some tables, the oldest transaction first."""
    rows = connection.execute(_BLOCKERS, [tables]).fetchall()
    return "; ".join(
        f"pid {pid}, {safe_text(name) or 'nameless'}, {state}{'' if age is None else f', for {age:,} s'}"
        for pid, name, state, age in rows
    )


class Pace:
    """How many rows a transaction takes: no more than lets others wait for one of them as long as for a lock."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self.rows = min(limits.batch, max(_FEWEST, limits.batch // 4))

    @contextmanager
    def timed(self) -> Iterator[None]:
        """The transaction: the next one is smaller where it took too long, larger again where it was short."""
        began = time.monotonic()
        yield
        took = time.monotonic() - began
        if took > self._limits.lock:
            self.slower(0.8 * self._limits.lock / took)
        elif took < self._limits.lock / 3:
            self.rows = min(self._limits.batch, self.rows * 3 // 2 + 1)

    def slower(self, share: float) -> bool:
        """Take fewer rows; returns whether that is possible."""
        smaller = max(min(_FEWEST, self._limits.batch), int(self.rows * share))
        is_less, self.rows = smaller < self.rows, smaller
        return is_less


class Throttle:
    """Pauses between batches while replication lags, or somebody's transaction is old."""

    def __init__(self, connection: psycopg.Connection, limits: Limits, say: Say, every: float = 1.0) -> None:
        self._connection, self._limits, self._say, self._every = connection, limits, say, every
        self._looked = 0.0
        if connection.execute(_IS_BLIND).fetchone() == (True,):
            say(
                "this account does not see how far standbys lag, nor transactions of others: GRANT pg_read_all_stats TO it"
            )

    def wait(self) -> None:
        """Raises `TooBusy` after the longest pause."""
        if time.monotonic() - self._looked < self._every:
            return
        began, told = time.monotonic(), False
        while reason := self._reason():
            if time.monotonic() - began > self._limits.pause:
                raise TooBusy(
                    f"Paused for {self._limits.pause:,.0f} s: {reason}. Nothing is lost: run the step again later."
                )
            if not told:
                self._say(f"paused: {reason}")
                told = True
            time.sleep(min(1.0, self._limits.pause))
        self._looked = time.monotonic()

    def _reason(self) -> str | None:
        row = self._connection.execute(_LOAD).fetchone()
        assert row is not None
        lag, age = row
        if lag > self._limits.lag:
            return f"replication lags by {lag:,.0f} s (limit {self._limits.lag:,.0f})"
        if age > self._limits.transaction:
            return f"a transaction is open since {age:,.0f} s (limit {self._limits.transaction:,.0f})"
        return None


def _ms(seconds: float) -> sql.Literal:
    return sql.Literal(f"{max(1, round(seconds * 1000))}ms")
