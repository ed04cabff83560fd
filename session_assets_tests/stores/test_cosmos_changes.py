"""Guarded writes to Cosmos DB: moves between partitions, replaces in place, several documents that become one, and back."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from session_assets.stores.cosmos import Container, same
from session_assets_tests.counts import examples
from session_assets_tests.stores.cosmos_scenario import (
    GUID,
    all_done,
    by_place,
    moves,
    put,
    repaired,
    row,
    rows,
    session,
    sessions_of,
    states,
    store_of,
    stored,
    undone,
)


@pytest.fixture(params=["/user_id", "/id", "/session_metadata/browser"])
def sessions(request: pytest.FixtureRequest, cosmos: dict[str, str]) -> Container:
    return sessions_of(cosmos, request.param)


@pytest.fixture
def by_user(cosmos: dict[str, str]) -> Container:
    return sessions_of(cosmos)


def test_a_change_and_its_undo_in_any_layout(sessions: Container) -> None:
    whole = [session(number, session_metadata={"browser": "b"}, user_email=None, nul=[]) for number in range(5)]
    whole.append({"id": "ü x+%25", "user_id": "x@example.com", "float": 1e-7, "text": "\ud800 \u2028"})
    put(sessions, *whole)
    store, changes = store_of(sessions), moves(whole)
    assert states(store, changes) == "bbbbbb"
    assert all_done(changes, store.write(changes))
    after = stored(sessions)
    assert after == by_place(repaired(one) for one in whole)
    assert list(after["00000001", GUID]) == list(repaired(whole[1])), "order of fields"
    assert states(store, changes) == "aaaaaa"

    back = undone(changes, store)
    assert states(store, back) == "bbbbbb"
    assert all_done(back, store.write(back))
    assert stored(sessions) == by_place(whole)
    assert states(store, back) == "aaaaaa"


def test_edits_of_other_fields_pass_and_survive(sessions: Container) -> None:
    one = session(1, session_metadata={"browser": "b"})
    changes, store = moves([one]), store_of(sessions)
    put(sessions, one | {"last_activity": "later", "new": {"a": 1}})
    assert states(store, changes) == "b"
    assert all_done(changes, store.write(changes))
    wanted = repaired(one) | {"last_activity": "later", "new": {"a": 1}}
    assert stored(sessions) == by_place([wanted])

    put(sessions, wanted | {"activity_count": 99})
    back = undone(changes, store)
    assert all_done(back, store.write(back))
    assert stored(sessions) == by_place([one | {"last_activity": "later", "new": {"a": 1}, "activity_count": 99}])


@pytest.mark.parametrize("edit", [{"user_email": "someone"}, {"user_id_original": None}])
def test_edits_of_the_touched_fields_are_never_overwritten(sessions: Container, edit: dict[str, Any]) -> None:
    one = session(1, session_metadata={"browser": "b"})
    put(sessions, one | edit)
    store, changes = store_of(sessions), moves([one])
    assert states(store, changes) == "o"
    assert store.write(changes).missed == {0}
    assert stored(sessions) == by_place([one | edit])


def test_a_document_that_is_gone_is_not_made_again(sessions: Container) -> None:
    store, changes = store_of(sessions), moves([session(1, session_metadata={"browser": "b"})])
    assert states(store, changes) == "o"
    assert store.write(changes).missed == {0}
    assert stored(sessions) == {}


def test_another_document_in_the_target_is_never_touched(by_user: Container) -> None:
    one, other = session(1), session(1, user_id=GUID, strange=True)
    put(by_user, one, other)
    store, changes = store_of(by_user), moves([one])
    assert states(store, changes) == "o"
    assert store.write(changes).missed == {0}
    assert stored(by_user) == by_place([one, other])


ONE = session(1)
COPY = repaired(ONE)
AFRESH = {name: ONE[name] for name in ("id", "type", "user_id", "created_at")} | {"activity_count": 1}
EDITED, EDITED_COPY = ONE | {"activity_count": 5}, COPY | {"activity_count": 7}


@pytest.mark.parametrize(
    ("old", "new", "state", "left"),
    [
        pytest.param(ONE, COPY, "h", COPY, id="killed after the create"),
        pytest.param(EDITED, COPY, "h", repaired(EDITED), id="source edited since"),
        pytest.param(EDITED, repaired(EDITED), "h", repaired(EDITED), id="source edited before"),
        pytest.param(ONE, EDITED_COPY, "h", EDITED_COPY, id="copy edited since"),
        pytest.param(EDITED, EDITED_COPY, "o", None, id="both edited"),
        pytest.param(AFRESH, COPY, "o", None, id="done, and made afresh since"),
        pytest.param({**ONE, "created_at": None}, COPY, "o", None, id="done, and made afresh with all fields since"),
        pytest.param(ONE, repaired(ONE, at="another time"), "o", None, id="a copy that is not ours"),
        pytest.param(None, EDITED_COPY, "a", EDITED_COPY, id="done, and edited since"),
        pytest.param(COPY, ONE, "o", None, id="neither"),
    ],
)
def test_half_a_move_is_finished_or_left_alone(
    by_user: Container, old: Mapping[str, Any] | None, new: Mapping[str, Any], state: str, left: dict[str, Any] | None
) -> None:
    standing = [dict(one) for one in (old, new) if one is not None]
    if old is COPY:
        standing = [ONE | {"user_email": "x"}, COPY | {"user_email": "x"}]
    put(by_user, *standing)
    store, changes = store_of(by_user), moves([ONE])
    assert states(store, changes) == state
    written = store.write(changes)
    if left is None:
        assert written.missed == {0}
        assert stored(by_user) == by_place(standing)
    else:
        assert written.done == {0}
        assert stored(by_user) == by_place([left])


@pytest.mark.parametrize(
    ("email", "guid", "left"),
    [
        pytest.param(ONE, COPY, ONE, id="killed before the delete"),
        pytest.param(ONE, EDITED_COPY, EDITED_COPY | {"undone": True}, id="GUID document edited since"),
        pytest.param(EDITED, COPY, None, id="written again under the e-mail"),
        pytest.param(session(1, activity_count=1, new=True), COPY, None, id="made afresh under the e-mail"),
    ],
)
def test_an_undo_never_deletes_what_a_fresh_document_does_not_hold(
    by_user: Container, email: dict[str, Any], guid: dict[str, Any], left: dict[str, Any] | None
) -> None:
    put(by_user, email, guid)
    store = store_of(by_user)
    back = undone(moves([ONE]), store)
    assert states(store, back) == ("h" if left else "o")
    written = store.write(back)
    if left is None:
        assert written.missed == {0}
        assert stored(by_user) == by_place([email, guid])
    else:
        assert written.done == {0}
        assert stored(by_user) == by_place([ONE | {"activity_count": left["activity_count"]}])


SOURCE, TARGET = session(2, activity_count=9), repaired(session(2))
FOLDED = repaired(session(2, activity_count=9), at="2025-09-01T00:00:00+00:00")


def test_several_documents_become_one_and_are_restored(by_user: Container) -> None:
    put(by_user, SOURCE, TARGET)
    store, changes = store_of(by_user), rows(row([SOURCE, TARGET], [FOLDED]))
    assert states(store, changes) == "b"
    assert all_done(changes, store.write(changes))
    assert stored(by_user) == by_place([FOLDED])
    assert states(store, changes) == "a"
    back = undone(changes, store)
    assert states(store, back) == "b"
    assert all_done(back, store.write(back))
    assert stored(by_user) == by_place([SOURCE, TARGET])


@pytest.mark.parametrize(
    ("standing", "state"),
    [
        ([SOURCE, FOLDED], "h"),
        ([FOLDED], "a"),
        ([SOURCE | {"x": 1}, TARGET], "o"),
        ([SOURCE, TARGET | {"x": 1}], "o"),
        ([SOURCE | {"x": 1}, FOLDED], "o"),
        ([SOURCE], "o"),
        ([TARGET], "o"),
        ([], "o"),
    ],
)
def test_several_documents_are_compared_whole(by_user: Container, standing: list[dict[str, Any]], state: str) -> None:
    put(by_user, *standing)
    store, changes = store_of(by_user), rows(row([SOURCE, TARGET], [FOLDED]))
    assert states(store, changes) == state
    written = store.write(changes)
    assert bool(written.done) == (state in "ha")
    assert stored(by_user) == by_place([FOLDED] if written.done else standing)


def test_documents_under_two_emails_become_one_under_a_new_key(by_user: Container) -> None:
    first, second = session(3), session(3, user_id="other@example.com")
    put(by_user, first, second)
    store, changes = store_of(by_user), rows(row([first, second], [repaired(first)]))
    assert all_done(changes, store.write(changes))
    assert stored(by_user) == by_place([repaired(first)])
    back = undone(changes, store)
    assert all_done(back, store.write(back))
    assert stored(by_user) == by_place([first, second])


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)
NAMES = st.sampled_from(["a", "user_email", "user_id_original", "é", "a.b"])


@pytest.fixture
def any_sessions(cosmos: dict[str, str]) -> Container:
    return sessions_of(cosmos)


NUMBERS = itertools.count()


@examples(15)
@given(before=st.dictionaries(NAMES, VALUES), after=st.dictionaries(NAMES, VALUES), moved=st.booleans())
def test_undo_after_apply_restores_any_document(
    any_sessions: Container, before: dict[str, Any], after: dict[str, Any], moved: bool
) -> None:
    name = f"any{next(NUMBERS)}"
    old = {"id": name, "user_id": "a@example.com", **before}
    new = {"id": name, "user_id": GUID if moved else "a@example.com", **after}
    put(any_sessions, old)
    store, changes = store_of(any_sessions), rows(row([old], [new]))
    if not same(old, new):
        assert all_done(changes, store.write(changes))
        assert same(_only(any_sessions, name), new)
        back = undone(changes, store)
        assert all_done(back, store.write(back))
    assert same(_only(any_sessions, name), old)
    assert list(_only(any_sessions, name)) == list(old), "order of fields"


def _only(sessions: Container, name: str) -> dict[str, Any]:
    """The one document with an id."""
    (found,) = [one for (key, _), one in stored(sessions).items() if key == name]
    return found
