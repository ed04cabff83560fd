"""What the checks find that a repair must not or cannot mend."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from session_assets.stores.cosmos_containers import write_all
from session_assets_tests.identity.scenario import EMAIL, GUID, Cosmos, session, user
from session_assets_tests.web.acceptance.terminal import Terminal

OTHER = "0b54ac0b-8d1f-4d2e-9a75-0a5f2b3f6c11"
APPLY = ("apply", "identity", "--json")


def failing(cli: Terminal) -> dict[str, int]:
    body = cli("verify", "identity", "--json").body
    return {one["name"]: one["count"] for one in body["checks"] if not one["passed"]}


def reasons(body: dict[str, Any]) -> dict[str, int]:
    return {name: count for name, count in body["reasons"].items() if count}


def test_a_session_that_is_gone_after_an_apply_is_named(cli: Terminal, stored: Cosmos) -> None:
    stored.fill([session(EMAIL, 1), session(EMAIL, 2)], [user(EMAIL.lower())])
    assert cli(*APPLY).code == 0
    assert failing(cli) == {}
    gone = session(EMAIL, 1)["id"]
    stored.sessions.account.run(stored.sessions.client.delete_item(gone, partition_key=GUID))
    found = cli("verify", "identity", "--json")
    assert found.check("sessions_conserved")["sample"] == [gone]
    assert found.code == 0


def test_a_shard_that_cannot_be_read_is_named_and_the_others_finish(cli: Terminal, stored: Cosmos) -> None:
    documents = [session(EMAIL, number) for number in range(40)]
    stored.fill(documents, [user(EMAIL.lower())])
    poisoned = documents[0]["id"][0]
    rest = [one["id"] for one in documents if one["id"][0] != poisoned]
    assert 0 < len(rest) < len(documents)
    partly = cli(*APPLY, SESSION_ASSETS_FAILPOINTS=f"identity.facts.{poisoned}=raise")
    assert partly.code == 1
    assert partly.body["failed_partitions"].keys() == {poisoned}
    assert sorted(one["id"] for one in stored.stored() if one["user_id"] == GUID) == sorted(rest)
    again = cli(*APPLY)
    assert (again.code, again.body["outcomes"]["applied"]) == (0, len(documents) - len(rest))
    assert {one["user_id"] for one in stored.stored()} == {GUID}


def test_audit_fields_are_held_against_auth(cli: Terminal, stored: Cosmos) -> None:
    stored.fill([session(EMAIL, 1), session(EMAIL, 2), session(GUID, 3)], [user(EMAIL.lower())])
    assert cli(*APPLY).code == 0
    first, second, _ = sorted(stored.stored(), key=lambda one: one["id"] == session(EMAIL, 3)["id"])
    write_all(stored.sessions, [{name: value for name, value in first.items() if name != "user_email"}])
    assert failing(cli) == {"audit_fields": 1}
    write_all(stored.sessions, [{**second, "user_email": "x@example.com", "user_id_original": "x@example.com"}])
    stored.fill([], [user("x@example.com", OTHER)])
    body = cli("verify", "identity", "--json").body
    assert reasons(body) == {"audit_incomplete": 1, "audit_inconsistent": 1}


def test_another_document_in_the_place_of_a_session_stops_its_move_alone(cli: Terminal, stored: Cosmos) -> None:
    taken = session(EMAIL, 1)
    others = [session(GUID, 1, status="closed"), {"id": session(EMAIL, 2)["id"], "type": "audit", "user_id": GUID}]
    unusable = [session(EMAIL, id=one) for one in ("..", "\ud800x")]
    stored.fill([taken, *others, *unusable, session(EMAIL, 2), session(EMAIL, 3)], [user(EMAIL.lower())])
    before = stored.stored()
    answer = cli(*APPLY)
    assert (answer.code, answer.body["outcomes"]["applied"]) == (0, 1), answer
    assert reasons(answer.body) == {"email_resolved": 1, "id_collision": 3, "unusable_id": 2}
    moved = session(EMAIL, 3)["id"]
    assert [one for one in stored.stored() if one["id"] != moved] == [one for one in before if one["id"] != moved]


def test_a_document_that_appears_in_the_place_after_the_plan_is_not_overwritten(cli: Terminal, stored: Cosmos) -> None:
    stored.fill([session(EMAIL, 1)], [user(EMAIL.lower())])
    assert cli("plan", "identity", "--json").body["planned"] == 1
    write_all(stored.sessions, [session(GUID, 1, status="closed")])
    before = stored.stored()
    assert cli(*APPLY).body["outcomes"]["conflicted"] == 1
    assert stored.stored() == before


def test_a_fold_that_would_lose_what_one_document_says_is_listed(cli: Terminal, stored: Cosmos) -> None:
    """A session made afresh under its e-mail after the move, by a client that keeps less."""
    stored.fill([session(EMAIL, 1, pages=["/a", "/b"], activity_count=9)], [user(EMAIL.lower())])
    assert cli(*APPLY).code == 0
    write_all(stored.sessions, [session(EMAIL, 1, pages=["/b"], activity_count=None)])
    before = stored.stored()
    answer = cli(*APPLY)
    assert (answer.code, reasons(answer.body), answer.body["planned"]) == (0, {"would_shrink": 2}, 0)
    assert stored.stored() == before
    found = cli("verify", "identity", "--json").check("ids_unique")
    assert (found["severity"], found["count"], "SESSION_ASSETS_ALLOW_SHRINK" in found["description"]) == (
        "WARN",
        2,
        True,
    )

    allowed = cli(*APPLY, SESSION_ASSETS_ALLOW_SHRINK="true")
    assert (allowed.code, allowed.body["outcomes"]["applied"]) == (0, 1)
    (one,) = stored.stored()
    assert (one["user_id"], one["pages"], one["activity_count"]) == (GUID, ["/b"], 9)


def test_a_fold_that_would_lower_a_number_or_empty_a_text_is_listed(cli: Terminal, stored: Cosmos) -> None:
    """Only two counts were compared: 100 requests became 3, a score of 9.5 became 0, and a note was lost."""
    fuller: list[dict[str, Any]] = [{"request_count": 100}, {"session_metadata": {"page_views": 50}}, {"notes": "call"}]
    poorer: list[dict[str, Any]] = [{"request_count": 3}, {"session_metadata": {"page_views": 2}}, {"notes": ""}]
    stored.fill([session(EMAIL, number, **one) for number, one in enumerate(fuller)], [user(EMAIL.lower())])
    assert cli(*APPLY).code == 0
    write_all(stored.sessions, [session(EMAIL, number, **one) for number, one in enumerate(poorer)])
    before = stored.stored()
    answer = cli(*APPLY)
    assert (answer.code, reasons(answer.body), answer.body["planned"]) == (0, {"would_shrink": 6}, 0)
    assert stored.stored() == before


def test_documents_of_an_unknown_type_are_unreadable(cli: Terminal, stored: Cosmos) -> None:
    """Sessions of type `Session` counted as documents that no rule is about: all checks passed, and none was judged."""
    sessions = [session(EMAIL, number, type="Session") for number in range(3)]
    stored.fill([*sessions, session(EMAIL, 4, type="audit")], [user(EMAIL.lower())])
    found = cli("verify", "identity", "--json")
    assert (found.code, found.body["unreadable"], found.body["not_applicable"]) == (1, 3, 1)
    assert "none of 3 documents" in found.body["lack"]["text"]
    assert found.check("other_documents")["count"] == 3
    named = cli("verify", "identity", "--json", IDENTITY_OTHER_TYPES="draft, Session")
    assert (named.code, named.body["unreadable"], named.body["not_applicable"]) == (0, 0, 4)


def test_one_session_alone(cli: Terminal, stored: Cosmos) -> None:
    stored.fill([session(EMAIL, 1), session(EMAIL, 2)], [user(EMAIL.lower())])
    chosen = session(EMAIL, 1)["id"]
    answer = cli("apply", "identity", "--session", chosen, "--json")
    assert (answer.code, answer.body["outcomes"]["applied"]) == (0, 1), answer
    assert {one["id"]: one["user_id"] for one in stored.stored()}[chosen] == GUID
    assert "Found 0 sessions needing" in cli("plan", "identity", "--session", chosen).out
    again = cli("apply", "identity", "--plan-id", answer.body["plan_id"]).out
    assert f"Session {chosen} stood under its GUID already" in again
    assert "Successfully updated: 1" in again  # by this plan, however often it is applied
    assert sum(one["user_id"] == EMAIL for one in stored.stored()) == 1


def test_a_summary_is_the_same_for_a_guid_and_for_its_email(cli: Terminal, stored: Cosmos) -> None:
    recent = datetime.now(UTC).isoformat()
    twice = [session(user_id, 2, created_at=recent) for user_id in (EMAIL, GUID)]  # half-moved
    stored.fill([session(EMAIL, 1, created_at=recent), *twice], [user(EMAIL.lower())])
    answers = [cli("summary", asked, "--json") for asked in (GUID, EMAIL)]
    assert [one.code for one in answers] == [0, 0], answers
    by_guid, by_email = (one.body["summary"] for one in answers)
    assert by_guid == by_email
    assert (by_guid["total_sessions"], by_guid["total_requests"]) == (2, 4)
    assert EMAIL not in answers[1].out
