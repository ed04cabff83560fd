"""What the ingest tests share: a database, events, and the comparison of sessions with the facts of their events."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
import pymongo
from pymongo.database import Database

from session_assets.stores.bson_frames import Field, Kind
from session_assets.stores.mongo import MongoSource
from session_assets.web.facts import session_facts

START = datetime(2025, 3, 1, tzinfo=UTC)
_FIELDS = (
    Field("_id", Kind.ID),
    Field("session_id", Kind.TEXT, strict=True),
    Field("timestamp", Kind.MOMENT, strict=True),
    Field("page", Kind.TEXT, strict=True),
    Field("user_id", Kind.ID, strict=True),
    Field("client_id", Kind.TEXT, strict=True),
)


def connect(uri: str) -> Database[dict[str, Any]]:
    return pymongo.MongoClient[dict[str, Any]](uri, tz_aware=True).get_default_database()


def event(session_id: str | None, second: float, page: str | None = "/", **more: Any) -> dict[str, Any]:
    moment = START + timedelta(seconds=second)
    return {"session_id": session_id, "timestamp": moment, "page": page, "event_type": "pageview", **more}


def expected(database: Database[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """What each session should say, from all events as `session_facts` has it."""
    frames = list(MongoSource(database["events"], "TEST").frames(_FIELDS, {}))
    if not frames:
        return {}
    facts = session_facts(pl.concat(frames).filter(pl.col("session_id").is_not_null()))
    return {
        row["session_id"]: {
            "event_count": row["fact_event_count"],
            "pages": row["fact_pages"],
            "first_event_at": row["fact_first"],
            "last_event_at": row["fact_last"],
            "user_id": row["fact_users"],
            "client_id": row["fact_clients"],
        }
        for row in facts.to_dicts()
    }


def stored(database: Database[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """The session documents by session_id, one each."""
    documents = list(database["sessions"].find({"session_id": {"$exists": True}}))
    by_id = {document["session_id"]: document for document in documents}
    assert len(by_id) == len(documents), "several documents for one session_id"
    return by_id


def assert_sessions_right(database: Database[dict[str, Any]]) -> None:
    facts, documents = expected(database), stored(database)
    assert documents.keys() == facts.keys()
    for session_id, fact in facts.items():
        document = documents[session_id]
        for name in ("event_count", "pages", "first_event_at", "last_event_at"):
            assert document[name] == fact[name], (session_id, name)
        for name in ("user_id", "client_id"):
            if len(fact[name]) == 1:
                assert str(document[name]).lower() == fact[name][0].lower(), (session_id, name)
            elif not fact[name]:
                assert document[name] is None
