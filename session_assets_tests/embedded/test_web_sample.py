"""The sample says of itself what is wrong with it: held against a recount of our own, and against what verify finds."""

from __future__ import annotations

import inspect
from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pymongo
import pytest
from bson import ObjectId
from pymongo.database import Database

from session_assets.embedded.web_sample import KINDS, Planted, plant, plant_seed_case, replant
from session_assets.selection import Selection
from session_assets.settings import Settings
from session_assets.storage import Storage
from session_assets.web.model import VARIABLE
from session_assets.web.pipeline import Web
from session_assets_tests.counts import FULL

Document = dict[str, Any]

NOW = datetime(2025, 6, 15, 10, 30, tzinfo=UTC)


@pytest.fixture
def database(mongo_uri: str) -> Iterator[Database[Document]]:
    with pymongo.MongoClient[Document](mongo_uri, tz_aware=True) as client:
        yield client.get_default_database()


def all_of(database: Database[Document], name: str) -> list[Document]:
    return list(database[name].find(sort=[("_id", 1)]))


def user_text(value: Any) -> str | None:
    return str(value).lower() if value else None


def moment(value: Any) -> datetime:
    if isinstance(value, datetime):
        return value
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=round(value * 1000))


def is_right(document: Document, events: list[Document]) -> bool:
    """A recount as plain as can be. BSON puts text before ObjectIds."""
    by_id = sorted(events, key=lambda event: (isinstance(event["_id"], ObjectId), event["_id"]))
    ordered = sorted(by_id, key=lambda event: moment(event["timestamp"]))
    pages = list(dict.fromkeys(event["page"] for event in ordered if event.get("page")))
    users = {user_text(event.get("user_id")) for event in events} - {None}
    clients = {event.get("client_id") for event in events} - {None, ""}
    return (
        document.get("event_count") == len(events)
        and document.get("pages", []) == pages
        and document.get("first_event_at") == moment(ordered[0]["timestamp"])
        and document.get("last_event_at") == moment(ordered[-1]["timestamp"])
        and (not users or users == {user_text(document.get("user_id"))})
        and (not clients or clients == {document.get("client_id")})
    )


def wrong_ids(database: Database[Document]) -> set[str]:
    """Ids of sessions of which some document is not what its events say, or that share their id."""
    events: defaultdict[str, list[Document]] = defaultdict(list)
    for event in database["events"].find({"session_id": {"$type": "string"}}):
        events[event["session_id"]].append(event)
    seen: set[str] = set()
    wrong: set[str] = set()
    for document in database["sessions"].find({"session_id": {"$type": "string"}}):
        session_id = document["session_id"]
        try:
            right = session_id in events and session_id not in seen and is_right(document, events[session_id])
        except (TypeError, AttributeError):
            right = False  # an event that no rule covers
        seen.add(session_id)
        if not right:
            wrong.add(session_id)
    return wrong


def verified(planted: Planted, uri: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, list[str]]:
    """What verify finds, by reason, in the order of `planted.ids`."""
    monkeypatch.setenv(VARIABLE, uri)
    storage = Storage(str(folder / "storage"), folder / "tmp")
    settings = Settings.from_env({"SESSION_ASSETS_HOME": str(folder)})
    web = Web.open(settings, storage, (datetime.now(UTC) - timedelta(days=40)).date())
    tally, lists = web.inspect(Selection(), "run")
    assert sum(tally.reads.values()) == planted.documents
    assert tally.total_classes()["not_applicable"] == planted.logins
    with storage.scratch() as scratch:
        lists |= web.loose_events(scratch, "run")[1]
    found = {reason: sorted(pl.read_parquet(f"{path}/*.parquet")["id"]) for reason, path in lists.items()}
    return {reason: found.pop(reason, []) for reason in planted.ids} | found


def test_same_arguments_give_the_same_documents(database: Database[Document], mongo_uri: str) -> None:
    first = plant(database, now=NOW, sessions=500)
    before = all_of(database, "sessions"), all_of(database, "events")
    assert replant(mongo_uri, now=NOW, sessions=500) == first, "and what was there is gone"
    assert (all_of(database, "sessions"), all_of(database, "events")) == before
    assert replant(mongo_uri, now=NOW, sessions=500, seed=7) != first


