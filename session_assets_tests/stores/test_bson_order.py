"""Keys of `_id`s sort as a real server sorts them."""

from __future__ import annotations

import random
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import bson
import polars as pl
from bson.binary import Binary, UuidRepresentation
from pymongo.collection import Collection

from session_assets.stores.bson_frames import Field, Kind, read_frame

IDS: list[Any] = [
    *(0, 1, -1, 7, 10, 9, 2**31, 2**53, 2**62, -(2**62), 3.0, -8.0, bson.Int64(11)),
    *("", "a", "B", "b", "é", "10", "9", "a\0b", "f" * 24),
    *(bson.ObjectId(f"{number:024x}") for number in (1, 2, 255, 2**90)),
    *(Binary.from_uuid(UUID(int=number), UuidRepresentation.STANDARD) for number in (1, 2**127, 5)),
    *(Binary(b"zz", 0), Binary(b"a", 128), Binary(b"", 0)),
    *(False, True, None),
    *(datetime(1950, 1, 1, tzinfo=UTC), datetime(2025, 1, 1, tzinfo=UTC)),
]
WITHOUT_ORDER: list[Any] = [
    {"n": 1},
    2.5,
    bson.Decimal128("4"),
    bson.Timestamp(1, 1),
    bson.MinKey(),
    1e300,
    float("nan"),
]


def test_keys_sort_as_the_server_sorts(collection: Collection[Any]) -> None:
    shuffled = random.Random(1).sample(IDS, len(IDS))
    collection.insert_many([{"_id": one} for one in shuffled])
    sorted_there = list(collection.find_raw_batches({}, sort=[("_id", 1)]))
    frame = read_frame(b"".join(sorted_there), (Field("_id", Kind.KEY),)).with_row_index("place")
    assert frame.height == len(IDS)
    assert "other" not in frame["_id_kind"]
    ordered = frame.sample(fraction=1, shuffle=True, seed=1).sort(pl.col("_id_kind").to_physical(), "_id")
    assert ordered["place"].to_list() == list(range(len(IDS)))


def test_what_has_no_order_here_says_so() -> None:
    documents = b"".join(bson.encode({"_id": one}) for one in WITHOUT_ORDER)
    frame = read_frame(documents, (Field("_id", Kind.KEY),))
    assert frame["_id_kind"].to_list() == ["other"] * len(WITHOUT_ORDER)
