"""Reads sessions and their events together, a bucket of sessions at a time, each document before its events.

A document that changes after it was read fails its guard; an event that arrives after its document was read is counted or
not, but never overwritten: see DESIGN 1, rule 1, and docs/decisions/0002.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any

import polars as pl

from session_assets.changes.evidence import Holding
from session_assets.compact import compact
from session_assets.failpoints import failpoint
from session_assets.selection import Progress, Selection
from session_assets.spill import Buckets
from session_assets.stores.mongo import MongoSource
from session_assets.stores.mongo_types import TypeFound, types_found
from session_assets.web.facts import partition_keys
from session_assets.web.model import EVENT_COLUMNS, SESSION_COLUMNS, UNREADABLE_EVENT
from session_assets.web.stored import PLAIN, WebShape

_BUCKET_ROWS = 60_000
_IS_ID = pl.col("session_id").fill_null("") != ""
"""An empty text is no id: sessions that say so have nothing in common."""


@dataclass(frozen=True)
class Bucket:
    """Some sessions, all their documents, all their events; and the events in reach that no document claims.

    `sessions` has `SESSION_COLUMNS`, `events` `EVENT_COLUMNS`. `others` (partition, key, login, malformed: Boolean) are documents
    without a session_id that is an ObjectId, or text and not empty: log-ins, and those that nobody can place.
    """

    sessions: pl.DataFrame
    events: pl.DataFrame
    others: pl.DataFrame


class WebSource:
    """The two collections of the web slice."""

    def __init__(
        self, sessions: MongoSource, events: MongoSource, first: date, last: date, shape: WebShape = PLAIN
    ) -> None:
        self._sessions = sessions
        self._events = events
        self._shape = shape
        self._session_id = shape.sessions.stored("session_id")
        self._has_id = _with_id(self._session_id)
        self._first = first
        self._last = last
        self._oldest: Any = None
        self._newest: Any = None
        self._odd_ids: int | None = None
        """How many of all events may have an odd session_id, at the most; None while they were not read."""

    def holdings(self, most: float, *, quickly: bool = True) -> list[Holding]:
        """Both collections, each with its documents. If more than `most` of the events (a share) may be odd, they are counted.

        `quickly`: if the events were not read, an index on their session_id may answer.
        """
        field, odd = self._shape.events.stored("session_id"), self._odd_ids
        if odd is None or odd > most * self._events.estimated_count():
            odd = self._events.odd_ids(field, quickly=quickly and odd is None)
        return [self._sessions.holding(), self._events.holding(field, odd)]

    def claims_nothing(self) -> bool:
        """Whether no session has an id, while an event names one."""
        names_one = _with_id(self._shape.events.stored("session_id"))
        return self._events.holds_any(names_one) and not self._sessions.holds_any(self._has_id)

    def types_found(self) -> dict[str, dict[str, TypeFound]]:
        """For each stored field that is compared, as `collection.field`: its types, with counts over all documents."""
        parts = ((self._sessions, self._shape.session_fields), (self._events, self._shape.event_fields[1:]))
        return {
            f"{source.collection.name}.{name}": types
            for source, fields in parts
            for name, types in types_found(source, fields).items()
        }

    def observed_events(self) -> tuple[int, datetime | None]:
        """How many events there are (estimated by the server), and the newest timestamp of those read so far."""
        return self._events.estimated_count(), self._newest

    @property
    def oldest_event(self) -> datetime | None:
        """The earliest timestamp of the events read so far; of all events once a scan of the whole has yielded."""
        return self._oldest

    def scan(self, selection: Selection, scratch: Path, progress: Progress | None = None) -> Iterator[Bucket]:
        """All selected documents once, each with all its events, whatever their date."""
        tell = progress or (lambda _what, _done, _total: None)
        keys = None if selection.is_whole else self._keys(selection)
        count = self._bucket_count(keys)
        sessions = Buckets(scratch, "sessions", count, "session_id", SESSION_COLUMNS)
        others = self._read_others(selection)
        total = self._sessions.estimated_count()
        for frame in self._documents(keys):
            loose = frame.filter(~_IS_ID)
            apart = self._chosen(loose, selection).select("partition", "key", "malformed", login=pl.lit(False))
            others.append(compact(apart))
            sessions.add(frame.filter(_IS_ID))
            tell("sessions", sessions.rows, total)
        sessions.close()
        failpoint("web.after_documents")
        events = Buckets(scratch, "events", count, "session_id", EVENT_COLUMNS)
        total, odd_ids = self._events.estimated_count(), 0
        for frame in self._event_frames(keys):
            events.add(frame.filter(_IS_ID))
            odd_ids += frame.filter(pl.col("malformed") & pl.col("session_id").is_null()).height
            self._oldest = min(filter(None, (self._oldest, frame["timestamp"].min())), default=None)
            self._newest = max(filter(None, (self._newest, frame["timestamp"].max())), default=None)
            tell("events", events.rows, total)
        events.close()
        self._odd_ids = odd_ids if keys is None else None
        failpoint("web.after_events")
        apart = pl.concat(others)
        for number in range(count):
            group = pl.col("partition").min().over("session_id")  # duplicates stand where the earliest stands
            documents = self._chosen(sessions.read(number).with_columns(partition=group), selection)
            yield Bucket(documents, events.read(number), apart)
            apart = apart.clear()

    def unknown(self, sessions: Sequence[str]) -> list[str]:
        """Those of some session ids that no document has, in order."""
        wanted = _ids(sessions)
        found: set[str] = set()
        for query in self._sessions.by_values(self._session_id, wanted):
            for frame in self._sessions.frames((self._shape.session_id_field,), query or self._has_id):
                found.update(frame.filter(pl.col("session_id").is_in(wanted.implode()))["session_id"])
        return [one for one in dict.fromkeys(sessions) if one not in found]

    def standing(self) -> pl.DataFrame:
        """How many documents each partition holds: `partition`, `documents`."""
        frames = [frame.group_by("partition").agg(documents=pl.len()) for frame in self._standing({})]
        if not frames:
            return pl.DataFrame(schema={"partition": pl.String, "documents": pl.UInt32})
        return pl.concat(frames).group_by("partition").agg(pl.col("documents").sum()).sort("partition")

    def loose_events(self, scratch: Path) -> Iterator[tuple[pl.DataFrame, str]]:
        """All events, in frames of `_id`, `session_id` and `loose` (Boolean), with the reason that makes them loose.

        `_id` is the text or the hex digits, else canonical Extended JSON.

        The events are read first: a session that is created in between claims its events.
        """
        columns = pl.Schema({"_id": pl.String, "session_id": pl.String})
        count = max(1, min(512, round(self._events.estimated_count() / _BUCKET_ROWS / 4 + 0.5)))
        events, odd_ids = Buckets(scratch, "loose", count, "session_id", columns), 0
        for read in self._events.keyed(self._shape.event_claim_fields, {}, {}):
            frame = read.with_columns(pl.coalesce("_id", "key"))
            events.add(frame.filter(_IS_ID))
            without = frame.filter(~_IS_ID).select("_id", "session_id", "malformed", loose=True)
            odd_ids += without.filter("malformed").height
            yield without.filter("malformed").drop("malformed"), UNREADABLE_EVENT
            yield without.filter(~pl.col("malformed")).drop("malformed"), "null_session_id"
        events.close()
        self._odd_ids = odd_ids
        sessions = Buckets(scratch, "claims", count, "session_id", pl.Schema({"session_id": pl.String}))
        for frame in self._sessions.frames((self._shape.session_id_field,), self._has_id):
            sessions.add(frame.filter(_IS_ID))
        sessions.close()
        for number in range(count):
            claimed = pl.col("session_id").is_in(sessions.read(number)["session_id"].implode())
            yield events.read(number).with_columns(loose=~claimed), "orphan_event"

    def _standing(self, query: dict[str, object]) -> Iterator[pl.DataFrame]:
        for frame in self._sessions.frames(self._shape.standing_fields, query):
            yield self._placed(_with_key(frame))

    def _keys(self, selection: Selection) -> pl.Series:
        """The session ids to visit."""
        if selection.sessions:
            return _ids(selection.sessions)
        chosen = pl.col("partition").is_in(list(selection.partitions or ())) & _IS_ID
        found = [compact(frame.filter(chosen).select("session_id")) for frame in self._standing(self._has_id)]
        return pl.concat([pl.DataFrame(schema={"session_id": pl.String}), *found])["session_id"].unique()

    def _documents(self, keys: pl.Series | None) -> Iterator[pl.DataFrame]:
        """Whole documents with a session_id; of single keys all documents, wherever they stand."""
        if keys is None:
            for frame in self._sessions.documents(self._shape.session_fields, self._has_id):
                yield self._placed(frame)
            return
        for query in self._sessions.by_values(self._session_id, keys):
            for frame in self._sessions.documents(self._shape.session_fields, query or self._has_id):
                yield self._placed(frame.filter(pl.col("session_id").is_in(keys.implode())))

    def _event_frames(self, keys: pl.Series | None) -> Iterator[pl.DataFrame]:
        queries = iter([{}]) if keys is None else self._events.by_values(self._shape.events.stored("session_id"), keys)
        for query in queries:
            for frame in self._events.frames(self._shape.event_fields, query):
                yield frame if keys is None else frame.filter(pl.col("session_id").is_in(keys.implode()))

    def _read_others(self, selection: Selection) -> list[pl.DataFrame]:
        """Documents without a session_id that is text or an ObjectId: log-ins (no such field, and they expire), and others."""
        empty = pl.DataFrame(
            schema={"partition": pl.String, "key": pl.String, "malformed": pl.Boolean, "login": pl.Boolean}
        )
        if selection.sessions:
            return [empty]
        kinds = {"session_id_type": {"$type": f"${self._session_id}"}}
        frames = self._sessions.keyed(self._shape.apart_fields, {"$nor": [self._has_id]}, kinds)
        kind = pl.col("session_id_type")
        columns = {
            "malformed": ~kind.is_in(["missing", "null", "undefined", "string"]),  # of texts only the empty one is here
            "login": (kind == "missing") & pl.col("expires_at").is_not_null(),
        }
        return [
            empty,
            *(
                compact(self._chosen(self._placed(frame), selection).select("partition", "key", **columns))
                for frame in frames
            ),
        ]

    def _placed(self, frame: pl.DataFrame) -> pl.DataFrame:
        return frame.with_columns(partition_keys(frame, self._first, self._last))

    def _chosen(self, frame: pl.DataFrame, selection: Selection) -> pl.DataFrame:
        if selection.partitions is None:
            return frame
        return frame.filter(pl.col("partition").is_in(list(selection.partitions)))

    def _bucket_count(self, keys: pl.Series | None) -> int:
        events, sessions = self._events.estimated_count(), self._sessions.estimated_count()
        share = 1.0 if keys is None else min(1.0, len(keys) / max(sessions, 1))
        rows = max(events, sessions) * share
        return max(1, min(512, round(rows / _BUCKET_ROWS + 0.5)))


def _with_id(field: str) -> dict[str, Any]:
    """The query for documents whose field is an ObjectId, or text and not empty."""
    return {field: {"$type": ["string", "objectId"], "$not": {"$type": "array"}, "$ne": ""}}


def _ids(sessions: Sequence[str]) -> pl.Series:
    """Session ids that were asked for, each once."""
    return pl.Series("session_id", [one for one in sessions if one], dtype=pl.String).unique()


def _with_key(frame: pl.DataFrame) -> pl.DataFrame:
    """`key` as change rows have it, where `_id` is an ObjectId: enough to tell the day."""
    return frame.with_columns(key=pl.when(pl.col("_id_kind") == "objectid").then(pl.format('{{"$oid":"{}"}}', "_id")))
