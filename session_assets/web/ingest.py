"""What applications call to record an event: `ingest_event(event)`.

The event and its session are written in one transaction, so that a session never drifts from its events again. Seed S2,
"Prevention".
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any

import polars as pl

from session_assets.errors import BadInput
from session_assets.stores.mongo import database as connected
from session_assets.stores.mongo_ingest import Database, EventIngest, IngestResult, is_object_id
from session_assets.web.stored import refuse_ingest

VARIABLE, DATABASE = "WEB_MONGO_URI", "web"
_FIRST_SECOND, _LAST_SECOND = -62135596800, 10**11  # the years 1 to 5138: a larger number may be milliseconds
_REQUIRED = ("session_id", "timestamp", "event_type")


def ingest_event(event: dict[str, Any], database: Database | None = None) -> IngestResult:
    """Store one event and bring its session up to date; see `ingest_events`."""
    return ingest_events([event], database)


def ingest_events(events: Iterable[dict[str, Any]], database: Database | None = None) -> IngestResult:
    """Store events and bring their sessions up to date, at most 1000 events a transaction.

    Fields: `session_id` str or ObjectId, or None for an event without a session; `timestamp` aware datetime or epoch seconds;
    `event_type` str; `page` str | None; `user_id` ObjectId | str | None; `client_id` str | None; `properties` dict.
    An event without `_id` is given one, in the caller's dict: after an error, call again with the same dicts, and nothing
    is stored twice. `database` is the one of WEB_MONGO_URI unless given.
    Raises `BadInput` before anything is written, `NotConfigured`, `StoreUnavailable`, and `UsageError` where WEB_MAPPING
    is set.
    """
    refuse_ingest()
    given = list(events)
    checked = [_checked(event, number) for number, event in enumerate(given, 1)]
    store = EventIngest(connected(VARIABLE, DATABASE) if database is None else database, VARIABLE)
    store.give_ids(checked)
    for event, stored in zip(given, checked, strict=True):
        event["_id"] = stored["_id"]
    return store.ingest(checked)


def event_documents(events: pl.DataFrame) -> list[dict[str, Any]]:
    """Events of a drop, as `EventIngest.ingest` takes them. In: the columns of `drops.EVENTS`."""
    names = ("event_id", "session_id", "timestamp", "page", "event_type", "user_id", "client_id", "properties")
    return [
        {
            "_id": event_id,
            "session_id": session_id,
            "timestamp": timestamp,
            "page": page,
            "event_type": event_type,
            "user_id": user_id,
            "client_id": client_id,
            "properties": json.loads(properties) if properties != "{}" else {},
        }
        for event_id, session_id, timestamp, page, event_type, user_id, client_id, properties in events.select(
            names
        ).iter_rows()
    ]


def _checked(event: dict[str, Any], number: int) -> dict[str, Any]:
    """The event with its fields in order, those left out filled in."""
    if unknown := [str(name) for name in event if name not in _RULES]:
        raise BadInput(f"event {number}: unknown field {unknown[0]!r}. Known are {', '.join(_RULES)}.")
    if absent := [name for name in _REQUIRED if name not in event]:
        raise BadInput(f"event {number}: {absent[0]} is missing. It needs {', '.join(_REQUIRED)}.")
    for name, (holds, wanted) in _RULES.items():
        if name in event and not holds(event[name]):
            raise BadInput(f"event {number}: {name} must be {wanted}, not {_shown(event[name])}.")
    checked = {name: event.get(name) for name in _RULES if name in event or name not in _OPTIONAL}
    checked["properties"] = event.get("properties") or {}
    return checked


def _shown(value: object) -> str:
    """The type, and for numbers and dates the value: texts may be personal."""
    kind = type(value).__name__
    return f"{kind} {value}" if isinstance(value, int | float | datetime) else "an empty text" if value == "" else kind


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_filled_text(value: object) -> bool:
    return isinstance(value, str) and value != ""


def _is_moment(value: object) -> bool:
    if isinstance(value, datetime):
        return value.utcoffset() is not None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return math.isfinite(value) and _FIRST_SECOND <= value < _LAST_SECOND


def _or_none(holds: Callable[[object], bool]) -> Callable[[object], bool]:
    return lambda value: value is None or holds(value)


_OPTIONAL = ("_id", "session_oid")
_RULES: dict[str, tuple[Callable[[object], bool], str]] = {
    "_id": (_or_none(lambda value: is_object_id(value) or _is_filled_text(value)), "an ObjectId or a text"),
    "session_id": (
        _or_none(lambda value: is_object_id(value) or _is_filled_text(value)),
        "an ObjectId, a text that is not empty, or None",
    ),
    "session_oid": (_or_none(is_object_id), "an ObjectId or None"),
    "timestamp": (_is_moment, "a datetime with a time zone, or epoch seconds (below 100,000,000,000)"),
    "page": (_or_none(_is_text), "a text or None"),
    "event_type": (_is_filled_text, "a text that is not empty"),
    "user_id": (_or_none(lambda value: is_object_id(value) or _is_text(value)), "an ObjectId, a text, or None"),
    "client_id": (_or_none(_is_text), "a text or None"),
    "properties": (_or_none(lambda value: isinstance(value, dict)), "a dict"),
}
