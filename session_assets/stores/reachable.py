"""Whether stores answer now: read-only looks, in bounded time, whatever a driver would wait for.

Nothing here knows which slice needs which store: each slice says so in its record, with the looks from here.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterable
from concurrent.futures import Future, wait
from dataclasses import dataclass
from pathlib import Path
from threading import Lock, Thread

from session_assets import storage
from session_assets.errors import SessionAssetsError, StoreUnavailable, UsageError
from session_assets.masking import safe_text
from session_assets.stores import cosmos, locks, mongo, nats
from session_assets.stores.postgres import Database

_SECONDS = 10.0
_SILENT = "it takes connections but does not answer, or the network is slow"
_lock = Lock()
_under_way: dict[tuple[str, str], Future[str | None]] = {}


@dataclass(frozen=True)
class Store:
    """A store that a variable names. `look` raises `SessionAssetsError` if it cannot be used, and changes nothing."""

    variable: str
    kind: str
    look: Callable[[], None]
    optional: str = ""
    """What happens while the variable is unset; empty if nothing works without the store."""
    has_default: bool = False
    """Whether the store is used, and looked at, also while the variable is unset."""

    @property
    def is_set(self) -> bool:
        return self.has_default or bool(os.environ.get(self.variable))


def mongodb(variable: str, default: str) -> Store:
    """A MongoDB database; `default` is its name if the URI has none."""
    return Store(variable, "MongoDB", lambda: mongo.ping(variable, default))


def postgresql(variable: str) -> Store:
    """A PostgreSQL database."""

    def look() -> None:
        with Database.from_env(variable).connected("health") as connection:
            connection.execute("SELECT 1")

    return Store(variable, "PostgreSQL", look)


def cosmos_db(container: str) -> Store:
    """A container of Cosmos DB: the look reads its properties."""

    def look() -> None:
        cosmos.container(container)

    return Store(cosmos.VARIABLE, "Cosmos DB", look)


def nats_stream(optional: str) -> Store:
    """NATS with JetStream."""

    def look() -> None:
        why = nats.unreachable()
        if why:
            raise SessionAssetsError(why)

    return Store(nats.VARIABLE, "NATS", look, optional)


def folder(variable: str, optional: str) -> Store:
    """A folder of files."""

    def look() -> None:
        if not Path(os.environ[variable]).is_dir():
            raise UsageError(f"{variable} is no folder. Correct it and try again.")

    return Store(variable, "Folder", look, optional)


DAGSTER = Store(locks.VARIABLE, "PostgreSQL", locks.require_dagster_database)
STORAGE = Store(storage.VARIABLE, "Storage", storage.require_usable, has_default=True)
SHARED = (DAGSTER, STORAGE)
"""What every slice needs."""


async def reachable(stores: Iterable[Store]) -> dict[str, str | None]:
    """By variable of those that are set: None if the store answers, else why it does not.

    Bounded in time, and without a thread of the server's: those may all wait for the store that hangs.
    """
    looks = {store.variable: _begun(store) for store in stores if store.is_set}
    if looks:
        await asyncio.wait([asyncio.wrap_future(look) for look in looks.values()], timeout=_SECONDS)
    return {variable: look.result() if look.done() else _SILENT for variable, look in looks.items()}


def require_reachable(store: Store) -> None:
    """Raise `StoreUnavailable` if a store that is configured does not answer in time, whatever its driver would wait for."""
    if store.is_set and not wait([_begun(store)], timeout=_SECONDS).done:
        raise StoreUnavailable("The store", store.variable, _SILENT)


def _begun(store: Store) -> Future[str | None]:
    """A look at a store, in a thread that nobody has to wait for; one that is under way serves everybody who asks."""
    key = (store.variable, os.environ.get(store.variable, ""))
    with _lock:
        known = _under_way.get(key)
        if known is None or known.done():
            _under_way[key] = known = Future()
            Thread(target=_look, args=(store.look, known), name=f"look at {store.variable}", daemon=True).start()
        return known


def _look(look: Callable[[], None], found: Future[str | None]) -> None:
    try:
        look()
        found.set_result(None)
    except SessionAssetsError as error:
        found.set_result(safe_text(error))
    except BaseException as error:  # who waits for it gets it
        found.set_exception(error)
