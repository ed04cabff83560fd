"""kill -9 between any two steps of `apply` and `revert`: the same command once more ends where an uninterrupted run ends."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from session_assets_tests.counts import some, times
from session_assets_tests.random_kills import RandomKills
from session_assets_tests.web.acceptance.documents import (
    Web,
    add_duplicates,
    add_orphans,
    dump,
    end_transactions,
    fill,
    wrong_sessions,
)
from session_assets_tests.web.acceptance.ledgers import accounted
from session_assets_tests.web.acceptance.terminal import Answer, Terminal

APPLY = ("apply", "web", "--batch-size", "3", "--json")
ROWS = 24
STEPS = ["after_look", "after_intent", "after_write", "after_outcome", "before_finish"]
PLACES = [
    "web.after_documents",
    "web.after_events",
    "web.before_record",
    *(f"apply.{step}" for step in STEPS),
    "apply.after_write@3",
    "apply.before_finish@2",
    "apply.partition.2025-03-02",
]
POOL_SLOTS = 4  # dagster.yaml


@pytest.fixture
def mongo_uri(own_mongo_uri: str) -> str:
    return own_mongo_uri


def right(web: Web) -> dict[str, str]:
    """The sessions as an uninterrupted run leaves them."""
    fill(web, 2 * ROWS, wrong=None)
    documents = dump(web)
    web.client.drop_database(web)
    return documents


@pytest.fixture
def goal(web: Web) -> dict[str, str]:
    """Fills the collections; returns the end state."""
    documents = right(web)
    assert len(fill(web, 2 * ROWS)) == ROWS
    return documents


def assert_finished(cli: Terminal, web: Web, goal: dict[str, str], answer: Answer) -> None:
    assert answer.code == 0, answer
    assert dump(web) == goal
    assert (answer.body["planned"], answer.body["outcomes"]["applied"]) == (ROWS, ROWS)
    assert accounted(cli.home, "web", answer.body["plan_id"]) == {"A": ROWS}
    assert cli("plan", "web", "--json").body["planned"] == 0


@pytest.mark.parametrize("place", some(PLACES, 2))
def test_a_killed_apply_is_finished_by_the_same_command(
    cli: Terminal, web: Web, goal: dict[str, str], place: str
) -> None:
    cli.killed_at(place, *APPLY)
    assert_finished(cli, web, goal, cli(*APPLY))


def test_killed_at_random_times(cli: Terminal, web: Web, goal: dict[str, str]) -> None:
    spoiled, seconds = list(web.sessions.find()), _seconds(lambda: cli(*APPLY))
    kills = RandomKills(times(2, 20), seconds)
    for after in kills:
        web.sessions.delete_many({})
        web.sessions.insert_many(spoiled)
        cli("plan", "web")  # so that an apply that was finished is not taken for one that is to be finished
        kills.count(cli.killed_after(after, *APPLY))
        answer = cli(*APPLY)
        assert answer.code == 0, answer
        assert dump(web) == goal


def test_more_kills_than_a_pool_has_slots(cli: Terminal, web: Web, goal: dict[str, str]) -> None:
    for _ in range(POOL_SLOTS + 1):
        cli.killed_at("apply.after_look", *APPLY)
    assert_finished(cli, web, goal, cli(*APPLY))


@pytest.mark.parametrize("place", some([f"apply.{step}" for step in STEPS], 2))
def test_a_killed_revert_is_finished_by_the_same_command(cli: Terminal, web: Web, place: str) -> None:
    fill(web, 2 * ROWS)
    wiped = dump(web)
    plan_id = cli(*APPLY).body["plan_id"]
    undo = ("revert", "web", "--plan-id", plan_id, "--batch-size", "3", "--json")
    cli.killed_at(place, *undo)
    assert cli(*undo).code == 0
    assert dump(web) == wiped
    assert accounted(cli.home, "web", plan_id, reverts=True) == {"A": ROWS}
    planned = cli("plan", "web", "--json")
    assert planned.body["plan_id"] == plan_id, planned


@pytest.mark.parametrize(
    "place", some(["apply.after_intent", "mongo.before_delete", "apply.after_write", "apply.after_outcome"], 2)
)
@pytest.mark.parametrize("loop", ["web/duplicates", "web/orphans"])
def test_a_killed_clean_up_is_finished_and_can_be_undone(cli: Terminal, web: Web, loop: str, place: str) -> None:
    goal = right(web)
    fill(web, 2 * ROWS, wrong=None)
    (add_duplicates if loop == "web/duplicates" else add_orphans)(web)
    before = dump(web)
    cli("plan", loop)
    command = ("apply", loop, "--batch-size", "2", "--json")
    cli.killed_at(place, *command)
    end_transactions(web)
    answer = cli(*command)
    assert answer.code == 0, answer
    assert dump(web) == goal
    assert accounted(cli.home, loop, answer.body["plan_id"]) == {"A": 4}
    assert wrong_sessions(web) == {}
    assert cli("revert", "web", "--plan-id", answer.body["plan_id"], "--json").code == 0
    assert dump(web) == before


def _seconds(work: Callable[[], object]) -> float:
    began = time.monotonic()
    work()
    return time.monotonic() - began
