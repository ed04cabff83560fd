"""Whether each store that is configured answers now: read-only looks for the health of the service."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor

from session_assets.errors import SessionAssetsError
from session_assets.masking import safe_text
from session_assets.stores import cosmos, locks, mongo, nats
from session_assets.stores.postgres import Database

_SESSIONS = "user_sessions"


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
    """By the variable of each store that is configured: None where it answers, else why it does not."""
    looks = {variable: look for variable, look in _LOOKS.items() if os.environ.get(variable)}
    with ThreadPoolExecutor(len(looks) or 1) as pool:
        return dict(zip(looks, pool.map(_why, looks.values()), strict=True))


def _why(look: Callable[[], None]) -> str | None:
    try:
        look()
    except SessionAssetsError as error:
        return safe_text(error)
    return None
