"""All embedded servers of one home: `session-assets up`, `down`, `env` and `status` are thin shells around this."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from session_assets.durable import own_folder
from session_assets.embedded import environment
from session_assets.embedded.account import passed_mode
from session_assets.embedded.cosmos import Cosmos
from session_assets.embedded.failures import SeveralFailed
from session_assets.embedded.mongodb import MongoDB
from session_assets.embedded.nats import Nats
from session_assets.embedded.postgresql import PostgreSQL
from session_assets.embedded.server import Server, ServerState
from session_assets.embedded.state import exclusive
from session_assets.errors import SessionAssetsError, UsageError
from session_assets.settings import number

NAMES = ("mongodb", "postgresql", "nats", "cosmos")

T = TypeVar("T")

_LOCK_SECONDS = 400.0  # longer than npm may take


def _silent(_: str) -> None:
    return None


class Servers:
    """The servers of one home. Servers outlive this object and its process; only `down` stops them.

    `tell` gets a line for the person who waits (npm at work, another `up` at work).
    `SESSION_ASSETS_EMBEDDED_CACHE_GB` bounds MongoDB's cache (default 1).
    """

    def __init__(self, home: Path, *, tell: Callable[[str], None] = _silent) -> None:
        self.home = home.expanduser().resolve()
        self._folder = self.home / "embedded"
        self._tell = tell
        cache_gb = max(0.25, number(os.environ, "SESSION_ASSETS_EMBEDDED_CACHE_GB", 1))
        self.mongodb = MongoDB(self._folder / MongoDB.name, tell, cache_gb=cache_gb)
        self.postgresql = PostgreSQL(self._folder / PostgreSQL.name, tell)
        self._all: dict[str, Server] = {
            "mongodb": self.mongodb,
            "postgresql": self.postgresql,
            "nats": Nats(self._folder / Nats.name, tell),
            "cosmos": Cosmos(self._folder / Cosmos.name, tell),
        }

    def up(self, names: Iterable[str] | None = None, env: Mapping[str, str] | None = None) -> dict[str, ServerState]:
        """Start what is not running, in parallel, and return when all answer. Idempotent.

        `names` defaults to the servers that `env` (default: the process environment) needs, see `environment`.
        One that fails does not stop the others; then its error is raised at the end, and calling again goes on.
        Raises `ServerFailed`, `ServerMissing`, `SeveralFailed`; `LockHeld` if another command does not finish.
        """
        chosen = self._chosen(
            environment.needed_servers(os.environ if env is None else env) if names is None else names
        )
        with self._locked():
            own_folder(self.home / "dagster")
            return _in_parallel({name: server.up for name, server in chosen.items()})

    def down(self, names: Iterable[str] | None = None) -> list[str]:
        """Stop the servers of this home that run, in parallel, and return their names. Idempotent."""
        chosen = self._chosen(NAMES if names is None else names)
        if not self._folder.exists():
            return []
        with self._locked():
            stopped = _in_parallel({name: server.down for name, server in chosen.items()})
        return [name for name, was_running in stopped.items() if was_running]

    def status(self) -> dict[str, ServerState]:
        """All servers as they are now; touches nothing and waits for nobody."""
        return {name: server.state() for name, server in self._all.items()}

    def environment(self, env: Mapping[str, str] | None = None) -> dict[str, str]:
        """The variables that lead to the servers that run, without those the user has set, and the marker."""
        values = {"DAGSTER_HOME": str(self.home / "dagster")}
        for name, state in self.status().items():
            if state.running and state.port is not None:
                values.update(self._all[name].variables(state.port))
        offered = environment.offered(os.environ if env is None else env, values)
        return {"SESSION_ASSETS_HOME": str(self.home), **offered}

    def _chosen(self, names: Iterable[str]) -> dict[str, Server]:
        chosen = list(names)
        unknown = [name for name in chosen if name not in self._all]
        if unknown:
            raise UsageError(f"There is no embedded server {', '.join(unknown)}. Choose from {', '.join(NAMES)}.")
        return {name: self._all[name] for name in NAMES if name in chosen}

    @contextmanager
    def _locked(self) -> Iterator[None]:
        try:
            if not self.home.exists():
                own_folder(self.home, passed_mode())
            own_folder(self._folder, passed_mode())
        except OSError as error:
            raise UsageError(
                f"SESSION_ASSETS_HOME: {self._folder} cannot be made ({error.strerror}). Choose another folder."
            ) from error
        with exclusive(self._folder / "lock", _LOCK_SECONDS, self._tell):
            yield


def _in_parallel(calls: Mapping[str, Callable[[], T]]) -> dict[str, T]:
    """Call all, wait for all, then raise what failed."""
    with ThreadPoolExecutor(max_workers=len(NAMES)) as pool:
        futures: dict[str, Future[T]] = {name: pool.submit(call) for name, call in calls.items()}
    failures = [error for future in futures.values() if (error := future.exception()) is not None]
    expected = [error for error in failures if isinstance(error, SessionAssetsError)]
    if len(expected) > 1 and len(expected) == len(failures):
        raise SeveralFailed(expected)
    for error in failures:
        raise error
    return {name: future.result() for name, future in futures.items()}
