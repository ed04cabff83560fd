"""An ObjectId and its 24 hex digits name one session, wherever a session is looked up, counted, deleted or made."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import bson
import polars as pl
import pytest
from bson import ObjectId
from pymongo import MongoClient
from pymongo.database import Database

from session_assets.errors import UsageError
from session_assets.selection import Selection
from session_assets.stores.mongo import MongoSource
from session_assets.stores.mongo_changes import MongoStore
from session_assets.stores.mongo_indexes import create_event_indexes, create_unique_session_index
from session_assets.stores.mongo_recounts import stays_if_found, stays_if_last
from session_assets.stores.mongo_types import TypeFound
from session_assets.web.ingest import ingest_event, ingest_events
from session_assets.web.source import WebSource
from session_assets_tests.web.ingested import START, event

HEX, OTHER = "65f0a1b2c3d4e5f6a7b8c9d0", "65f0a1b2c3d4e5f6a7b8c9d1"
TEXTS: dict[str, Any] = {"partialFilterExpression": {"session_id": {"$type": "string"}}}


@pytest.fixture
def database(mongo_uri: str) -> Iterator[Database[dict[str, Any]]]:
    with MongoClient[dict[str, Any]](mongo_uri, tz_aware=True) as client:
        yield client.get_default_database()


def source_of(database: Database[Any]) -> WebSource:
    sessions, events = (MongoSource(database[name], "WEB_MONGO_URI") for name in ("sessions", "events"))
    return WebSource(sessions, events, date(2025, 1, 1), date(2025, 12, 31))


@pytest.mark.parametrize("options", [None, {}, TEXTS])
@pytest.mark.parametrize(
    ("mine", "theirs"), [(ObjectId(HEX), HEX), (HEX, ObjectId(HEX)), (ObjectId(HEX), ObjectId(HEX))]
)
def test_a_session_is_found_with_its_events_whatever_the_types(
    database: Database, tmp_path: Path, mine: Any, theirs: Any, options: dict[str, Any] | None
) -> None:
    for name in ("sessions", "events"):
        if options is not None:
            database[name].create_index("session_id", **options)
    database["sessions"].insert_many([{"session_id": mine}, {"session_id": OTHER}, {"session_id": HEX.upper()}])
    database["events"].insert_many(
        [{"session_id": theirs, "timestamp": START}, {"session_id": HEX, "timestamp": START}]
    )
    source = source_of(database)
    assert source.unknown([HEX, "x", OTHER]) == ["x"]
    (bucket,) = source.scan(Selection(sessions=(HEX,)), tmp_path)
    assert (bucket.sessions["session_id"].to_list(), bucket.events["session_id"].to_list()) == ([HEX], [HEX, HEX])
    for name in ("whole", "loose"):
        (tmp_path / name).mkdir()
    (whole,) = source.scan(Selection(), tmp_path / "whole")
    assert sorted(whole.sessions["session_id"]) == sorted([HEX, OTHER, HEX.upper()])
    loose = pl.concat([frame.select("session_id", "loose") for frame, _ in source.loose_events(tmp_path / "loose")])
    assert loose.rows() == [(HEX, False), (HEX, False)]


def test_a_session_with_events_under_the_other_type_is_no_orphan(database: Database) -> None:
    database["events"].insert_one({"session_id": HEX})
    recount = stays_if_found(database["events"], "session_id", "has events")
    documents = [bson.encode({"session_id": one}) for one in (ObjectId(HEX), HEX, ObjectId(OTHER), OTHER)]
    with database.client.start_session() as session:
        assert recount(session, documents) == {0: "has events", 1: "has events"}


def test_the_last_document_of_either_type_stays(database: Database) -> None:
    database["sessions"].insert_many(
        [{"session_id": ObjectId(HEX)}, {"session_id": HEX}, {"session_id": ObjectId(OTHER)}]
    )
    recount = stays_if_last(database["sessions"], "session_id", "the last")
    with database.client.start_session() as session:
        assert recount(session, [bson.encode({"session_id": one}) for one in (HEX, ObjectId(OTHER))]) == {1: "the last"}


def test_an_undo_puts_nothing_back_where_the_other_type_took_the_place(database: Database) -> None:
    database["sessions"].insert_one({"_id": 1, "session_id": HEX})
    store = MongoStore(database["sessions"], "WEB_MONGO_URI", place=("session_id",))
    gone = bson.encode({"_id": 2, "session_id": ObjectId(HEX)})
    rows = pl.DataFrame(
        {
            "key": ['{"$numberInt":"2"}'],
            "op": ["insert"],
            "before": [None],
            "after": [gone],
            "removed": [[]],
            "beside": [[]],
        },
        schema_overrides={"before": pl.Binary, "removed": pl.List(pl.String), "beside": pl.List(pl.String)},
    )
    assert "took its place" in store.write(rows).errors[0]
    assert database["sessions"].count_documents({}) == 1


def test_the_unique_indexes_keep_both_types_apart_from_their_twins(database: Database) -> None:
    database["sessions"].insert_many([{"session_id": ObjectId(HEX)}, {"session_id": HEX}])
    with pytest.raises(UsageError, match=f"1 session ids have several documents.*{HEX}"):
        create_unique_session_index(database)
    database["sessions"].delete_one({"session_id": HEX})
    names = create_unique_session_index(database)
    assert len(names) == 2 and create_unique_session_index(database) == names
    queries = list(MongoSource(database["sessions"], "X").by_values("session_id", pl.Series([HEX, "a"])))
    assert [next(iter(one.values()))["$type"] for one in queries] == ["string", "objectId"]
    plan = database["sessions"].find(queries[1]).explain()
    assert names[1] in str(plan["queryPlanner"]["winningPlan"])


def test_ingest_finds_a_session_of_either_type_and_makes_it_as_the_events_have_it(database: Database) -> None:
    create_event_indexes(database)
    made = ingest_event(event(ObjectId(HEX), 1, "/a"), database)  # type: ignore[arg-type]
    assert (made.sessions_created, made.sessions_updated) == (1, 0)
    more = ingest_events([event(HEX, 2, "/b"), event(OTHER, 0, "/a")], database)
    assert (more.sessions_created, more.sessions_updated) == (1, 1)
    ingest_event(event(ObjectId(HEX), 0, "/first"), database)  # type: ignore[arg-type]  # a late one: all are counted again
    found = {str(one["session_id"]): one for one in database["sessions"].find()}
    assert found.keys() == {HEX, OTHER}
    assert found[HEX]["session_id"] == ObjectId(HEX) and found[OTHER]["session_id"] == OTHER
    assert (found[HEX]["event_count"], found[HEX]["pages"]) == (3, ["/first", "/a", "/b"])


def test_ingest_keeps_times_that_a_session_has_as_text(database: Database) -> None:
    database["sessions"].insert_one(
        {
            "session_id": "s", "event_count": 1, "pages": ["/"], "user_id": None, "client_id": None,
            "first_event_at": "2025-03-01T02:00:01+02:00", "last_event_at": "2025-03-01T00:00:01Z",
        }
    )  # fmt: skip
    database["events"].insert_one(event("s", 1))
    ingest_event(event("s", 5), database)
    ingest_event(event("s", 0), database)
    (found,) = database["sessions"].find()
    assert (found["first_event_at"], found["last_event_at"]) == ("2025-03-01T02:00:00+02:00", "2025-03-01T00:00:05Z")
    assert found["event_count"] == 3


def test_types_are_counted_with_an_example_each(database: Database) -> None:
    ids = [ObjectId(f"65{number:022x}") for number in range(4)]
    times: list[Any] = [START, "2025-03-01T00:00:00Z", "2025-03-01 00:00", 1_748_772_000_000]
    database["events"].insert_many([{"_id": _id, "timestamp": time} for _id, time in zip(ids, times, strict=True)])
    database["sessions"].insert_many([{"_id": "a", "pages": ["/a", 5]}, {"_id": "b", "pages": ["/a"]}])
    found = source_of(database).types_found()
    assert found["events.timestamp"] == {
        "date": TypeFound(1, str(ids[0]), True),
        "long that is no time in s": TypeFound(1, str(ids[3]), False),
        "string with an offset": TypeFound(1, str(ids[1]), True),
        "string without an offset": TypeFound(1, str(ids[2]), False),
    }
    assert found["sessions.pages"] == {
        "array": TypeFound(1, "b", True), "array with items that are no text": TypeFound(1, "a", False)
    }  # fmt: skip
    missing = found["events.session_id"]["missing"]
    assert (missing.documents, missing.understood, missing.example in map(str, ids)) == (4, True, True)
