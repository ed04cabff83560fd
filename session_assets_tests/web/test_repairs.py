"""What becomes of duplicates and orphans, on documents that a reader of the rules would not think of."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import bson
import polars as pl
import pytest

from session_assets.stores.bson_documents import from_elements, named_elements
from session_assets.web.facts import classify, session_facts
from session_assets.web.repairs import fold_rows, kept_orphans, orphan_rows
from session_assets_tests.web.scenario import MOMENTS, NOW, SETTLE_MINUTES, events_frame, sessions_frame

EVENT = {
    "session_id": "s", "_id": b"a", "_id_kind": "string", "timestamp": MOMENTS[0], "page": "/a", "user_id": "bob",
    "user_id_kind": "string", "client_id": "c", "malformed": False,
}  # fmt: skip


def stored(number: int, document: bytes, **fields: Any) -> dict[str, Any]:
    """A document as it is read."""
    read = {
        "session_id": "s", "user_id": None, "user_id_kind": "null", "client_id": None, "event_count": None,
        "first_event_at": None, "last_event_at": None, "pages": None, "created_at": None, "malformed": False,
        "key": f'{{"$numberInt":"{number}"}}', "document": document, "partition": "2025-06-01",
    }  # fmt: skip
    return read | fields


def classified(documents: list[dict[str, Any]], events: list[dict[str, Any]]) -> pl.DataFrame:
    facts = session_facts(events_frame(events))
    return classify(sessions_frame(documents), facts, now=NOW, settle_minutes=SETTLE_MINUTES, allow_shrink=False)


def folded(survivor: bytes, other: bytes, **fields: Any) -> tuple[bytes, list[str]]:
    """What the survivor becomes, and why the other goes."""
    documents = [stored(1, survivor, event_count=1.0, pages=["/a"], **fields), stored(2, other)]
    rows = fold_rows(classified(documents, [EVENT]))
    assert rows["op"].to_list() == ["replace", "delete"]
    return rows["after"][0], rows["reasons"][1].to_list()


@pytest.mark.parametrize(("user", "becomes"), [("BOB", "bob"), ("bob", "bob"), ("", "bob")])
def test_a_survivor_gets_the_user_of_its_events_whatever_the_case(user: str, becomes: str) -> None:
    document = bson.encode({"_id": 1, "session_id": "s", "user_id": user})
    after, _ = folded(document, bson.encode({"_id": 2, "session_id": "s"}), user_id=user, user_id_kind="string")
    assert bson.decode(after)["user_id"] == becomes


def test_names_that_a_survivor_repeats_stay() -> None:
    twice = [bson.encode({name: value})[4:-1] for name, value in (("_id", 1), ("x", 1), ("session_id", "s"), ("x", 2))]
    after, reasons = folded(from_elements(twice), bson.encode({"_id": 2, "session_id": "s", "x": 1, "y": 3}))
    assert [element for _, element in named_elements(after)][:4] == twice
    assert bson.decode(after)["y"] == 3
    assert reasons == ["duplicate_session"]


def test_what_a_deleted_duplicate_repeats_is_named() -> None:
    twice = [bson.encode({name: value})[4:-1] for name, value in (("_id", 2), ("x", 1), ("x", 2), ("x", 3))]
    _, reasons = folded(bson.encode({"_id": 1, "session_id": "s", "x": 1}), from_elements(twice))
    assert reasons == ["duplicate_session", "other_values: x"]


@pytest.mark.parametrize(("count", "goes"), [(None, True), (0.0, True), (-1.0, False), (1.0, False)])
def test_an_orphan_that_carries_a_count_stays(count: float | None, goes: bool) -> None:
    documents = [stored(1, bson.encode({"_id": 1}), event_count=count, created_at=MOMENTS[0])]
    assert orphan_rows(classified(documents, []), first=MOMENTS[0], now=NOW, grace_days=0.1).height == goes


@pytest.mark.parametrize(("first", "goes"), [(MOMENTS[0], True), (MOMENTS[1], False), (None, False)])
def test_an_orphan_from_before_the_first_event_stays(first: datetime | None, goes: bool) -> None:
    rows = classified([stored(1, bson.encode({"_id": 1}), created_at=MOMENTS[0])], [])
    rule: dict[str, Any] = {"first": first, "now": NOW, "grace_days": 0.1}
    assert orphan_rows(rows, **rule).height == goes
    assert kept_orphans(rows, **rule)["reason"].to_list() == ([] if goes else ["before_events"])
