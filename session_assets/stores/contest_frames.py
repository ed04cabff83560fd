"""Contest sessions and their attempts as typed frames, from wire batches: each value with the BSON type it is stored as.

Columns `{name}_type` (UInt8) hold the type, 0 where the field is absent. A number that is written as plain decimal text is
read as the number. Nothing is judged here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime

import numpy as np
import polars as pl
from bson import ObjectId

from session_assets.contest.model import ALIASES, ATTEMPT_ALIASES, ATTEMPT_FIELDS, FIELDS, UPDATED
from session_assets.stores.bson_batch import Batch, Places, locate, locate_in_order
from session_assets.stores.bson_frames import Field, Kind, array_items, documents_of, frame_at, keys_of
from session_assets.stores.mongo import MongoSource

_DOCUMENT, _STRING = 3, 2
_IN_BATCH, _TOGETHER = 700, 4  # documents off the wire that the processor's cache holds; batches that go on as one
_DECIMAL = r"^-?(0|[1-9]\d{0,14})(\.\d{1,6})?$"
_NAMES = ("_id", *FIELDS, UPDATED, *ALIASES)
_TEXTS = tuple(Field(name, Kind.TEXT) for name in ("session_id", "username", "contest"))
_IDS = tuple(Field(name, Kind.ID) for name in ("user_id", "userId", "_user_id"))
_NUMBERS = (
    "year", "score", "total_attempted", "attempted", "total_time_ms", "totalTime", "total_time_seconds",
    "total_time_minutes",
)  # fmt: skip
_MOMENTS = ("created_at", "completed_at")

_ATTEMPT_NAMES = (*ATTEMPT_FIELDS, *ATTEMPT_ALIASES)
_ATTEMPT_TEXTS = tuple(Field(name, Kind.TEXT) for name in ("correct_answer", "difficulty"))
_TOPICS = (Field("topics", Kind.TEXTS),)
_ATTEMPT_NUMBERS = ("problem_number", "time_spent_ms", "time_spent", "time_spent_seconds")
_FLAGS = ("is_correct", "correct")
_PROBLEM_FIELDS = (
    Field("contest_id", Kind.TEXT),
    Field("problem_number", Kind.NUMBER),
    Field("answer", Kind.TEXT),
    Field("correct_answer", Kind.TEXT),
    Field("difficulty", Kind.TEXT),
    Field("topics", Kind.TEXTS),
)
_USER_FIELDS = (Field("_id", Kind.ID), Field("username", Kind.TEXT))


def session_frames(source: MongoSource, query: dict[str, object]) -> Iterator[tuple[pl.DataFrame, pl.DataFrame]]:
    """Whole documents and all their attempts, some wire batches at a time.

    Sessions: `row`, `key`, `document`, `ordered` (whether the known fields stand in order, before all others), types, values;
    moments as `{name}_date` (a date) and `{name}_text`. Attempts: `row` of the session, `attempt` (place in the list), the type
    of the list's item, and the same.
    """
    read: list[tuple[pl.DataFrame, pl.DataFrame]] = []
    for data in source.batches(query, size=_IN_BATCH):
        read.append(read_sessions(Batch(data)))
        if len(read) == _TOGETHER:
            yield _together(read)
            read = []
    if read:
        yield _together(read)


def _together(read: list[tuple[pl.DataFrame, pl.DataFrame]]) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Frames of several batches as one, their rows numbered on."""
    offset, parts = 0, list[list[pl.DataFrame]]()
    for frames in read:
        parts.append([frame.with_columns(pl.col("row") + pl.lit(offset, pl.UInt32)) for frame in frames])
        offset += frames[0].height
    sessions, attempts = (pl.concat(some, how="diagonal") for some in zip(*parts, strict=True))
    return sessions, attempts


def read_sessions(batch: Batch) -> tuple[pl.DataFrame, pl.DataFrame]:
    """As `session_frames`, of one batch."""
    found, ordered = locate_in_order(batch, _NAMES, ("_id", *FIELDS, UPDATED))
    sessions = frame_at(batch, found, (*_TEXTS, *_IDS)).drop("malformed")
    dates = frame_at(batch, found, tuple(Field(name, Kind.DATE) for name in _MOMENTS)).drop("malformed")
    texts = frame_at(batch, found, tuple(Field(name, Kind.TEXT) for name in _MOMENTS)).drop("malformed")
    frame = sessions.with_columns(
        pl.Series("row", np.arange(len(batch), dtype=np.uint32)),
        keys_of(batch),
        documents_of(batch),
        pl.Series("ordered", ordered),
        *_types(found, _NAMES),
        *_numbers(batch, found, _NUMBERS),
        *(dates[name].alias(f"{name}_date") for name in _MOMENTS),
        *(texts[name].alias(f"{name}_text") for name in _MOMENTS),
    )
    return frame, _attempts(batch, found["problems_attempted"])


