"""kill -9 after any step of a move: the same command once more ends where an uninterrupted run ends."""

from __future__ import annotations

import random
import time
from collections import Counter

import pytest

from session_assets_tests.counts import FULL
from session_assets_tests.identity.scenario import EMAIL, GUID, Cosmos, Document, session, user
from session_assets_tests.web.acceptance.terminal import Terminal

APPLY = ("apply", "identity", "--batch-size", "3", "--json")
ROWS = 12
JOURNAL = ["apply.after_look", "apply.after_intent", "apply.after_write", "apply.after_outcome", "apply.before_finish"]
MOVE = ["cosmos.before_create", "cosmos.after_create", "cosmos.after_read_back", "cosmos.after_delete"]
PLACES = [*JOURNAL, *MOVE, *(f"{place}@5" for place in MOVE)]
KILLS = 20  # of apply, and as many of revert
CHOSEN = PLACES if FULL else ["cosmos.after_create@3"]


@pytest.fixture
def documents(stored: Cosmos) -> list[Document]:
    """Fills the containers; returns the sessions."""
    return fill(stored)


def fill(stored: Cosmos) -> list[Document]:
    stored.clear()
    stored.fill([session(EMAIL, number) for number in range(ROWS)], [user(EMAIL.lower())])
    return stored.stored()


def moved(documents: list[Document], after: list[Document]) -> list[Document]:
    """The documents as an uninterrupted run leaves them, at the time of its plan."""
    (at,) = {one["backfill_updated_at"] for one in after}
    audit = {"user_id": GUID, "user_email": EMAIL, "user_id_original": EMAIL, "backfill_updated_at": at}
    return [{**one, **audit} for one in documents]


def assert_moved(cli: Terminal, stored: Cosmos, documents: list[Document]) -> None:
    answer = cli(*APPLY)
    assert answer.code == 0, answer
    after = stored.stored()
    assert after == moved(documents, after)
    assert cli("plan", "identity", "--json").body["planned"] == 0


@pytest.mark.parametrize("place", CHOSEN)
def test_a_killed_apply_is_finished_by_the_same_command(
    cli: Terminal, stored: Cosmos, documents: list[Document], place: str
) -> None:
    cli.killed_at(place, *APPLY)
    assert_moved(cli, stored, documents)


@pytest.mark.parametrize("place", CHOSEN)
def test_a_killed_apply_can_be_undone_instead(
    cli: Terminal, stored: Cosmos, documents: list[Document], place: str
) -> None:
    plan_id = cli("plan", "identity", "--json").body["plan_id"]
    cli.killed_at(place, *APPLY)
    answer = cli("revert", "identity", "--plan-id", plan_id, "--json")
    assert answer.code == 0, answer
    assert stored.stored() == documents


@pytest.mark.parametrize("place", CHOSEN)
def test_a_killed_revert_is_finished_by_the_same_command(
    cli: Terminal, stored: Cosmos, documents: list[Document], place: str
) -> None:
    undo = ("revert", "identity", "--plan-id", cli(*APPLY).body["plan_id"], "--batch-size", "3", "--json")
    cli.killed_at(place, *undo)
    answer = cli(*undo)
    assert answer.code == 0, answer
    assert stored.stored() == documents


def test_a_killed_apply_may_be_planned_anew(cli: Terminal, stored: Cosmos, documents: list[Document]) -> None:
    cli.killed_at("cosmos.after_create@3", *APPLY)
    assert cli("plan", "identity", "--json").code == 0
    assert cli(*APPLY).code == 0
    after = stored.stored()
    assert {one["id"] for one in after} == {one["id"] for one in documents}
    assert [one["user_id"] for one in after] == [GUID] * ROWS


@pytest.mark.skipif(not FULL, reason="kills at every step are tried above; random ones in the full run")
def test_killed_at_random_times(cli: Terminal, stored: Cosmos) -> None:
    documents = fill(stored)
    undo = (
        "revert",
        "identity",
        "--plan-id",
        cli("plan", "identity", "--json").body["plan_id"],
        "--batch-size",
        "3",
        "--json",
    )
    seconds: dict[str, float] = {}
    killed = Counter[str]()

    def killed_once(*command: str) -> None:
        """Kill it, where its time is known, then run it to its end."""
        name = command[0]
        if name in seconds:
            killed[name] += cli.killed_after(random.uniform(0.2, 1.0) * seconds[name], *command)
        began = time.monotonic()
        answer = cli(*command)
        seconds.setdefault(name, time.monotonic() - began)
        assert answer.code == 0, answer

    while min(killed["apply"], killed["revert"]) < KILLS:
        killed_once(*APPLY)
        after = stored.stored()
        assert after == moved(documents, after)
        killed_once(*undo)  # the same documents give the same plan
        assert stored.stored() == documents
