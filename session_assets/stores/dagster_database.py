"""The Dagster database lost in the middle of a run: Dagster passes on errors of its driver, with statements and parameters."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import psycopg2
import psycopg2.extensions
from sqlalchemy import Engine, event, exc

from session_assets.errors import StoreUnavailable
from session_assets.masking import one_line
from session_assets.stores import silence
from session_assets.stores.locks import VARIABLE, dagster_url
from session_assets.stores.postgres_silence import DagsterCalls, kept_alive

_HURRY_SECONDS = 30.0  # in which a command ends after its database fell silent
_PATIENCE_SECONDS = 5.0  # the first six tries
_LOST = (psycopg2.OperationalError, psycopg2.InterfaceError, exc.TimeoutError)
_SERIALIZED = re.compile(r"\(?psycopg2\.(?:\w+\.)?(?:OperationalError|InterfaceError|AdminShutdown)\)?:? ")
"""How such an error looks after Dagster kept it as text. Only Dagster uses this driver."""


class _Connector:
    """Makes Dagster's connections, in bounded time.

    Dagster tries six times whenever it needs one, which takes 7 s, and a run needs dozens. So a database that refused all of the
    first tries, or that fell silent, is lost: whatever needs it next is told at once.
    """

    def __init__(self) -> None:
        self._refused_since: float | None = None

    def __call__(self, dialect: Any, _record: Any, arguments: list[str], parameters: dict[str, Any]) -> Any:
        if dialect.driver != psycopg2.__name__:
            return None
        if why := silence.said(VARIABLE, _HURRY_SECONDS):
            raise StoreUnavailable("PostgreSQL", VARIABLE, why)
        for name, value in kept_alive(" ".join(arguments)).items():
            parameters.setdefault(name, value)
        try:
            connection = dialect.connect(*arguments, **parameters)
        except psycopg2.OperationalError as error:
            now = time.monotonic()
            self._refused_since = self._refused_since or now
            if now - self._refused_since > _PATIENCE_SECONDS:
                raise _unavailable(str(error)) from error
            raise
        self._refused_since = None
        return connection


@cache
def watch_connections() -> None:
    """Bound how long this process waits for Dagster's connections, and look after those that are silent."""
    event.listen(Engine, "do_connect", _Connector())
    event.listen(Engine, "connect", _watched)


def _watched(connection: Any, record: Any) -> None:
    if isinstance(connection, psycopg2.extensions.connection):
        record.info["session_assets"] = calls = DagsterCalls(VARIABLE, dagster_url(), connection)
        calls.watch()


@contextmanager
def dagster_database() -> Iterator[None]:
    """Work that reads and writes Dagster's tables. Raises `StoreUnavailable` if their database is lost."""
    try:
        yield
    except Exception as error:
        found = explained(error)
        if found is None or found is error:
            raise
        raise found from error


def explained(error: BaseException) -> StoreUnavailable | None:
    """The error of the Dagster database that an error comes from; None if it comes from something else."""
    behind: BaseException | None = error
    seen: set[int] = set()
    while behind is not None and id(behind) not in seen:
        seen.add(id(behind))
        if isinstance(behind, StoreUnavailable):
            return behind
        lost = behind.orig if isinstance(behind, exc.DBAPIError) else behind
        if isinstance(lost, _LOST):
            return _unavailable(str(lost))
        behind = behind.__cause__ or behind.__context__
    return None


def explained_text(text: str) -> StoreUnavailable | None:
    """The same of an error that Dagster kept as text."""
    found = _SERIALIZED.search(text)
    return _unavailable(text[found.end() :]) if found else None


def _unavailable(said: str) -> StoreUnavailable:
    """The driver's first line: the next ones guess why, and show the statement."""
    first = one_line(said.strip().partition("\n")[0]).rstrip(".")
    return StoreUnavailable("PostgreSQL", VARIABLE, silence.said(VARIABLE) or first)
