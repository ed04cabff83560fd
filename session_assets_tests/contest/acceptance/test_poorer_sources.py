"""From a terminal: attempts or problems that are gone cost no document its analytics, and a repeated session_id is told."""

from __future__ import annotations

from typing import Any

import pytest
from pymongo.database import Database

from session_assets.embedded.contest_sample import seed_session
from session_assets_tests.web.acceptance.terminal import Terminal

Goaime = Database[dict[str, Any]]


def only(goaime: Goaime) -> dict[str, Any]:
    document = goaime.sessions.find_one()
    assert document is not None
    return document


@pytest.mark.parametrize("left", [0, 5], ids=["emptied", "cut"])
def test_attempts_that_are_gone_cost_no_analytics(cli: Terminal, goaime: Goaime, left: int) -> None:
    goaime.sessions.insert_one(seed_session())
    assert cli("apply", "contest", "--json").body["outcomes"]["applied"] == 1
    goaime.sessions.update_one({}, {"$push": {"problems_attempted": {"$each": [], "$slice": left}}})
    before = only(goaime)
    assert (len(before["problems_attempted"]), len(before["topic_performance"])) == (left, 30)

    found = cli("verify", "contest", "--json")
    held = found.check("nothing_held_back")
    assert (held["passed"], held["severity"], held["count"]) == (False, "WARN", 1)
    assert (held["sample"], [*held["full_list"]]) == ([before["session_id"]], ["would_shrink"])
    assert "SESSION_ASSETS_ALLOW_SHRINK=true" in held["description"]
    applied = cli("apply", "contest", "--json")
    assert (applied.code, applied.body["classes"]["listed"], applied.body["planned"]) == (0, 1, 0)
    assert only(goaime) == before

    allowed = cli("apply", "contest", "--json", SESSION_ASSETS_ALLOW_SHRINK="true")
    assert (allowed.code, allowed.body["outcomes"]["applied"]) == (0, 1)
    assert only(goaime)["performance_metrics"]["total_metrics"]["total_attempted"] == left
    assert cli("revert", "contest", "--plan-id", allowed.body["plan_id"]).code == 0
    assert only(goaime) == before


def test_attempts_that_are_gone_with_the_count_cost_no_topics(cli: Terminal, goaime: Goaime) -> None:
    """The count was missing or lowered too, and half the topics were lost."""
    goaime.sessions.insert_many([seed_session() | {"_id": number, "session_id": str(number)} for number in range(2)])
    assert cli("apply", "contest", "--json").body["outcomes"]["applied"] == 2
    goaime.sessions.update_many({}, {"$push": {"problems_attempted": {"$each": [], "$slice": 5}}})
    left = {"$sum": "$problems_attempted.time_spent_ms"}
    goaime.sessions.update_many({}, [{"$set": {"total_attempted": 5, "score": 0, "total_time_ms": left}}])
    goaime.sessions.update_one({"_id": 0}, {"$unset": {"total_attempted": 1}})
    before = list(goaime.sessions.find())
    applied = cli("apply", "contest", "--json")
    assert (applied.code, applied.body["reasons"]["would_shrink"], applied.body["planned"]) == (0, 2, 0)
    assert list(goaime.sessions.find()) == before


@pytest.mark.parametrize("is_repaired", [False, True], ids=["before-a-repair", "after-a-repair"])
def test_problems_under_another_name_cost_no_topics(cli: Terminal, goaime: Goaime, is_repaired: bool) -> None:
    goaime.sessions.insert_one(seed_session())
    if is_repaired:
        assert cli("apply", "contest", "--json").body["outcomes"]["applied"] == 1
        goaime.sessions.update_one({}, {"$unset": {"problems_attempted.$[].topics": 1}})
    before = only(goaime)
    goaime.problems.rename("problem_bank")
    applied = cli("apply", "contest", "--json")
    assert (applied.code, applied.body["reasons"].get("would_shrink"), applied.body["planned"]) == (1, 1, 0)
    assert "has no problems" in applied.out + applied.err
    assert only(goaime) == before

    goaime.problem_bank.rename("problems")
    again = cli("apply", "contest", "--json")
    assert (again.code, again.body["outcomes"]["applied"]) == (0, 1)
    assert len(only(goaime)["topic_performance"]) == 30


