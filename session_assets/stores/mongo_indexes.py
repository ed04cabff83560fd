"""Indexes of web events and sessions, each made by an explicit step; nothing else in the project builds one there."""

from __future__ import annotations

from typing import Any

from pymongo import ASCENDING
from pymongo.collection import Collection
from pymongo.database import Database
from pymongo.errors import DuplicateKeyError

from session_assets.errors import UsageError
from session_assets.masking import safe_text
from session_assets.stores.mongo import attempt
from session_assets.web.model import EVENTS, SESSIONS
from session_assets.web.stored import PLAIN, WebShape

UNIQUE_SESSION_INDEX = "session_id_unique"
_OBJECT_IDS = f"{UNIQUE_SESSION_INDEX}_object_ids"
_SHOWN = 20


def create_event_indexes(database: Database, variable: str = "WEB_MONGO_URI", *, shape: WebShape = PLAIN) -> list[str]:
    """Indexes for look-ups by session, on both collections. Idempotent; returns their names.

    For collections that hold nothing yet: on others, building an index is the operator's decision.
    """
    events, sessions = database[shape.events.collection], database[shape.sessions.collection]
    by_time = [(shape.events.stored("session_id"), ASCENDING), (shape.events.stored("timestamp"), ASCENDING)]
    return [
        attempt(variable, lambda: events.create_index(by_time)),
        attempt(variable, lambda: sessions.create_index([(shape.sessions.stored("session_id"), ASCENDING)])),
    ]


def create_event_indexes_if_empty(database: Database, variable: str = "WEB_MONGO_URI") -> list[str]:
    """`create_event_indexes` where neither collection holds a document, else nothing."""
    for name in (EVENTS, SESSIONS):
        if attempt(variable, lambda name=name: database[name].find_one({}, {"_id": 1})) is not None:
            return []
    return create_event_indexes(database, variable)


def create_unique_session_index(
    database: Database, variable: str = "WEB_MONGO_URI", *, shape: WebShape = PLAIN
) -> list[str]:
    """A unique index on `session_id` where it is a string, and one where it is an ObjectId if there are such; their names.

    Idempotent. Raises `UsageError`, naming up to 20 session ids, where some have several documents. Look-ups use these
    indexes only when they say `$type`.
    """
    sessions, field = database[shape.sessions.collection], shape.sessions.stored("session_id")
    _refuse_duplicates(sessions, field, variable)
    wanted = {UNIQUE_SESSION_INDEX: "string"}
    if attempt(variable, lambda: sessions.find_one({field: {"$type": "objectId"}}, {"_id": 1})) is not None:
        wanted[_OBJECT_IDS] = "objectId"
    try:
        return [_unique(sessions, field, name, kind, variable) for name, kind in wanted.items()]
    except DuplicateKeyError:
        _refuse_duplicates(sessions, field, variable)  # written since we looked
        raise


def _unique(sessions: Collection, field: str, name: str, kind: str, variable: str) -> str:
    only: dict[str, Any] = {field: {"$type": kind}}
    return attempt(
        variable,
        lambda: sessions.create_index([(field, ASCENDING)], name=name, unique=True, partialFilterExpression=only),
    )


def _refuse_duplicates(sessions: Collection, field: str, variable: str) -> None:
    """An ObjectId and its hex digits are one session, though no index would refuse them."""
    pipeline: list[dict[str, Any]] = [
        {"$match": {field: {"$type": ["string", "objectId"], "$not": {"$type": "array"}}}},
        {"$group": {"_id": {"$toString": f"${field}"}, "documents": {"$sum": 1}}},
        {"$match": {"documents": {"$gt": 1}}},
        {"$facet": {"total": [{"$count": "ids"}], "shown": [{"$sort": {"_id": 1}}, {"$limit": _SHOWN}]}},
    ]
    found = attempt(variable, lambda: next(sessions.aggregate(pipeline, allowDiskUse=True)))
    if not found["shown"]:
        return
    total = found["total"][0]["ids"]
    ids = [one["_id"] for one in found["shown"]]
    if "" in ids:
        raise UsageError(
            f"{sessions.full_name}: several documents have an empty {field}, which is no id, and an index cannot make"
            f' it unique. Look at them: {{"{field}": ""}}. Give each its id, or unset the field, then try again.'
        )
    shown = ", ".join(map(safe_text, ids))
    raise UsageError(
        f"{sessions.full_name}: {total} session ids have several documents and cannot be made unique:"
        f" {shown}{', …' if total > _SHOWN else ''}. Fold them: `session-assets plan web/duplicates`, then"
        " `session-assets apply web/duplicates`. Then try again."
    )
