"""Indexes of web events and sessions, each made by an explicit step; nothing else in the project builds one there."""

from __future__ import annotations

from typing import Any

from pymongo import ASCENDING
from pymongo.database import Database
from pymongo.errors import DuplicateKeyError

from session_assets.errors import UsageError
from session_assets.masking import safe_text
from session_assets.stores.mongo import attempt
from session_assets.web.model import EVENTS, SESSIONS

UNIQUE_SESSION_INDEX = "session_id_unique"
_TEXT_ID: dict[str, Any] = {"session_id": {"$type": "string"}}
_SHOWN = 20


def create_event_indexes(database: Database, variable: str = "WEB_MONGO_URI") -> list[str]:
    """Indexes for look-ups by session, on both collections. Idempotent; returns their names.

    For collections that hold nothing yet: on others, building an index is the operator's decision.
    """
    return [
        attempt(variable, lambda: database[EVENTS].create_index([("session_id", ASCENDING), ("timestamp", ASCENDING)])),
        attempt(variable, lambda: database[SESSIONS].create_index([("session_id", ASCENDING)])),
    ]


def create_event_indexes_if_empty(database: Database, variable: str = "WEB_MONGO_URI") -> list[str]:
    """`create_event_indexes` where neither collection holds a document, else nothing."""
    for name in (EVENTS, SESSIONS):
        if attempt(variable, lambda name=name: database[name].find_one({}, {"_id": 1})) is not None:
            return []
    return create_event_indexes(database, variable)


def create_unique_session_index(database: Database, variable: str = "WEB_MONGO_URI") -> str:
    """A unique index on `session_id` where it is a string; returns its name. Idempotent.

    Raises `UsageError`, naming up to 20 session ids, where some have several documents. Look-ups use this index only
    when they say `$type: "string"`.
    """
    sessions = database[SESSIONS]
    _refuse_duplicates(database, variable)
    try:
        return attempt(
            variable,
            lambda: sessions.create_index(
                [("session_id", ASCENDING)],
                name=UNIQUE_SESSION_INDEX,
                unique=True,
                partialFilterExpression=_TEXT_ID,
            ),
        )
    except DuplicateKeyError:
        _refuse_duplicates(database, variable)  # written since we looked
        raise


def _refuse_duplicates(database: Database, variable: str) -> None:
    pipeline: list[dict[str, Any]] = [
        {"$match": _TEXT_ID},
        {"$group": {"_id": "$session_id", "documents": {"$sum": 1}}},
        {"$match": {"documents": {"$gt": 1}}},
        {"$facet": {"total": [{"$count": "ids"}], "shown": [{"$sort": {"_id": 1}}, {"$limit": _SHOWN}]}},
    ]
    found = attempt(variable, lambda: next(database[SESSIONS].aggregate(pipeline, allowDiskUse=True)))
    if not found["shown"]:
        return
    total = found["total"][0]["ids"]
    ids = [one["_id"] for one in found["shown"]]
    if "" in ids:
        raise UsageError(
            f"{database.name}.{SESSIONS}: several documents have an empty session_id, which is no id, and an index cannot make"
            ' it unique. Look at them: {"session_id": ""}. Give each its id, or unset the field, then try again.'
        )
    shown = ", ".join(map(safe_text, ids))
    raise UsageError(
        f"{database.name}.{SESSIONS}: {total} session ids have several documents and cannot be made unique:"
        f" {shown}{', …' if total > _SHOWN else ''}. Fold them: `session-assets plan web/duplicates`, then"
        " `session-assets apply web/duplicates`. Then try again."
    )
