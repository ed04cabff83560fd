"""Reading sessions with their events: whole, by partition, or one by one, every document once and with all its events."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import bson
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pymongo import MongoClient
from pymongo.database import Database

from session_assets import spill
from session_assets.selection import Selection
from session_assets.stores.bson_documents import key_of
from session_assets.stores.mongo import MongoSource
from session_assets.web import source as source_module
from session_assets.web.model import EVENT_COLUMNS, SESSION_COLUMNS
from session_assets.web.source import Bucket, WebSource
from session_assets_tests.counts import examples

FIRST, LAST = date(2025, 5, 1), date(2025, 5, 4)
DAYS = ["2025-05-01", "2025-05-02", "2025-05-03", "2025-05-04"]
DATES = [datetime(2025, 5, day, 12, tzinfo=UTC) for day in (2, 3)] + [
    datetime(2024, 1, 1, tzinfo=UTC),
    datetime(2031, 1, 1, tzinfo=UTC),
]
SESSION_IDS = ["s1", "s2", "s3", "é\n", ""]
ODD_IDS = [None, 5, ["s1"], ["s1", "s2"], [], {"s": 1}, bson.Regex("s1")]
MISSING = object()


def identities(number: int) -> list[Any]:
    """`_id`s of every kind, each its own."""
    time = bson.ObjectId.from_datetime(datetime(2025, 5, 3, tzinfo=UTC))
    return [bson.ObjectId(time.binary[:4] + number.to_bytes(8)), f'id "{number}" é', number, {"n": number}]


@st.composite
def collections(draw: st.DrawFn) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Documents of the two collections."""
    sessions, events = [], []
    for number in range(draw(st.integers(0, 9))):
        fields = {
            "session_id": draw(st.one_of(st.sampled_from(SESSION_IDS), st.sampled_from([*ODD_IDS, MISSING]))),
            "first_event_at": draw(st.sampled_from([MISSING, None, "soon", *DATES])),
            "created_at": draw(st.sampled_from([MISSING, *DATES])),
            "expires_at": draw(st.sampled_from([MISSING, MISSING, *DATES[:1]])),
            "session_idle": draw(st.sampled_from([MISSING, "s1"])),
        }
        present = {name: value for name, value in fields.items() if value is not MISSING}
        sessions.append({"_id": draw(st.sampled_from(identities(number))), **present})
    for number in range(draw(st.integers(0, 12))):
        session_id = draw(st.one_of(st.sampled_from([*SESSION_IDS, "orphan"]), st.sampled_from([*ODD_IDS, MISSING])))
        when = draw(st.sampled_from([*DATES, 1746187200, 1746187200.25, "never"]))
        event = {"_id": number, "timestamp": when, "page": "/a", "user_id": None, "client_id": "c"}
        events.append(event if session_id is MISSING else event | {"session_id": session_id})
    return sessions, events


@dataclass
class Reader:
    """The source over real collections, in small buckets."""

    database: Database[Any]
    folder: Path
    scans: int = 0

    @property
    def source(self) -> WebSource:
        sessions, events = (MongoSource(self.database[name], "WEB_MONGO_URI") for name in ("sessions", "events"))
        return WebSource(sessions, events, FIRST, LAST)

    def fill(self, sessions: list[dict[str, Any]], events: list[dict[str, Any]], *, indexed: bool) -> None:
        for name, documents in (("sessions", sessions), ("events", events)):
            self.database[name].drop()
            if indexed:
                self.database[name].create_index("session_id")
            if documents:
                self.database[name].insert_many(documents)

    def scan(self, selection: Selection) -> list[Bucket]:
        self.scans += 1
        scratch = self.folder / str(self.scans)
        scratch.mkdir()
        return list(self.source.scan(selection, scratch))


@pytest.fixture
def reader(mongo_uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Reader]:
    monkeypatch.setattr(source_module, "_BUCKET_ROWS", 3)
    monkeypatch.setattr(spill, "_FLUSH_BYTES", 64)
    with MongoClient[dict[str, Any]](mongo_uri) as client:
        yield Reader(client.get_default_database(), tmp_path)


