"""Whether each store that is configured answers now: read-only looks for the health of the service."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from concurrent.futures import Future, wait
from threading import Lock, Thread

from session_assets.errors import SessionAssetsError, StoreUnavailable
from session_assets.masking import safe_text
from session_assets.stores import cosmos, locks, mongo, nats
from session_assets.stores.postgres import Database

_SESSIONS = "user_sessions"
_SECONDS = 10.0
_SILENT = "it takes connections but does not answer, or the network is slow"
_lock = Lock()
_under_way: dict[tuple[str, str], Future[str | None]] = {}


def _postgres(variable: str) -> Callable[[], None]:
    def look() -> None:
        with Database.from_env(variable).connected("health") as connection:
            connection.execute("SELECT 1")

    return look


def _mongo(variable: str, default: str) -> Callable[[], None]:
    return lambda: mongo.ping(variable, default)


def _cosmos() -> None:
    cosmos.container(_SESSIONS)  # reads its properties


def _nats() -> None:
    why = nats.unreachable()
    if why:
        raise SessionAssetsError(why)


_LOOKS: Mapping[str, Callable[[], None]] = {
    locks.VARIABLE: locks.require_dagster_database,
    "WEB_MONGO_URI": _mongo("WEB_MONGO_URI", "web"),
    "CONTEST_MONGO_URI": _mongo("CONTEST_MONGO_URI", "goaime"),
    cosmos.VARIABLE: _cosmos,
    "KINTELL_DATABASE_URL": _postgres("KINTELL_DATABASE_URL"),
    "FLOW_DATABASE_URL": _postgres("FLOW_DATABASE_URL"),
    nats.VARIABLE: _nats,
}


def reachable() -> dict[str, str | None]:
    """By the variable of each store that is configured: None where it answers, else why it does not; bounded in time."""
    looks = {variable: _begun(variable) for variable in _LOOKS if os.environ.get(variable)}
    wait(looks.values(), timeout=_SECONDS)
    return {variable: look.result() if look.done() else _SILENT for variable, look in looks.items()}


def require_reachable(variable: str) -> None:
    """Raise `StoreUnavailable` where a store that is configured does not answer in time, whatever its driver would wait for."""
    if os.environ.get(variable) and not wait([_begun(variable)], timeout=_SECONDS).done:
        raise StoreUnavailable("The store", variable, _SILENT)


def _begun(variable: str) -> Future[str | None]:
    """A look at a store, in a thread that nobody has to wait for; one that is under way serves everybody who asks."""
    key = (variable, os.environ[variable])
    with _lock:
        known = _under_way.get(key)
        if known is None or known.done():
            _under_way[key] = known = Future()
            Thread(target=_look, args=(_LOOKS[variable], known), name=f"look at {variable}", daemon=True).start()
        return known


def _look(look: Callable[[], None], found: Future[str | None]) -> None:
    try:
        look()
        found.set_result(None)
    except SessionAssetsError as error:
        found.set_result(safe_text(error))
    except BaseException as error:  # whoever waits for it gets it
        found.set_exception(error)
