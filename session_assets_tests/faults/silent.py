"""Statements that keep a server busy. `silence` is what SESSION_ASSETS_SILENCE_SECONDS says to their process."""

from __future__ import annotations

import os
from dataclasses import dataclass, field

from session_assets.stores.mongo import attempt, database
from session_assets.stores.postgres import Database

SECONDS = 4


@dataclass(frozen=True)
class Statement:
    """One statement that keeps its server busy for some seconds."""

    url: str = field(repr=False)
    silence: str


def find_slowly(work: Statement) -> None:
    os.environ["SESSION_ASSETS_SILENCE_SECONDS"] = work.silence
    sessions = database("WEB_MONGO_URI", "analytics", {"WEB_MONGO_URI": work.url}).sessions
    slow = {"$where": f"sleep({SECONDS * 1000}) || true"}
    assert attempt("WEB_MONGO_URI", lambda: len(list(sessions.find(slow)))) == 1


def sleep(work: Statement) -> None:
    os.environ["SESSION_ASSETS_SILENCE_SECONDS"] = work.silence
    with Database("FLOW_DATABASE_URL", work.url).connected("test") as connection:
        connection.execute("SELECT pg_sleep(%s)", [SECONDS])
