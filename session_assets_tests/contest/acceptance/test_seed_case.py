"""The seed's session: 19 fields in order, 30 topics, 3 difficulties, and the figures that the runbook published."""

from __future__ import annotations

from typing import Any

import pytest
from bson import ObjectId
from pymongo.database import Database

from session_assets.contest.model import FIELDS
from session_assets.embedded.contest_sample import seed_session
from session_assets.embedded.contest_truth import CATALOGUE, Maker
from session_assets_tests.contest.scenario import faults
from session_assets_tests.web.acceptance.terminal import Terminal

Goaime = Database[dict[str, Any]]
USER = ObjectId("66" + "0" * 22)
PUBLISHED = {
    "Algebra": (9, 2, 22.22),
    "Geometry": (8, 1, 12.5),
    "Number Theory": (3, 0, 0.0),
    "Counting and Probability": (4, 0, 0.0),
}


def counts(figures: dict[str, Any]) -> dict[str, tuple[int, int, float]]:
    return {name: (one["attempted"], one["correct"], one["accuracy"]) for name, one in figures.items()}


@pytest.mark.parametrize("is_known", [False, True], ids=["user-unknown", "user-known"])
def test_the_session_becomes_that_of_the_runbook(cli: Terminal, goaime: Goaime, is_known: bool) -> None:
    old = seed_session()
    goaime.sessions.insert_one(dict(old))
    if is_known:
        goaime.users.insert_one({"_id": USER, "username": "goAmy"})

    if not is_known:
        found = cli("verify", "contest", "--json")
        assert (found.code, found.body["read"], found.check("required_fields")["severity"]) == (1, 1, "ERROR")
    planned = cli("apply", "contest", "--dry-run", "--json")
    assert (planned.code, planned.body["planned"], planned.body["partitions"]) == (0, 1, ["2025-05-01"])
    assert goaime.sessions.find_one() == old
    applied = cli("apply", "contest", "--json")
    assert (applied.code, applied.body["outcomes"]["applied"]) == (0, 1)

    new = goaime.sessions.find_one()
    assert new is not None and faults(new, {"goAmy": USER} if is_known else {}) == []
    assert list(new) == ["_id", *FIELDS, "updated_at"]
    kept = ("_id", "session_id", "session_status", "created_at", "completed_at", "username", "year", "contest", "mode")
    assert {name: new[name] for name in kept} == {name: old[name] for name in kept}
    assert (new["user_id"], new["shuffle"]) == (str(USER) if is_known else None, False)
    assert (new["score"], new["total_attempted"]) == (3, 25)
    assert [new[name] for name in FIELDS[16:]] == [7426, 7.43, 0.12]
    topics, metrics = counts(new["topic_performance"]), new["performance_metrics"]
    assert len(topics) == 30 and {name: topics[name] for name in PUBLISHED} == PUBLISHED
    difficulties = {"easy": (10, 2, 20.0), "medium": (10, 1, 10.0), "hard": (5, 0, 0.0)}
    assert counts(new["difficulty_performance"]) == difficulties
    assert (metrics["topic_metrics"], metrics["difficulty_metrics"]) == (
        new["topic_performance"],
        new["difficulty_performance"],
    )
    assert metrics["total_metrics"]["total_time_seconds"] == 7.43
    assert metrics["average_metrics"]["accuracy_percentage"] == 12.0
    for attempt, before, problem in zip(new["problems_attempted"], old["problems_attempted"], CATALOGUE, strict=True):
        assert {name: attempt[name] for name in before} == before
        assert {name: attempt[name] for name in ("correct_answer", "difficulty", "topics")} == {
            name: problem[name] for name in ("correct_answer", "difficulty", "topics")
        }

    verified = cli("verify", "contest", "--json")
    failed = {one["name"]: one["severity"] for one in verified.body["checks"] if not one["passed"]}
    assert verified.code == 0
    wanted = {"completed_after_created": "WARN"} | ({} if is_known else {"user_known": "WARN"})
    assert {name: severity for name, severity in failed.items() if name != "indexes_exist"} == wanted
    assert cli("plan", "contest", "--json").body["planned"] == 0
    assert cli("revert", "contest", "--plan-id", applied.body["plan_id"]).code == 0
    undone = goaime.sessions.find_one()
    assert undone is not None and [*undone.items()] == [*old.items()]


def test_only_the_sessions_of_a_user_are_repaired(cli: Terminal, goaime: Goaime) -> None:
    maker = Maker(seed_session()["_id"].generation_time, 1)
    others = [maker.document(username=name) for name in ("mary@example.com", "goAmy", "somebody")]
    for one in others:
        del one["shuffle"]
    goaime.sessions.insert_many(others)
    applied = cli("apply", "contest", "--username", "goAmy", "--username", "mary@example.com", "--json")
    assert (applied.code, applied.body["read"], applied.body["outcomes"]["applied"]) == (0, 2, 2)
    left = goaime.sessions.find({"shuffle": {"$exists": False}})
    assert [one["username"] for one in left] == ["somebody"]
    assert cli("verify", "contest", "--username", "goAmy", "--json").body["read"] == 1
    nobody = cli("plan", "contest", "--username", "no one")
    assert (nobody.code, "1 of 1 users have no session" in nobody.err) == (2, True)
    undone = cli("revert", "contest", "--plan-id", applied.body["plan_id"], "--json")
    assert (undone.code, undone.body["undoable"]) == (0, 2)


def test_one_session_is_repaired_alone(cli: Terminal, goaime: Goaime) -> None:
    goaime.sessions.insert_many([seed_session(), seed_session() | {"_id": 2, "session_id": "other"}])
    planned = cli("apply", "contest", "--session", "other", "--dry-run", "--json")
    applied = cli("apply", "contest", "--plan-id", planned.body["plan_id"], "--json")
    assert (applied.code, applied.body["outcomes"]["applied"]) == (0, 1)
    assert [one["_id"] for one in goaime.sessions.find({"shuffle": False})] == [2]