def test_problems_whose_ids_nobody_understands_are_no_evidence(cli: Terminal, goaime: Goaime) -> None:
    goaime.sessions.insert_one(seed_session())
    goaime.problems.update_many({}, {"$rename": {"contest_id": "contestId"}})
    found = cli("verify", "contest", "--json")
    assert (found.code, found.body["reasons"]["unknown_contest"]) == (1, 1)
    assert {
        one["no_evidence"] for one in found.body["checks"] if one["name"] in ("required_fields", "topics_match")
    } == {True}
    applied = cli("apply", "contest", "--json")
    assert applied.code == 1
    assert only(goaime) == seed_session()
    goaime.problems.update_many({}, {"$rename": {"contestId": "contest_id"}})
    assert cli("apply", "contest", "--json").body["outcomes"]["applied"] == 1


def test_a_session_id_of_several_documents_is_told(cli: Terminal, goaime: Goaime) -> None:
    goaime.sessions.insert_many([seed_session() | {"_id": number} for number in range(3)])
    assert cli("apply", "contest", "--json").body["outcomes"]["applied"] == 3
    found = cli("verify", "contest", "--json")
    check = found.check("one_document_per_session")
    assert (found.code, check["severity"], check["passed"], check["count"]) == (0, "WARN", False, 3)
    assert check["sample"] == [seed_session()["session_id"]]
    assert [*check["full_list"]] == ["duplicate_session"]


def test_users_under_another_name_are_an_error(cli: Terminal, goaime: Goaime) -> None:
    goaime.sessions.insert_one(seed_session())
    goaime.users.rename("people")
    found = cli("verify", "contest", "--json")
    assert (found.code, "has no users" in found.body["lack"]["text"]) == (1, True), found
    assert cli("apply", "contest").code == 1
    assert only(goaime) == seed_session()


def test_users_of_whom_none_has_a_name_are_no_evidence(cli: Terminal, goaime: Goaime) -> None:
    """Their `username` had another name: `apply` wrote `user_id: null` into each session, and verify passed then."""
    goaime.sessions.insert_one(seed_session())
    goaime.users.insert_one({"_id": "u1", "name": seed_session()["username"]})
    found = cli("verify", "contest", "--json")
    assert found.code == 1, found
    assert "1 of 1 documents of users" in found.body["lack"]["text"] and "username" in found.body["lack"]["text"]
    refused = cli("apply", "contest")
    assert refused.code in (1, 2) and "no evidence" in refused.err, refused
    assert only(goaime) == seed_session()
    goaime.users.update_many({}, {"$rename": {"name": "username"}})
    assert cli("plan", "contest").code == 0
    assert cli("apply", "contest", "--json").body["outcomes"]["applied"] == 1
    assert only(goaime)["user_id"] == "u1"


def test_a_plan_that_saw_too_little_is_not_there_to_be_applied_later(cli: Terminal, goaime: Goaime) -> None:
    """It was recorded before it was refused: once a verify saw all again, `apply` wrote what it had planned half blind."""
    goaime.sessions.insert_one(seed_session())
    goaime.users.insert_one({"_id": "u1", "name": seed_session()["username"]})
    refused = cli("plan", "contest", "--json")
    assert refused.code and refused.body["plan_id"] is None, refused
    goaime.users.update_many({}, {"$rename": {"name": "username"}})
    cli("verify", "contest")
    applied = cli("apply", "contest", "--json")
    assert applied.body["outcomes"]["applied"] == 1, applied
    assert only(goaime)["user_id"] == "u1"


def test_what_nobody_understands_is_told_with_field_types_and_an_example(cli: Terminal, goaime: Goaime) -> None:
    goaime.sessions.insert_many([seed_session() | {"_id": "odd", "created_at": 1735689600000}, {"_id": "none"}])
    found = cli("verify", "contest", "--json")
    text = found.body["lack"]["text"]
    assert (found.code, found.body["unreadable"]) == (1, 1), found
    assert "sessions.created_at: 1 long (for example in _id odd), 1 missing (for example in _id none)" in text, text
    assert "sessions.username: 1 missing (for example in _id none), 1 string" in text, text
