"""Several documents of one session become one that says all that they said."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from session_assets.identity.merge import folded, moved
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