@examples(30)
@given(drawn=collections(), indexed=st.booleans())
def test_every_way_of_reading_gives_the_same_documents_and_events(
    reader: Reader, drawn: tuple[list[dict[str, Any]], list[dict[str, Any]]], indexed: bool
) -> None:
    sessions, events = drawn
    reader.fill(sessions, events, indexed=indexed)
    expected = _expected(sessions)
    buckets = reader.scan(Selection())
    assert _documents(buckets) == expected
    assert _others(buckets) == _expected_others(sessions)
    assert _events(buckets) == _expected_events(events, None)
    _assert_events_lie_with_their_documents(buckets, events)

    total = []
    for day in DAYS:
        part = reader.scan(Selection(frozenset([day])))
        mine = {key: place for key, place in expected.items() if place[0] == day}
        assert _documents(part) == mine
        assert _others(part) == {key: place for key, place in _expected_others(sessions).items() if place[0] == day}
        reached = _reached(sessions, day)
        assert _events(part) == _expected_events(events, reached)
        _assert_events_lie_with_their_documents(part, events)
        total += [*_documents(part), *_others(part)]
    assert Counter(total) == Counter(key_of(bson.encode(document)) for document in sessions)

    several = reader.scan(Selection(frozenset(DAYS[1:3])))
    assert _documents(several) == {key: place for key, place in expected.items() if place[0] in DAYS[1:3]}
    for wanted in (("s1",), ("s2", "nowhere"), ("",), ("é\n", "s3", "s3")):
        single = reader.scan(Selection(sessions=wanted))
        assert _documents(single) == {key: place for key, place in expected.items() if place[1] in wanted}
        assert _others(single) == {}
        assert _events(single) == _expected_events(events, set(wanted))


@examples(15)
@given(drawn=collections())
def test_standing_counts_every_document_where_it_stands_itself(
    reader: Reader, drawn: tuple[list[dict[str, Any]], list[dict[str, Any]]]
) -> None:
    sessions, _ = drawn
    reader.fill(sessions, [], indexed=False)
    standing = dict(reader.source.standing().iter_rows())
    assert standing == Counter(_own_day(document) for document in sessions)


def test_duplicates_stand_where_the_earliest_stands(reader: Reader) -> None:
    early, late = {"session_id": "s1", "created_at": DATES[0]}, {"session_id": "s1", "created_at": DATES[1]}
    reader.fill([{"_id": 1, **late}, {"_id": 2, **early}], [], indexed=True)
    assert set(_documents(reader.scan(Selection(frozenset([DAYS[1]]))))) == {'{"$numberInt":"1"}', '{"$numberInt":"2"}'}
    assert _documents(reader.scan(Selection(frozenset([DAYS[2]])))) == {}


def test_logins_are_told_from_documents_that_nobody_can_place(reader: Reader) -> None:
    login = {"_id": "login", "token": "t", "user_id": "u", "created_at": DATES[0], "expires_at": DATES[1]}
    documents = [login, {"_id": "stray"}, {**login, "_id": "null", "session_id": None}, {"_id": 7, "session_id": 7}]
    reader.fill(documents, [], indexed=False)
    others = {key: login for key, (_, login) in _others(reader.scan(Selection())).items()}
    assert others == {'"login"': True, '"stray"': False, '"null"': False, '{"$numberInt":"7"}': False}


def test_documents_come_as_they_are_stored(reader: Reader) -> None:
    document = {"_id": 1, "session_id": "s1", "x": bson.Int64(5), "pages": [], "user_id": bson.ObjectId()}
    reader.fill([document], [], indexed=False)
    (row,) = reader.scan(Selection())[0].sessions.iter_rows(named=True)
    assert row["document"] == bson.encode(document)
    assert (row["user_id"], row["user_id_kind"]) == (str(document["user_id"]), "objectid")