def _attempts(batch: Batch, place: Places) -> pl.DataFrame:
    owners, items = array_items(batch, place)
    firsts = np.searchsorted(owners, owners)
    is_document = items.kinds == _DOCUMENT
    inner = batch.inside(items.values[is_document])
    found, ordered = locate_in_order(inner, _ATTEMPT_NAMES, ATTEMPT_FIELDS)
    attempts = frame_at(inner, found, (*_ATTEMPT_TEXTS, *_TOPICS)).drop("malformed")
    frame = attempts.with_columns(
        pl.Series("row", owners[is_document].astype(np.uint32)),
        pl.Series("attempt", (np.arange(len(owners)) - firsts)[is_document]),
        pl.Series("ordered", ordered),
        *_types(found, _ATTEMPT_NAMES),
        *_numbers(inner, found, _ATTEMPT_NUMBERS),
        *_flags(inner, found),
        pl.lit(True).alias("is_document"),
    )
    odd = pl.DataFrame(
        {"row": owners[~is_document].astype(np.uint32), "attempt": (np.arange(len(owners)) - firsts)[~is_document]}
    ).with_columns(is_document=pl.lit(False))
    return pl.concat([frame, odd], how="diagonal") if odd.height else frame


def made_between(begin: datetime, end: datetime) -> dict[str, object]:
    """What an `_id` must be to hold a time of a span, where it is an ObjectId."""
    edges = (max(0, int(moment.timestamp())).to_bytes(4) + bytes(8) for moment in (begin, end))
    return dict(zip(("$gte", "$lt"), map(ObjectId, edges), strict=True))


def problem_frames(source: MongoSource, contests: list[str]) -> pl.DataFrame:
    """The problems of some contests: `contest_id`, `problem_number`, `answer`, `difficulty`, `topics`."""
    frames = [pl.DataFrame(schema=_PROBLEMS), *source.frames(_PROBLEM_FIELDS, {"contest_id": {"$in": contests}})]
    return pl.concat([frame.select(_PROBLEMS.names()) for frame in frames])


_PROBLEMS = pl.Schema(
    {
        "contest_id": pl.String,
        "problem_number": pl.Float64,
        "answer": pl.String,
        "correct_answer": pl.String,
        "difficulty": pl.String,
        "topics": pl.List(pl.String),
    }
)


def users_of(source: MongoSource, usernames: list[str], ids: list[str]) -> pl.DataFrame:
    """The users of some names, and those of some ids: `username`, `user` (their `_id`, an ObjectId as 24 hex)."""
    frames = [pl.DataFrame(schema={"_id": pl.String, "username": pl.String})]
    keys = [*ids, *(ObjectId(one) for one in ids if len(one) == 24 and ObjectId.is_valid(one))]
    for query in ({"username": {"$in": usernames}}, {"_id": {"$in": keys}}):
        if next(iter(query.values()))["$in"]:
            frames += [found.select("_id", "username") for found in source.frames(_USER_FIELDS, query)]
    return pl.concat(frames).select("username", user="_id").unique()


def _types(found: dict[str, Places], names: Iterable[str]) -> list[pl.Series]:
    return [pl.Series(f"{name}_type", found[name].kinds) for name in names]


def _numbers(batch: Batch, found: dict[str, Places], names: Iterable[str]) -> list[pl.Series]:
    names = tuple(names)
    frame = frame_at(batch, found, tuple(Field(name, Kind.NUMBER) for name in names))
    written = [name for name in names if (found[name].kinds == _STRING).any()]
    texts = frame_at(batch, found, tuple(Field(name, Kind.TEXT) for name in written))
    for name in written:
        text = pl.when(texts[name].str.contains(_DECIMAL)).then(texts[name]).cast(pl.Float64, strict=False)
        frame = frame.with_columns(pl.coalesce(name, text).alias(name))
    return [frame[name] for name in names]


def _flags(batch: Batch, found: dict[str, Places]) -> list[pl.Series]:
    """Booleans; null for any other type."""
    columns = []
    for name in _FLAGS:
        place = found[name]
        frame = pl.DataFrame({"value": batch.u8[place.values] == 1, "is": place.kinds == 8})
        columns.append(frame.select(pl.when("is").then("value").alias(name)).to_series())
    return columns


def placed_frames(source: MongoSource) -> Iterator[pl.DataFrame]:
    """What tells where each document stands: `key`, `created_at_date`, `created_at_text`."""
    for data in source.batches({}, {"created_at": 1}):
        batch = Batch(data)
        found = locate(batch, ("created_at",))
        date, text = (frame_at(batch, found, (Field("created_at", kind),)) for kind in (Kind.DATE, Kind.TEXT))
        yield pl.DataFrame(
            [
                keys_of(batch),
                date["created_at"].rename("created_at_date"),
                text["created_at"].rename("created_at_text"),
            ]
        )
