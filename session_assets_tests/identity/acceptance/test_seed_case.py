"""The seed's example: 20 sessions, 15 of which need a GUID."""

from __future__ import annotations

from datetime import UTC, datetime

from session_assets.stores.cosmos import plain
from session_assets_tests.identity.scenario import EMAIL, GUID, Cosmos, session, user
from session_assets_tests.web.acceptance.terminal import Terminal


def fill(stored: Cosmos) -> None:
    documents = [session(EMAIL if number < 15 else GUID, number) for number in range(20)]
    stored.fill(documents, [user(EMAIL.lower())])


def test_fifteen_are_updated_and_a_second_run_plans_nothing(cli: Terminal, stored: Cosmos) -> None:
    fill(stored)
    before = {one["id"]: one for one in stored.stored()}
    found = cli("verify", "identity", "--json")
    assert (found.code, found.check("user_ids_canonical")["count"]) == (1, 15), found

    began = datetime.now(UTC)
    applied = cli("apply", "identity", "--batch-size", "25", "--json")
    assert applied.code == 0, applied
    assert applied.body["outcomes"] == {"applied": 15, "already_applied": 0, "conflicted": 0, "failed": 0}
    after = stored.stored()
    assert len(after) == 20
    for one in after:
        original = before[one["id"]]
        if original["user_id"] == GUID:
            assert one == original
            continue
        at = datetime.fromisoformat(one["backfill_updated_at"])
        assert began <= at <= datetime.now(UTC)
        assert one == {
            **original,
            "user_id": GUID,
            "user_email": EMAIL,
            "user_id_original": EMAIL,
            "backfill_updated_at": one["backfill_updated_at"],
        }
    assert cli("apply", "identity", "--json").body["planned"] == 0
    healthy = cli("verify", "identity", "--json")
    assert (healthy.code, [one for one in healthy.body["checks"] if not one["passed"]]) == (0, [])

    plan_id = applied.body["plan_id"]
    looked = cli("revert", "identity", "--plan-id", plan_id, "--dry-run", "--json")
    assert (looked.body["undoable"], looked.body["refused"], stored.stored()) == (15, 0, after)
    assert cli("revert", "identity", "--plan-id", plan_id, "--json").code == 0
    assert {one["id"]: plain(one) for one in stored.stored()} == before
    assert list(stored.stored()[0]) == list(before[stored.stored()[0]["id"]])


def test_the_terminal_tells_what_the_old_log_told(cli: Terminal, stored: Cosmos) -> None:
    fill(stored)
    stored.fill([session("gone@example.com", 20)], [])
    before = stored.stored()
    looked = cli("apply", "identity", "--dry-run", "--batch-size", "25")
    assert looked.code == 0, looked
    assert "Found 16 sessions needing GUID updates out of 21 total" in looked.out
    assert "skipped 1: No auth record found for email (no_auth_record)" in looked.out
    assert looked.out.count("Would update session") == 15
    assert f"m***@example.com → {GUID}".casefold() in looked.out.casefold()
    assert stored.stored() == before

    told = cli("apply", "identity", "--batch-size", "10").out
    assert "Found 16 sessions needing GUID updates out of 21 total" in told
    for line in ("Processing batch 1/2 (10 sessions)", "Batch 2 complete: 5 updated, 0 failed"):
        assert line in told
    assert told.count("Updated session") == 15
    for line in ("Total sessions processed: 15", "Successfully updated: 15", "Failed: 0"):
        assert line in told
    assert EMAIL.casefold() not in (looked.out + told).casefold()