def test_figures_are_those_of_the_collections(database: Database[Document]) -> None:
    planted = plant(database, now=NOW, sessions=500)
    logins = {"session_id": {"$exists": False}, "expires_at": {"$exists": True}}
    assert database["sessions"].count_documents({}) == planted.documents
    assert database["sessions"].count_documents(logins) == planted.logins
    assert database["events"].count_documents({}) == planted.events
    assert set(planted.counts) == set(KINDS) and all(planted.counts.values())


def test_exactly_the_planted_sessions_are_wrong(database: Database[Document]) -> None:
    planted = plant(database, now=NOW, sessions=1000)
    in_sessions = [ids for reason, ids in planted.ids.items() if reason not in ("orphan_event", "null_session_id")]
    named = {one for ids in in_sessions for one in ids if not one.startswith("{")}
    assert wrong_ids(database) | set(planted.ids["malformed_session"]) >= named
    assert wrong_ids(database) <= named


def test_shapes_of_old_and_new_data_are_all_there(database: Database[Document]) -> None:
    plant(database, now=NOW, sessions=1000)
    events, sessions = database["events"], database["sessions"]
    for kind in ("date", "double", "int"):
        assert events.find_one({"timestamp": {"$type": kind}}), kind
    for collection in (events, sessions):
        for user in ({"$type": "objectId"}, {"$regex": "^[0-9a-f]{24}$"}, {"$type": "null"}, "", {"$exists": False}):
            assert collection.find_one({"session_id": {"$type": "string"}, "user_id": user}), user
    assert sessions.find_one({"session_id": {"$regex": "^[0-9a-f]{23}$"}})
    assert sessions.find_one({"pages": [], "event_count": {"$gt": 0}})
    assert sessions.find_one({"device": {"$exists": True}})
    content = [
        {"$unset": "_id"},
        {"$group": {"_id": "$$ROOT", "times": {"$sum": 1}}},
        {"$match": {"times": {"$gt": 1}}},
    ]
    assert list(events.aggregate(content)), "true repeats"


@pytest.mark.parametrize(("sessions", "seed"), [(100, 3), (2000, 1)])
def test_verify_finds_exactly_what_was_planted(
    mongo_uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sessions: int, seed: int
) -> None:
    planted = replant(mongo_uri, now=datetime.now(UTC), sessions=sessions, seed=seed)
    assert verified(planted, mongo_uri, tmp_path, monkeypatch) == planted.ids


def test_too_few_sessions_are_refused(database: Database[Document]) -> None:
    with pytest.raises(ValueError, match="at least 100"):
        plant(database, now=NOW, sessions=50)
    assert not database.list_collection_names()


@pytest.mark.parametrize("tenths", [10 if FULL else 1])
def test_seed_case_has_the_figures_of_the_seed(
    database: Database[Document], mongo_uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tenths: int
) -> None:
    figures = inspect.signature(plant_seed_case).parameters
    seed = {name: figures[name].default for name in ("sessions", "events", "empty", "orphans")}
    assert seed == {"sessions": 45_291, "events": 320_410, "empty": 12_847, "orphans": 302}
    wanted = {name: figure * tenths // 10 for name, figure in seed.items()}
    planted = plant_seed_case(database, now=datetime.now(UTC), **wanted)
    sessions, events = database["sessions"], database["events"]
    assert sessions.count_documents({"session_id": {"$exists": True}}) == wanted["sessions"]
    assert events.count_documents({}) == wanted["events"]
    assert sessions.count_documents({"pages": [], "event_count": 0}) == wanted["empty"]
    assert sessions.count_documents({"$or": [{"pages": []}, {"event_count": 0}]}) == wanted["empty"]
    for field, kind in (("timestamp", "date"), ("timestamp", "double"), ("user_id", "objectId"), ("user_id", "string")):
        assert events.count_documents({field: {"$type": kind}}) > wanted["events"] // 6
    found = verified(planted, mongo_uri, tmp_path, monkeypatch)
    assert found == planted.ids
    assert len(found["empty_pages"]) == wanted["empty"] - wanted["orphans"]
    assert len(found["orphan_session"]) == wanted["orphans"]


def test_scale_multiplies_the_seed_case(database: Database[Document]) -> None:
    planted = plant_seed_case(database, now=NOW, sessions=450, events=3200, empty=128, orphans=3, logins=9, scale=2)
    assert (planted.sessions, planted.events, planted.logins) == (900, 6400, 18)
    assert (planted.counts["empty_pages"], planted.counts["orphan_session"]) == (250, 6)
    assert database["events"].count_documents({}) == 6400
    assert wrong_ids(database) == {*planted.ids["empty_pages"], *planted.ids["orphan_session"]}
