"""Several documents of one session become one that says all that they said."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from session_assets.identity.merge import folded, moved, shrinks
from session_assets_tests.identity.scenario import EMAIL, GUID, Document, session

AT, LATER = "2026-01-01T00:00:00+00:00", "2026-01-02T00:00:00+00:00"
OWN = ("user_id", "user_email", "user_id_original", "backfill_updated_at")
FIELDS = st.dictionaries(
    st.sampled_from(["status", "note", "flag", "expired_at"]), st.integers() | st.text(), max_size=4
)
SESSIONS = st.builds(
    lambda fields, count, pages: session(EMAIL, activity_count=count, endpoints_accessed=pages, **fields),
    FIELDS,
    st.integers(0, 9),
    st.lists(st.sampled_from("abcd"), unique=True),
)


def fold(target: Document | None, source: Document, modified: int = 1, written: int = 2) -> dict[str, Any]:
    one = folded(target, [(source, written)], modified, GUID, LATER)
    assert one is not None
    return one


@given(SESSIONS, SESSIONS)
def test_the_newer_source_wins_and_nothing_is_lost(first: Document, again: Document) -> None:
    target = moved(first, GUID, AT)
    one = fold(target, again)
    assert one.keys() == target.keys() | again.keys()
    assert one["activity_count"] == max(first["activity_count"], again["activity_count"])
    assert set(one["endpoints_accessed"]) == {*first["endpoints_accessed"], *again["endpoints_accessed"]}
    for name in again.keys() - {*OWN, "activity_count", "endpoints_accessed"}:
        assert one[name] == again[name]
    assert [one[name] for name in OWN] == [GUID, EMAIL, EMAIL, LATER]


@given(SESSIONS, SESSIONS, st.integers(1, 9))
def test_folding_again_gives_what_folding_the_newest_gives(first: Document, again: Document, more: int) -> None:
    target = moved(first, GUID, AT)
    newest = {**again, "activity_count": again["activity_count"] + more, "note": more}
    assert fold(fold(target, again), newest) == fold(target, newest)


@given(SESSIONS)
def test_an_old_copy_under_the_email_adds_nothing(first: Document) -> None:
    target = moved({**first, "status": first["status"]}, GUID, AT)
    newer = {**target, "activity_count": 99, "last_activity": "2026-02-01T00:00:00+00:00"}
    assert fold(newer, first, modified=9) == {**newer, "backfill_updated_at": LATER}


def test_a_newer_target_that_hides_what_only_the_source_says_is_for_a_person() -> None:
    target = {**moved(session(EMAIL), GUID, AT), "status": "closed"}
    assert folded(target, [(session(EMAIL), 2)], 9, GUID, LATER) is None
    assert folded(target, [(session(EMAIL, status="closed", note="own"), 2)], 9, GUID, LATER) is None


def test_what_a_newer_target_and_the_source_can_say_together_is_for_no_person() -> None:
    target = {**moved(session(EMAIL), GUID, AT), "endpoints_accessed": ["/api/jobs", "/a"], "activity_count": 4}
    one = fold(target, session(EMAIL, created_at=LATER, endpoints_accessed=["/api/jobs", "/b"]), modified=9)
    assert one == {**target, "endpoints_accessed": ["/api/jobs", "/b", "/a"], "backfill_updated_at": LATER}


def test_the_session_begins_where_its_earliest_document_does() -> None:
    first = session(EMAIL, created_at="2025-08-24T15:00:00+00:00")
    again = session(EMAIL, created_at="2025-08-24T16:30:00+02:00")
    assert fold(moved(first, GUID, AT), again)["created_at"] == "2025-08-24T16:30:00+02:00"


def test_two_spellings_of_an_email_become_one_session_of_the_newest() -> None:
    older, newer = session("Mary@example.com", note=1), session("mary@example.com", note=2)
    one = folded(None, [(newer, 2), (older, 1)], 0, GUID, AT)
    assert one == {**moved(newer, GUID, AT)}


def test_a_newer_source_that_says_nothing_in_a_field_takes_nothing_away() -> None:
    """A session that was made afresh, and by a client that writes nulls."""
    target = {**moved(session(EMAIL, activity_count=12, endpoints_accessed=["/a", "/b"]), GUID, AT), "pages": ["/a"]}
    nothing: list[Any] = [None, "", []]
    for value in nothing:
        again = session(EMAIL, activity_count=value, endpoints_accessed=value, pages=value, created_at=value)
        one = fold(target, again)
        assert (one["activity_count"], one["endpoints_accessed"], one["pages"]) == (12, ["/a", "/b"], ["/a"])
        assert one["created_at"] == target["created_at"]


def test_entries_of_a_map_that_only_one_document_has_are_kept() -> None:
    target = moved(session(EMAIL, session_metadata={"browser": "Firefox", "screen": {"w": 1, "h": 2}}), GUID, AT)
    one = fold(target, session(EMAIL, session_metadata={"browser": "Edge", "screen": {"w": 3}, "os": "Linux"}))
    assert one["session_metadata"] == {"browser": "Edge", "screen": {"w": 3, "h": 2}, "os": "Linux"}


def test_a_session_lasts_as_long_as_the_document_that_says_longest() -> None:
    target = moved(session(EMAIL, session_duration_seconds=900), GUID, AT)
    assert fold(target, session(EMAIL, session_duration_seconds=4))["session_duration_seconds"] == 900


POORER: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({"pages": ["/a", "/b"]}, {"pages": ["/b", "/c"]}),
    ({"activity_count": 12}, {"activity_count": "twelve"}),
    ({"endpoints_accessed": ["/a"]}, {"endpoints_accessed": "/a"}),
    ({"session_metadata": {"a": 1}}, {"session_metadata": 7}),
    ({"session_metadata": {"tabs": [1, 2]}}, {"session_metadata": {"tabs": [2]}}),
    ({"session_metadata": {"page_views": 50}}, {"session_metadata": {"page_views": 2}}),
    ({"request_count": 100}, {"request_count": 3}),
    ({"score": 9.5}, {"score": None}),
    ({"notes": "customer called"}, {"notes": ""}),
]


@pytest.mark.parametrize(("before", "again"), POORER)
def test_a_fold_that_would_say_less_than_one_of_its_documents_is_told(
    before: dict[str, Any], again: dict[str, Any]
) -> None:
    target, source = moved(session(EMAIL, **before), GUID, AT), session(EMAIL, **again)
    one = fold(target, source)
    assert shrinks(one, [target, source])
    assert not shrinks(fold(target, session(EMAIL, **before)), [target])


VALUES = st.recursive(
    st.none() | st.integers(0, 9) | st.sampled_from(["", "x", LATER]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("ab"), inner, max_size=2),
    max_leaves=6,
)
ANY = st.dictionaries(st.sampled_from(["activity_count", "endpoints_accessed", "created_at", "pages", "more"]), VALUES)


@given(ANY, ANY)
def test_any_fold_says_all_that_its_documents_say_or_is_told(first: dict[str, Any], again: dict[str, Any]) -> None:
    target, source = moved(session(EMAIL, **first), GUID, AT), session(EMAIL, **again)
    one = fold(target, source)
    if not shrinks(one, [target, source]):
        for document in (target, source):
            assert {*document} <= {*one}
            assert _items(document["endpoints_accessed"]) <= _items(one["endpoints_accessed"])
            if isinstance(document["activity_count"], int):
                assert one["activity_count"] >= document["activity_count"]


def _items(value: Any) -> set[str]:
    return {json.dumps(one, sort_keys=True) for one in value} if isinstance(value, list) else set()
