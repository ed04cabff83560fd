"""kill -9 between any two steps, and an application that writes meanwhile: nothing is lost, and the next run ends clean."""

from __future__ import annotations

import random
import time
from collections import Counter
from datetime import UTC, datetime
from typing import Any

import pymongo
import pytest
from pymongo.database import Database

from session_assets.contest.model import UPDATED
from session_assets.embedded.contest_truth import Maker, totals
from session_assets_tests.contest.scenario import faults
from session_assets_tests.counts import FULL, times
from session_assets_tests.fork_server import CONTEXT
from session_assets_tests.random_kills import RandomKills
from session_assets_tests.stores.scenario import stored
from session_assets_tests.web.acceptance.ledgers import accounted
from session_assets_tests.web.acceptance.terminal import Terminal

Goaime = Database[dict[str, Any]]
APPLY = ("apply", "contest", "--batch-size", "3", "--json")
ROWS = 24
STEPS = [f"apply.{step}" for step in ("after_look", "after_intent", "after_write", "after_outcome", "before_finish")]
PLACES = ["contest.facts.2025-05-01", "contest.before_record", *STEPS, "apply.after_write@3"]
SAMPLED = ["contest.before_record", "apply.after_write@3"]


def fill(goaime: Goaime) -> dict[str, Any]:
    """Sessions, half of which lack fields; returns the users."""
    maker = Maker(datetime(2025, 8, 1, tzinfo=UTC), 4)
    documents = [maker.document() for _ in range(2 * ROWS)]
    documents[0] |= {"created_at": "2025-05-03 10:00:00"}  # so that the first failpoint is passed
    for document in documents[::2]:
        for name in ("shuffle", "topic_performance", "total_time_minutes"):
            del document[name]
    goaime.users.insert_many([{"_id": key, "username": name} for name, key in maker.users.items()])
    goaime.sessions.insert_many(documents)
    return maker.users


def assert_finished(cli: Terminal, goaime: Goaime, users: dict[str, Any], plan_id: str) -> None:
    assert [why for one in goaime.sessions.find() if (why := faults(one, users))] == []
    assert goaime.sessions.count_documents({UPDATED: {"$exists": True}}) == ROWS
    assert accounted(cli.home, "contest", plan_id) == {"A": ROWS}
    assert cli("plan", "contest", "--json").body["planned"] == 0


def test_a_month_that_cannot_be_computed_is_named_and_the_others_finish(cli: Terminal, goaime: Goaime) -> None:
    users = fill(goaime)
    poisoned = "2025-05-01"
    before = stored(goaime.sessions)
    partly = cli(*APPLY, SESSION_ASSETS_FAILPOINTS=f"contest.facts.{poisoned}=raise")
    assert partly.code == 1
    assert partly.body["failed_partitions"].keys() == {poisoned}
    assert "FailpointRaised" in partly.body["failed_partitions"][poisoned]
    changed = {key for key, document in stored(goaime.sessions).items() if document != before[key]}
    assert 0 < partly.body["outcomes"]["applied"] == len(changed) < ROWS
    again = cli(*APPLY)
    assert (again.code, again.body["outcomes"]["applied"]) == (0, ROWS - len(changed))
    assert [why for one in goaime.sessions.find() if (why := faults(one, users))] == []


@pytest.mark.parametrize("place", PLACES if FULL else SAMPLED)
def test_a_killed_apply_is_finished_by_the_same_command_and_a_killed_revert_too(
    cli: Terminal, goaime: Goaime, place: str
) -> None:
    users = fill(goaime)
    before = stored(goaime.sessions)
    cli.killed_at(place, *APPLY)
    answer = cli(*APPLY)
    assert answer.code == 0, answer
    plan_id = answer.body["plan_id"]
    assert_finished(cli, goaime, users, plan_id)
    undo = ("revert", "contest", "--plan-id", plan_id, "--batch-size", "3", "--json")
    if place.startswith("apply."):
        cli.killed_at(place, *undo)
    assert cli(*undo).code == 0
    assert stored(goaime.sessions) == before


@pytest.mark.skipif(not FULL, reason="many kills take a while")
def test_killed_at_random_times(cli: Terminal, goaime: Goaime) -> None:
    users = fill(goaime)
    spoiled, began = [*goaime.sessions.find()], time.monotonic()
    assert cli(*APPLY).code == 0
    kills = RandomKills(times(3, 8), time.monotonic() - began)
    for after in kills:
        goaime.sessions.delete_many({})
        goaime.sessions.insert_many(spoiled)
        cli("plan", "contest")  # so that an apply that was finished is not taken for one that is to be finished
        kills.count(cli.killed_after(after, *APPLY))
        answer = cli(*APPLY)
        assert answer.code == 0, answer
        assert [why for one in goaime.sessions.find() if (why := faults(one, users))] == []


def test_the_writes_of_an_application_survive_and_the_next_run_ends_clean(
    cli: Terminal, goaime: Goaime, mongo_uri: str
) -> None:
    users = fill(goaime)
    assert cli("plan", "contest", "--json").body["planned"] == ROWS
    writers = [CONTEXT.Process(target=traffic, args=(mongo_uri, number)) for number in range(2)]
    for writer in writers:
        writer.start()
    while not goaime.sessions.count_documents({"visits": {"$gt": 0}}):
        time.sleep(0.01)
    outcomes: Counter[str] = Counter()
    while not outcomes or any(writer.is_alive() for writer in writers):
        answer = cli(*APPLY)  # the plan that is pending, then plans of its own
        assert answer.code == 0, answer
        assert sum(answer.body["outcomes"].values()) == answer.body["planned"]
        outcomes.update(answer.body["outcomes"])
    for writer in writers:
        writer.join()
        assert writer.exitcode == 0
    assert outcomes["conflicted"] > 0
    assert (outcomes["failed"], outcomes["already_applied"]) == (0, 0)
    assert cli(*APPLY).code == 0
    assert sum(one.get("visits", 0) for one in goaime.sessions.find()) == 2 * WRITES
    assert goaime.sessions.count_documents({}) == 2 * ROWS + 2 * (WRITES // 10)
    assert [why for one in goaime.sessions.find() if (why := faults(one, users))] == []


WRITES = times(150, 1000)


def traffic(uri: str, number: int) -> None:
    """An application that answers more problems in sessions, counts visits, and begins new sessions as it did of old."""
    maker, chance = Maker(datetime(2025, 8, 1, tzinfo=UTC), 100 + number), random.Random(number)
    with pymongo.MongoClient[dict[str, Any]](uri, tz_aware=True) as client:
        sessions = client.get_default_database().sessions
        ids = [one["_id"] for one in sessions.find({}, {"_id": 1})]
        for step in range(WRITES):
            key = ids[chance.randrange(len(ids))]
            update: dict[str, Any] = {"$inc": {"visits": 1}}
            if step % 3 == 0:  # the analytics are stale from here on
                update["$push"] = {"problems_attempted": maker.attempts(1)[0]}
            assert sessions.update_one({"_id": key}, update).matched_count == 1
            if step % 10 == 0:
                begun = maker.document(username="somebody")
                sessions.insert_one(begun | totals([]) | {"shuffle": None})
            time.sleep(0.01)
