"""What is outstanding after a command is said, and seen in its exit code."""

from __future__ import annotations

from datetime import timedelta

import psycopg

from session_assets_tests.web.acceptance.documents import DAYS, Web, dump, fill, wrong_sessions
from session_assets_tests.web.acceptance.terminal import Terminal


def test_a_plan_that_is_applied_again_says_what_it_wrote_and_how_to_undo_it(cli: Terminal, web: Web) -> None:
    wiped = fill(web, 12)
    before = dump(web)
    plan_id = cli("plan", "web", "--json").body["plan_id"]
    cli.killed_at("apply.before_finish@3", "apply", "web", "--plan-id", plan_id)
    for _ in range(2):
        again = cli("apply", "web", "--plan-id", plan_id, "--json")
        assert (again.code, again.body["outcomes"]["applied"]) == (0, len(wiped)), again
    assert f"To undo: session-assets revert web --plan-id {plan_id}" in cli("apply", "web", "--plan-id", plan_id).out
    undone = cli("revert", "web", "--plan-id", plan_id, "--json")
    assert (undone.code, undone.body["undoable"]) == (0, len(wiped))
    assert dump(web) == before


def test_an_apply_that_was_killed_before_it_could_report_is_named_by_the_next(cli: Terminal, web: Web) -> None:
    wiped = fill(web, 12)
    plan_id = cli("plan", "web", "--json").body["plan_id"]
    cli.killed_at("apply.before_report", "apply", "web")
    again = cli("apply", "web")
    assert again.code == 0
    assert f"plan {plan_id} was stopped after its last write: {len(wiped)} documents" in again.out, again
    assert f"session-assets revert web --plan-id {plan_id}" in again.out
    assert wrong_sessions(web) == {}


def test_conflicts_wait_and_failed_rows_exit_1_with_the_rule(cli: Terminal, web: Web) -> None:
    edited, refused, *_ = sorted(fill(web, 12))
    cli("plan", "web")
    web.sessions.update_one({"session_id": edited}, {"$set": {"note": "mine"}})
    waits = cli("apply", "web", "--partition", "2025-03-01")
    assert waits.code == 0, waits
    assert "1 documents wait" in waits.out
    rule = {"$nor": [{"session_id": refused, "event_count": {"$gt": 0}}]}
    web.command("collMod", "sessions", validator=rule)
    failed = cli("apply", "web", "--json")
    assert (failed.code, failed.body["outcomes"]["failed"]) == (1, 1), failed
    (reason,) = failed.body["errors"].values()
    assert '"$gt": 0' in reason


def test_an_apply_that_plans_first_says_which_rows_failed_and_how_to_undo_the_others(cli: Terminal, web: Web) -> None:
    """It said only `DagsterAssetCheckFailedError`, and nothing of the plan that it had just written."""
    refused, *written = sorted(fill(web, 12))
    web.command("collMod", "sessions", validator={"$nor": [{"session_id": refused, "event_count": {"$gt": 0}}]})
    failed = cli("apply", "web")
    assert failed.code == 1
    assert "not written" in failed.out and '"$gt": 0' in failed.out, failed
    assert "To undo: session-assets revert web --plan-id" in failed.out
    assert "Dagster" not in failed.out + failed.err
    assert set(wrong_sessions(web)) == {refused} and written


def test_an_apply_of_two_plans_names_the_undo_of_both(cli: Terminal, web: Web) -> None:
    fill(web, 12)
    days = [f"{day:%Y-%m-%d}" for day in DAYS[:2]]
    plan_ids = [cli("plan", "web", "--partition", day, "--json").body["plan_id"] for day in days]
    applied = cli("apply", "web")
    assert applied.code == 0
    for plan_id in plan_ids:
        assert f"To undo: session-assets revert web --plan-id {plan_id}" in applied.out, applied


def test_nothing_to_undo_is_said_after_looking(cli: Terminal, web: Web, dagster_url: str) -> None:
    wiped = fill(web, 12)
    plan_id = cli("plan", "web", "--json").body["plan_id"]
    undo = ("revert", "web", "--plan-id", plan_id)
    never = cli(*undo)
    assert never.code == 0
    assert "nothing to undo, it was never applied" in never.out
    assert f"{len(wiped)} are as before the plan, 0 show its change" in never.out
    cli("apply", "web")
    backup = list(web.sessions.find())
    assert cli(*undo).code == 0
    assert "it is undone already" in cli(*undo, "--dry-run").out
    web.sessions.delete_many({})
    web.sessions.insert_many(backup)
    for dry_run in ((), ("--dry-run",)):
        disagrees = cli(*undo, *dry_run, "--json")
        assert (disagrees.code, disagrees.body["looked"]["after"]) == (1, len(wiped)), disagrees
        with psycopg.connect(dagster_url.replace("+psycopg2", "")) as connection:
            query = (
                "SELECT status FROM runs WHERE run_id = %(run)s UNION ALL SELECT event FROM event_logs"
                " WHERE run_id = %(run)s AND event LIKE '%%' || %(said)s || '%%' LIMIT 2"
            )
            said = f"{len(wiped):,} rows are left as they are"
            found = connection.execute(query, {"run": disagrees.body["run_id"], "said": said}).fetchall()
        assert (len(found), found[0]) == (2, ("FAILURE",))  # the UI is not green either, and says how many
    assert "the store disagrees" in cli(*undo).out


def test_one_session_whose_repair_is_too_large_is_quarantined_alone(cli: Terminal, web: Web) -> None:
    wiped = fill(web, 12, days=DAYS[:1])
    large = sorted(wiped)[0]
    event = {"session_id": large, "event_type": "pageview"}
    web.events.insert_many(
        [
            event | {"_id": f"big{number}", "timestamp": DAYS[0] + timedelta(hours=1), "page": str(number) * (1 << 20)}
            for number in range(10, 27)
        ]
    )
    found = cli("verify", "web", "--json")
    assert (found.body["reasons"]["too_large"], found.check("nothing_held_back")["sample"]) == (1, [large]), found
    applied = cli("apply", "web", "--json")
    assert (applied.code, applied.body["outcomes"]["applied"]) == (0, len(wiped) - 1), applied
    assert applied.body["reasons"]["too_large"] == 1
    assert wrong_sessions(web).keys() == {large}


def test_an_empty_session_id_is_no_id(cli: Terminal, web: Web) -> None:
    fill(web, 6, wrong=None)
    web.sessions.insert_many([{"session_id": "", "event_count": 0, "pages": []} for _ in range(2)])
    web.events.insert_one({"session_id": "", "timestamp": DAYS[0], "page": "/a", "event_type": "pageview"})
    found = cli("verify", "web", "--json")
    assert found.body["reasons"] == {"no_session_id": 2}, found
    assert found.check("events_have_session_id")["count"] == 1
    assert found.check("events_have_session")["count"] == 0
    assert cli("verify", "web", "--session", "", "--json").code == 2
    refused = cli("index", "web", "--unique")
    assert (refused.code, "empty session_id" in refused.err) == (2, True)
