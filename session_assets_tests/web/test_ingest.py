"""Ingest of events: one document a session, its fields always those of its events, nothing twice."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from threading import Barrier
from typing import Any

import pytest
from bson import ObjectId
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pymongo.client_session import ClientSession
from pymongo.database import Database
from pymongo.errors import AutoReconnect

from session_assets.errors import BadInput, NotConfigured, SessionAssetsError, StoreUnavailable, UsageError
from session_assets.stores.mongo_indexes import (
    create_event_indexes,
    create_event_indexes_if_empty,
    create_unique_session_index,
)
from session_assets.stores.mongo_ingest import EventIngest, IngestResult
from session_assets.web.ingest import ingest_event, ingest_events
from session_assets_tests.web.ingested import START, assert_sessions_right, connect, event, stored

HEX = "65f0a1b2c3d4e5f6a7b8c9d0"
USER = "5f0000000000000000000001"


@pytest.fixture
def database(mongo_uri: str) -> Database[dict[str, Any]]:
    return connect(mongo_uri)


def test_first_event_makes_the_session_with_its_fields_in_order(database: Database) -> None:
    assert ingest_event(event(HEX, 1, "/a?q=1", user_id=USER, client_id="c"), database) == IngestResult(1, 0, 1, 0)
    document = database["sessions"].find_one()
    assert document is not None
    assert list(document) == [
        "_id", "session_id", "user_id", "client_id", "event_count", "first_event_at", "last_event_at", "pages",
        "created_at", "updated_at",
    ]  # fmt: skip
    assert document["_id"] == ObjectId(HEX)
    assert document["user_id"] == ObjectId(USER)
    assert document["pages"] == ["/a?q=1"]
    assert_sessions_right(database)


def test_later_events_are_added(database: Database) -> None:
    for second, page in ((1, "/a"), (2, "/b"), (3, "/a"), (4, None)):
        ingest_event(event("s", second, page), database)
    assert stored(database)["s"]["pages"] == ["/a", "/b"]
    assert_sessions_right(database)


def test_late_event_is_put_in_its_place(database: Database) -> None:
    ingest_events([event("s", 10, "/b"), event("s", 20, "/c")], database)
    ingest_event(event("s", 5, "/a"), database)
    ingest_event(event("s", 15, "/d"), database)
    assert stored(database)["s"]["pages"] == ["/a", "/b", "/d", "/c"]
    assert_sessions_right(database)


def test_epoch_seconds_are_stored_as_they_came(database: Database) -> None:
    ingest_events(
        [event("s", 0) | {"timestamp": 1740787200.0014999}, event("s", 0) | {"timestamp": 1740787201}], database
    )
    assert {type(one["timestamp"]) for one in database["events"].find()} == {float, int}
    assert stored(database)["s"]["first_event_at"] == datetime(2025, 3, 1, 0, 0, 0, 1000, UTC)
    assert_sessions_right(database)


def test_event_without_a_session_makes_none(database: Database) -> None:
    assert ingest_event(event(None, 1), database) == IngestResult(1, 0, 0, 0)
    assert database["sessions"].count_documents({}) == 0


def test_repeated_call_adds_nothing(database: Database) -> None:
    events = [event(f"s{number % 7}", number) for number in range(50)]
    assert ingest_events(events, database).inserted == 50
    before = stored(database)
    assert ingest_events(events, database) == IngestResult(0, 50, 0, 0)
    assert ingest_events([*events, event("s0", 99)], database) == IngestResult(1, 50, 0, 1)
    assert {**stored(database), "s0": before["s0"]} == before
    assert_sessions_right(database)


def test_same_event_twice_in_a_call_is_stored_once(database: Database) -> None:
    one = event("s", 1, _id="e" * 32)
    assert ingest_events([one, dict(one)], database) == IngestResult(1, 1, 1, 0)
    assert_sessions_right(database)


def test_events_that_had_no_session_are_counted_when_it_is_made(database: Database) -> None:
    database["events"].insert_many([event("s", 3, "/old"), event("s", 1, "/older")])
    ingest_event(event("s", 2, "/new"), database)
    assert stored(database)["s"]["pages"] == ["/older", "/new", "/old"]
    assert_sessions_right(database)


def test_second_user_leaves_the_first(database: Database) -> None:
    ingest_event(event("s", 1, user_id="u1"), database)
    ingest_event(event("s", 2, user_id="u2"), database)
    ingest_event(event("s", 3, user_id="u2"), database)
    assert stored(database)["s"]["user_id"] == "u1"


def test_log_in_sets_the_user_and_keeps_the_type_of_the_document(database: Database) -> None:
    ingest_event(event("s", 1, user_id=""), database)
    assert stored(database)["s"]["user_id"] is None
    ingest_event(event("s", 2, user_id=USER.upper()), database)
    assert stored(database)["s"]["user_id"] == ObjectId(USER)
    ingest_event(event("s", 3, user_id=ObjectId(USER)), database)
    assert_sessions_right(database)


def test_session_of_archived_events_does_not_shrink(database: Database) -> None:
    moments = {"first_event_at": START, "last_event_at": START + timedelta(seconds=100)}
    database["sessions"].insert_one({"session_id": "s", "event_count": 50, "pages": ["/gone"], **moments})
    ingest_event(event("s", 50, "/new"), database)
    document = stored(database)["s"]
    assert (document["event_count"], document["pages"]) == (51, ["/gone", "/new"])
    assert document["last_event_at"] == moments["last_event_at"]


def test_empty_session_is_recounted(database: Database) -> None:
    database["events"].insert_many([event("s", 1, "/a"), event("s", 2, "/b")])
    database["sessions"].insert_one({"session_id": "s", "user_id": None, "event_count": 0, "pages": []})
    ingest_event(event("s", 3, "/c", user_id="u"), database)
    assert stored(database)["s"] | {"_id": 0, "updated_at": 0} == {
        "_id": 0, "session_id": "s", "user_id": "u", "event_count": 3, "pages": ["/a", "/b", "/c"],
        "first_event_at": START + timedelta(seconds=1), "last_event_at": START + timedelta(seconds=3), "updated_at": 0,
    }  # fmt: skip


@pytest.mark.parametrize("odd", [{"event_count": "70"}, {"pages": "/kept"}, {"pages": [{"path": "/kept"}]}])
def test_a_count_or_pages_of_a_type_that_no_rule_covers_are_kept(database: Database, odd: dict[str, Any]) -> None:
    document = {"session_id": "s", "user_id": None, "event_count": 1, "pages": ["/a"], **odd}
    database["sessions"].insert_one(document)
    ingest_event(event("s", 1, "/a"), database)
    now = stored(database)["s"]
    for name, value in odd.items():
        kept = now[name][: len(value)] if isinstance(value, list) else now[name]
        assert kept == value


def test_of_duplicates_the_earliest_is_updated(database: Database) -> None:
    ids = [ObjectId(f"{number:024x}") for number in (2, 1, 3)]
    database["sessions"].insert_many([{"_id": one, "session_id": "s", "event_count": 0, "pages": []} for one in ids])
    ingest_event(event("s", 1), database)
    assert [one["event_count"] for one in database["sessions"].find().sort("_id")] == [1, 0, 0]


def test_log_in_session_is_never_taken_for_a_session(database: Database) -> None:
    login = {"_id": ObjectId(HEX), "user_id": ObjectId(USER), "token": "t", "expires_at": START}
    database["sessions"].insert_one(login)
    ingest_event(event(HEX, 1), database)
    ingest_event(event(HEX, 2), database)
    assert database["sessions"].find_one({"_id": ObjectId(HEX)}) == login
    assert stored(database)[HEX]["event_count"] == 2


def nested(depth: int) -> dict[str, Any]:
    """A document in a document, and so on."""
    whole: dict[str, Any] = {}
    for _ in range(depth):
        whole = {"a": whole}
    return whole


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"session_id": ""}, "session_id"),
        ({"session_id": 5}, "session_id"),
        ({"timestamp": datetime(2025, 1, 1)}, "timestamp"),
        ({"timestamp": float("nan")}, "timestamp"),
        ({"timestamp": 1740787200000}, "timestamp"),
        ({"timestamp": True}, "timestamp"),
        ({"page": 1}, "page"),
        ({"user_id": 1}, "user_id"),
        ({"event_type": ""}, "event_type"),
        ({"properties": []}, "properties"),
        ({"sessionId": "s"}, "sessionId"),
        ({"properties": {"n": 2**63}}, "cannot be stored"),
        ({"page": "\ud800"}, "cannot be stored"),
        ({"properties": nested(5000)}, "cannot be stored"),
    ],
)
def test_wrong_event_is_refused_before_anything_is_written(database: Database, change: dict, named: str) -> None:
    with pytest.raises(BadInput, match=rf"event 2.*{named}"):
        ingest_events([event("s", 1), event("s", 2) | change], database)
    assert database.list_collection_names() == []


def test_database_is_that_of_the_variable(database: Database, mongo_uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WEB_MONGO_URI", raising=False)
    with pytest.raises(NotConfigured, match="WEB_MONGO_URI"):
        ingest_event(event("s", 1))
    monkeypatch.setenv("WEB_MONGO_URI", mongo_uri)
    ingest_event(event("s", 1))
    assert_sessions_right(database)


def test_server_that_is_down_is_named() -> None:
    with pytest.raises(StoreUnavailable, match="WEB_MONGO_URI") as failure:
        ingest_event(event("s", 1), connect("mongodb://u:secret@127.0.0.1:1/web?serverSelectionTimeoutMS=200"))
    assert "secret" not in str(failure.value)


@pytest.mark.parametrize("label", ["UnknownTransactionCommitResult", "TransientTransactionError", None])
def test_connection_lost_at_commit_adds_nothing_twice(
    database: Database, monkeypatch: pytest.MonkeyPatch, label: str | None
) -> None:
    commit, losses = ClientSession.commit_transaction, [1, 2]

    def committed_then_lost(session: ClientSession) -> None:
        commit(session)
        if losses:
            losses.pop()
            raise AutoReconnect("lost", {"errorLabels": [label]} if label else None)

    monkeypatch.setattr(ClientSession, "commit_transaction", committed_then_lost)
    ingest_events([event("s", 1, "/a"), event("s", 2, "/b")], database)
    assert not losses
    assert stored(database)["s"]["event_count"] == 2
    assert_sessions_right(database)


def test_foreign_unique_index_is_named(database: Database) -> None:
    database["sessions"].create_index("token", unique=True)
    ingest_event(event("s", 1), database)
    with pytest.raises(SessionAssetsError, match="token"):
        ingest_event(event("t", 1), database)
    assert database["events"].count_documents({}) == 1


def test_concurrent_writers_make_one_document_each(mongo_uri: str) -> None:
    ids = [f"{number:024x}" if number < 100 else f"session {number}" for number in range(200)]
    together = Barrier(8)

    def work(worker: int) -> None:
        database = connect(mongo_uri)
        store = EventIngest(database)
        for start in range(0, 200, 10):
            together.wait(60)
            store.ingest([event(one, worker, f"/{worker}") for one in ids[start : start + 10]])
        database.client.close()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    database = connect(mongo_uri)
    assert database["events"].count_documents({}) == 1600
    assert {one["event_count"] for one in stored(database).values()} == {8}
    assert len(stored(database)) == 200
    assert_sessions_right(database)


_MOMENTS = st.integers(0, 6)
_EVENTS = st.lists(
    st.builds(
        event,
        st.sampled_from(["a", "b", HEX, None]),
        _MOMENTS,
        st.sampled_from([None, "", "/1", "/2", "/3"]),
        user_id=st.sampled_from([None, "", USER, ObjectId(USER), "x"]),
        client_id=st.sampled_from([None, "c"]),
    ),
    max_size=12,
)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(calls=st.lists(_EVENTS, min_size=1, max_size=4))
def test_sessions_equal_their_facts_in_any_order(database: Database, calls: list[list[dict[str, Any]]]) -> None:
    for name in ("events", "sessions"):
        database[name].delete_many({})
    for events in calls:
        ingest_events([dict(one) for one in events], database)
    assert_sessions_right(database)


def test_unique_index_is_refused_while_there_are_duplicates(database: Database) -> None:
    database["sessions"].insert_many([{"session_id": f"s{number % 25:02}"} for number in range(50)])
    with pytest.raises(UsageError, match=r"25 session ids.*s00, .*s19, ….*apply web/duplicates"):
        create_unique_session_index(database)


def test_both_session_indexes_live_together_and_the_unique_one_serves_look_ups(database: Database) -> None:
    assert create_event_indexes_if_empty(database)
    database["sessions"].insert_many([{"user_id": 1}, {"user_id": 2}])  # without session_id
    assert not create_event_indexes_if_empty(database)
    [name] = create_unique_session_index(database)
    assert create_unique_session_index(database) == [name]
    assert len(create_event_indexes(database)) == 2
    ingest_events([event("s", 1), event("t", 1)], database)
    ingest_event(event("s", 2), database)
    assert_sessions_right(database)
    database["sessions"].drop_index("session_id_1")
    plan = database["sessions"].find({"session_id": {"$in": ["s", "t"], "$type": "string"}}).explain()
    assert name in str(plan["queryPlanner"]["winningPlan"])
