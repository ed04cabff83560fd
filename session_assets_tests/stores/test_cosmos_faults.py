"""Throttling, "retry with", timeouts, lost replies and edits in between: nothing is lost, nothing stands twice.

The emulator knows none of these: they happen at the transport, between the driver and the emulator.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from session_assets.errors import StoreUnavailable
from session_assets.stores.cosmos import Container, container
from session_assets.stores.cosmos_documents import Document
from session_assets_tests.changes.scenario import outcomes
from session_assets_tests.stores.cosmos_faults import CREATE, DELETE, REPLACE, Faults, faulty
from session_assets_tests.stores.cosmos_loop import CosmosLoop
from session_assets_tests.stores.cosmos_scenario import (
    GUID,
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
)

MANY = [session(number) for number in range(80)]


@pytest.mark.parametrize("path", ["/user_id", "/id"])
def test_throttled_and_with_lost_replies_it_finishes_without_duplicates(
    cosmos: dict[str, str], tmp_path: Path, path: str
) -> None:
    sound = sessions_of(cosmos, path)
    put(sound, *MANY)
    faults = Faults(throttled=0.3, lost=0.05, retry_with=0.03, timeouts=0.03)
    with faulty(cosmos, faults) as account:
        loop = CosmosLoop.new(container("user_sessions", cosmos), tmp_path, batch_size=40)  # type: ignore[arg-type]
        plan = loop.plan(moves(MANY))
        assert outcomes(loop.apply(plan)) == {"applied": len(MANY)}
        assert stored(sound) == by_place(repaired(one) for one in MANY)
        assert outcomes(loop.revert(plan)) == {"applied": len(MANY)}
        assert stored(sound) == by_place(MANY)
        usage = account.usage.as_dict()
    assert usage["throttled"] == faults.seen["throttled"] > 60
    assert usage["unsure"] > 3
    assert usage["retried"] > 3
    assert usage["waited"] > 0
    assert usage["request_units"] > 0
    if path == "/user_id":
        assert faults.done == {CREATE: 2 * len(MANY), DELETE: 2 * len(MANY)}, "no write is done twice"


def test_pages_survive_throttling_and_lost_replies(cosmos: dict[str, str]) -> None:
    sound = sessions_of(cosmos)
    put(sound, *MANY)
    with faulty(cosmos, Faults(throttled=0.3, lost=0.1, unavailable=0.1)):
        sessions = container("user_sessions", cosmos)
        for _ in range(5):
            assert stored(sessions) == by_place(MANY)
            assert sessions.count() == len(MANY)


def test_a_store_that_always_fails_is_said_to_be_unavailable(
    cosmos: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(sessions_of(cosmos), MANY[0])
    monkeypatch.setattr("session_assets.stores.cosmos_transport._LONGEST_PAUSE", 0.01)
    monkeypatch.setattr("session_assets.stores.cosmos_transport._PATIENCE", 0.1)
    for faults, variable in (
        (Faults(lost=1), "AZURE_COSMOS_ENDPOINT"),
        (Faults(unavailable=1), "AZURE_COSMOS_ENDPOINT"),
        (Faults(throttled=1), "COSMOS_REQUEST_UNITS"),
    ):
        with faulty(cosmos, faults):
            store = store_of(container("user_sessions", cosmos))
            with pytest.raises(StoreUnavailable, match=variable):
                store.look(moves(MANY[:1]))


ONE = session(1)
COPY = repaired(ONE)


class Writer:
    """Somebody else, who writes just before the first request of a kind goes out."""

    def __init__(self, sessions: Container, operation: str, *edits: Mapping[str, Any] | None, times: int = 1) -> None:
        self._sessions, self._operation, self._edits, self._left = sessions, operation, edits, times

    async def before(self, operation: str, _document_id: str) -> None:
        if operation == self._operation and self._left:
            self._left -= 1
            for edit in self._edits:
                await asyncio.wrap_future(self._sessions.account.start(self._write(edit)))

    async def _write(self, document: Mapping[str, Any] | None) -> None:
        if document is None:
            await self._sessions.client.delete_item(ONE["id"], partition_key=ONE["user_id"])
        else:
            await self._sessions.client.upsert_item(dict(document))


NEWER, NEWER_COPY = ONE | {"activity_count": 8, "note": "a"}, COPY | {"status": "closed"}


@pytest.mark.parametrize(
    ("operation", "edits", "left"),
    [
        pytest.param(CREATE, [NEWER], [repaired(NEWER)], id="source edited before the create"),
        pytest.param(DELETE, [NEWER], [repaired(NEWER)], id="source edited after the create"),
        pytest.param(DELETE, [NEWER_COPY], [NEWER_COPY], id="copy edited after the create"),
        pytest.param(DELETE, [NEWER, NEWER_COPY], None, id="both edited after the create"),
        pytest.param(CREATE, [session(1, user_id=GUID)], None, id="another document takes the target"),
        pytest.param(DELETE, [None], [COPY], id="source deleted by somebody else"),
        pytest.param(DELETE, [ONE | {"user_email": "x"}], None, id="a touched field edited after the create"),
    ],
)
def test_edits_in_the_middle_of_a_move_are_never_lost(
    cosmos: dict[str, str], operation: str, edits: list[Document | None], left: list[Document] | None
) -> None:
    sound = sessions_of(cosmos)
    put(sound, ONE)
    with faulty(cosmos, Faults(before=Writer(sound, operation, *edits).before)):
        written = store_of(container("user_sessions", cosmos)).write(moves([ONE]))
    if left is None:
        assert written.missed == {0}
        assert {one["user_id"] for one in stored(sound).values()} == {ONE["user_id"], GUID}
        for edit in edits:
            assert edit in stored(sound).values()
    else:
        assert written.done == {0}
        assert stored(sound) == by_place(left)


def test_edits_before_and_after_the_create_are_both_kept(cosmos: dict[str, str]) -> None:
    sound = sessions_of(cosmos)
    put(sound, ONE)
    first, second = Writer(sound, CREATE, ONE | {"activity_count": 7}), Writer(sound, DELETE, NEWER)

    async def before(operation: str, document_id: str) -> None:
        await first.before(operation, document_id)
        await second.before(operation, document_id)

    put(sound, ONE | {"activity_count": 6})
    with faulty(cosmos, Faults(before=before)):
        assert store_of(container("user_sessions", cosmos)).write(moves([ONE])).done == {0}
    assert stored(sound) == by_place([repaired(NEWER)])


@pytest.mark.parametrize("forgotten", [1, 2])
def test_nothing_is_deleted_before_what_stays_was_read_back(cosmos: dict[str, str], forgotten: int) -> None:
    sound = sessions_of(cosmos)
    two = [session(2), session(2, user_id="other@example.com")]
    put(sound, ONE, *two)
    changes = rows(row([ONE], [COPY]), row(two, [repaired(two[0])]))
    faults = Faults(forgotten=forgotten * 2)
    with faulty(cosmos, faults):
        assert store_of(container("user_sessions", cosmos)).write(changes).done == {0, 1}
    assert faults.forgotten == 0
    assert stored(sound) == by_place([COPY, repaired(two[0])])


def test_a_document_that_is_written_again_and_again_is_moved_in_the_end(cosmos: dict[str, str]) -> None:
    sound = sessions_of(cosmos)
    put(sound, ONE)
    with faulty(cosmos, Faults(before=Writer(sound, DELETE, NEWER, times=4).before)):
        store = store_of(container("user_sessions", cosmos))
        assert store.write(moves([ONE])).done == {0}
    assert stored(sound) == by_place([repaired(NEWER)])


def test_a_document_that_never_rests_stays_whole_and_is_named(
    cosmos: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("session_assets.stores.cosmos_changes._LONGEST_PAUSE", 0.02)
    sound = sessions_of(cosmos)
    put(sound, ONE)
    with faulty(cosmos, Faults(before=Writer(sound, DELETE, NEWER, times=99).before)):
        store = store_of(container("user_sessions", cosmos))
        written = store.write(moves([ONE]))
    assert "somebody else keeps writing" in written.errors[0]
    assert states(store_of(sound), moves([ONE])) == "h"
    assert store_of(sound).write(moves([ONE])).done == {0}
    assert stored(sound) == by_place([repaired(NEWER)])


def test_an_edit_just_before_a_replace_survives_it(cosmos: dict[str, str]) -> None:
    sound = sessions_of(cosmos, "/id")
    put(sound, ONE)
    with faulty(cosmos, Faults(before=Writer(sound, REPLACE, NEWER).before)):
        assert store_of(container("user_sessions", cosmos)).write(moves([ONE])).done == {0}
    assert stored(sound) == by_place([repaired(NEWER)])
