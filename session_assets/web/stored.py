"""How web events and sessions are stored: names and times, as the mapping file of WEB_MAPPING says, or by default.

All paths that read, look up or write a stored field ask `WebShape` for its name, so that none of them can forget the mapping.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import polars as pl

from session_assets.errors import UsageError
from session_assets.stored_mapping import (
    CollectionMapping,
    StoredCollection,
    StoredField,
    StoredMapping,
    load_stored_mapping,
    plain_mapping,
)
from session_assets.stores.bson_frames import Field, Kind
from session_assets.stores.bson_shapes import other_times, with_times_as_stored
from session_assets.stores.bson_times import Times
from session_assets.web.model import EVENTS, SESSIONS

SETTING = "WEB_MAPPING"
TIMES = ("first_event_at", "last_event_at", "created_at")
KNOWN = (
    StoredCollection(
        EVENTS,
        (
            StoredField("session_id", "The session of the event: a text or an ObjectId."),
            StoredField("timestamp", "When it happened."),
            StoredField("page", "The page that was seen.", template=True),
            StoredField("user_id", "Who saw it: an ObjectId or a text.", template=True),
            StoredField("client_id", "The browser or device.", template=True),
        ),
    ),
    StoredCollection(
        SESSIONS,
        (
            StoredField("session_id", "The id of the session: a text or an ObjectId."),
            StoredField("user_id", "The user of its events. A repair writes it."),
            StoredField("client_id", "The client of its events. A repair writes it."),
            StoredField("event_count", "The number of its events. A repair writes it."),
            StoredField("first_event_at", "When its first event happened. A repair writes it."),
            StoredField("last_event_at", "When its last event happened. A repair writes it."),
            StoredField("pages", "Its distinct pages, in first-seen order. A repair writes it."),
            StoredField("created_at", "When it began; places sessions without first_event_at in a day."),
            StoredField("expires_at", "When a log-in expires; a document with it and without session_id is a log-in."),
        ),
        unit="iso",
    ),
)
"""The collections and fields that the web slice reads and writes."""
_EVENT_KINDS = {
    "session_id": Kind.HEX,
    "timestamp": Kind.MOMENT,
    "page": Kind.TEXT,
    "user_id": Kind.ID,
    "client_id": Kind.TEXT,
}
_SESSION_KINDS = {
    "session_id": Kind.HEX,
    "user_id": Kind.ID,
    "client_id": Kind.TEXT,
    "event_count": Kind.NUMBER,
    "first_event_at": Kind.MOMENT,
    "last_event_at": Kind.MOMENT,
    "pages": Kind.TEXTS,
    "created_at": Kind.MOMENT,
}


@dataclass(frozen=True)
class WebShape:
    """Names and times of both collections; the fields to read, as the readers of BSON take them."""

    mapping: StoredMapping

    @property
    def digest(self) -> str:
        """Tells two mappings apart; empty without one."""
        return self.mapping.digest

    @property
    def is_plain(self) -> bool:
        return self.mapping.is_plain

    @property
    def events(self) -> CollectionMapping:
        return self.mapping[EVENTS]

    @property
    def sessions(self) -> CollectionMapping:
        return self.mapping[SESSIONS]

    @cached_property
    def event_fields(self) -> tuple[Field, ...]:
        """Columns of `EVENT_COLUMNS`."""
        times = Times(self.events.unit, self.events.timezone)
        return (
            Field("_id", Kind.KEY),
            *(_field(self.events, name, kind, times, strict=True) for name, kind in _EVENT_KINDS.items()),
        )

    @cached_property
    def event_claim_fields(self) -> tuple[Field, ...]:
        """What tells which session an event belongs to: `_id` as text, and `session_id`."""
        return Field("_id", Kind.ID), self.event_fields[1]

    @cached_property
    def session_times(self) -> Times:
        return Times(self.sessions.unit, self.sessions.timezone, any_date=True)

    @cached_property
    def session_fields(self) -> tuple[Field, ...]:
        """Columns of `SESSION_COLUMNS`; created_at is compared with nothing, so it may hold anything."""
        return tuple(self._session_field(name, strict=name != "created_at") for name in _SESSION_KINDS)

    @cached_property
    def session_id_field(self) -> Field:
        return self._session_field("session_id")

    @cached_property
    def standing_fields(self) -> tuple[Field, ...]:
        """What tells where a session stands."""
        return Field("_id", Kind.ID), *(
            self._session_field(name) for name in ("session_id", "first_event_at", "created_at")
        )

    @cached_property
    def apart_fields(self) -> tuple[Field, ...]:
        """What tells log-ins from other documents without a session_id."""
        return (
            Field("session_id_type", Kind.TEXT),
            *(self._session_field(name) for name in ("first_event_at", "created_at")),
            _field(self.sessions, "expires_at", Kind.MOMENT, self.session_times),
        )

    def stored_otherwise(self, documents: pl.Series, *, with_times: bool) -> set[int]:
        """The rows of session documents that do not take new values under the default names, and times as dates."""
        if not self.is_plain:
            return set(range(len(documents)))
        return other_times(documents, TIMES) if with_times else set()

    def as_stored(self, fields: dict[str, Any], document: bytes) -> dict[str, Any]:
        """New values of a session document, under the stored names, times in the form that the document uses."""
        named = {self.sessions.stored(name): value for name, value in fields.items()}
        return with_times_as_stored(named, document, tuple(map(self.sessions.stored, TIMES)), self.session_times)

    def _session_field(self, name: str, *, strict: bool = False) -> Field:
        return _field(self.sessions, name, _SESSION_KINDS[name], self.session_times, strict=strict)


def _field(mapped: CollectionMapping, name: str, kind: Kind, times: Times, *, strict: bool = False) -> Field:
    template = mapped.template(name)
    stored = "" if template else mapped.stored(name)
    return Field(name, kind, strict, stored=stored, times=times, template=template)


PLAIN = WebShape(plain_mapping(KNOWN))
"""How the collections are stored without a mapping."""


def web_shape(env: Mapping[str, str] | None = None) -> WebShape:
    """What WEB_MAPPING says, or `PLAIN` where it is unset. Raises `UsageError` for a file that is missing or wrong."""
    path = (os.environ if env is None else env).get(SETTING, "")
    if not path:
        return PLAIN
    try:
        found = Path(path).stat()
    except OSError:
        return _loaded(path, 0, 0)  # says why it cannot be read
    return _loaded(path, found.st_mtime_ns, found.st_size)


@lru_cache(maxsize=4)
def _loaded(path: str, _changed: int, _size: int) -> WebShape:
    return WebShape(load_stored_mapping(Path(path), KNOWN, SETTING))


def refuse_ingest(env: Mapping[str, str] | None = None) -> None:
    """Raise `UsageError` where a mapping is set: ingest writes whole documents, in the shape of this product only."""
    if not web_shape(env).is_plain:
        raise UsageError(
            f"{SETTING} is set: events are ingested only into collections that keep their default names and times. Nothing was"
            f" written. Let the application write its events, or unset {SETTING}."
        )