@pytest.mark.parametrize(
    ("field", "value", "malformed"),
    [
        ("event_count", "12", True),
        ("event_count", bson.Decimal128("12"), True),
        ("event_count", True, True),
        ("event_count", bson.Int64(12), False),
        ("event_count", None, False),
        ("pages", "/home", True),
        ("pages", {"0": "/home"}, True),
        ("pages", [{"page": "/home"}], True),
        ("pages", ["/home", 5], True),
        ("pages", ["/home", None], False),
        ("pages", None, False),
    ],
)
def test_a_count_or_pages_that_no_rule_covers_are_not_taken_for_none(
    reader: Reader, field: str, value: object, malformed: bool
) -> None:
    reader.fill([{"_id": 1, "session_id": "s1", field: value}], [], indexed=False)
    assert reader.scan(Selection())[0].sessions["malformed"].to_list() == [malformed]


def test_empty_collections_give_empty_frames(reader: Reader) -> None:
    (bucket,) = reader.scan(Selection())
    assert bucket.sessions.schema == SESSION_COLUMNS
    assert bucket.events.schema == EVENT_COLUMNS
    assert bucket.others.is_empty()
    assert reader.source.standing().is_empty()
    assert reader.scan(Selection(frozenset(DAYS)))[0].sessions.is_empty()


def _own_day(document: dict[str, Any]) -> str:
    made = document["_id"].generation_time if isinstance(document["_id"], bson.ObjectId) else None
    candidates = [document.get("first_event_at"), document.get("created_at"), made]
    day = next((one.date() for one in candidates if isinstance(one, datetime)), FIRST)
    return min(max(day, FIRST), LAST).isoformat()


def _expected(sessions: list[dict[str, Any]]) -> dict[str, tuple[str, str]]:
    """key → partition, session_id."""
    groups: dict[str, str] = {}
    owned = [document for document in sessions if _has_id(document)]
    for document in owned:
        day = _own_day(document)
        groups[document["session_id"]] = min(day, groups.get(document["session_id"], day))
    return {key_of(bson.encode(one)): (groups[one["session_id"]], one["session_id"]) for one in owned}


def _expected_others(sessions: list[dict[str, Any]]) -> dict[str, tuple[str, bool]]:
    return {
        key_of(bson.encode(one)): (_own_day(one), "session_id" not in one and "expires_at" in one)
        for one in sessions
        if not _has_id(one)
    }


def _expected_events(events: list[dict[str, Any]], session_ids: set[str] | None) -> Counter[str]:
    owned = [one["session_id"] for one in events if _has_id(one)]
    return Counter(one for one in owned if session_ids is None or one in session_ids)


def _reached(sessions: list[dict[str, Any]], day: str) -> set[str]:
    """Sessions of which some document stands in the partition."""
    return {one["session_id"] for one in sessions if _has_id(one) and _own_day(one) == day}


def _has_id(document: dict[str, Any]) -> bool:
    """An empty text is no id."""
    return isinstance(document.get("session_id"), str) and document["session_id"] != ""


def _documents(buckets: list[Bucket]) -> dict[str, tuple[str, str]]:
    rows = [row for bucket in buckets for row in bucket.sessions.select("key", "partition", "session_id").iter_rows()]
    assert len({row[0] for row in rows}) == len(rows)
    return {key: (partition, session_id) for key, partition, session_id in rows}


def _others(buckets: list[Bucket]) -> dict[str, tuple[str, bool]]:
    rows = [row for bucket in buckets for row in bucket.others.select("key", "partition", "login").iter_rows()]
    assert len({row[0] for row in rows}) == len(rows)
    return {key: (partition, login) for key, partition, login in rows}


def _events(buckets: list[Bucket]) -> Counter[str]:
    return Counter(pl.concat([bucket.events for bucket in buckets])["session_id"].to_list())


def _assert_events_lie_with_their_documents(buckets: list[Bucket], events: list[dict[str, Any]]) -> None:
    for bucket in buckets:
        mine = set(bucket.sessions["session_id"])
        found = Counter(bucket.events.filter(pl.col("session_id").is_in(list(mine)))["session_id"].to_list())
        assert found == _expected_events(events, mine)
