"""Deletes that leave the content nowhere: only from a plan that an earlier command recorded, and never without events."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from bson import ObjectId

from session_assets_tests.web.acceptance.documents import DAYS, Web, add_duplicates, add_orphans, dump, fill
from session_assets_tests.web.acceptance.terminal import Terminal
from session_assets_tests.web.acceptance.test_two_at_once import Paused


def test_without_events_no_session_is_deleted(cli: Terminal, web: Web) -> None:
    add_orphans(web, 50)
    before = dump(web)
    for _ in range(2):
        answer = cli("apply", "web/orphans", "--json")
        assert answer.code == 1, answer
        assert f"{web.name}.events is empty or missing" in answer.body["error"]
        assert dump(web) == before
    assert cli("plan", "web/orphans").code == 1


@pytest.mark.parametrize(("loop", "add"), [("web/orphans", add_orphans), ("web/duplicates", add_duplicates)])
def test_what_is_planned_now_is_applied_by_the_next_command(cli: Terminal, web: Web, loop: str, add: object) -> None:
    fill(web, 6, wrong=None)
    right = dump(web)
    add(web)  # type: ignore[operator]
    before = dump(web)
    planned = cli("apply", loop, "--json")
    assert (planned.code, planned.body["planned"]) == (1, 4), planned
    assert "planned, not applied" in planned.body["error"]
    assert planned.body["plan_id"] in planned.body["error"]
    assert dump(web) == before
    applied = cli("apply", loop, "--json")
    assert (applied.code, applied.body["plan_id"]) == (0, planned.body["plan_id"]), applied
    assert applied.body["outcomes"]["applied"] == 4
    assert dump(web) == right
    nothing = cli("apply", loop, "--json")
    assert (nothing.code, nothing.body["planned"]) == (0, 0)


@pytest.mark.parametrize("loop", ["web/orphans", "web/duplicates"])
def test_events_that_are_lost_after_the_plan_stop_the_apply(cli: Terminal, web: Web, loop: str) -> None:
    fill(web, 6, wrong=None)
    (add_orphans if loop == "web/orphans" else add_duplicates)(web)
    plan_id = cli("plan", loop, "--json").body["plan_id"]
    web.events.drop()
    before = dump(web)
    for named in ((), ("--plan-id", plan_id)):
        answer = cli("apply", loop, *named, "--json")
        assert answer.code == 1, answer
        assert "events is empty or missing" in answer.body["error"]
    assert dump(web) == before


def test_events_that_are_lost_during_the_apply_keep_every_session(cli: Terminal, web: Web, tmp_path: Path) -> None:
    fill(web, 6, wrong=None)
    add_orphans(web)
    cli("plan", "web/orphans")
    paused = Paused(cli, tmp_path, "apply.after_intent", "apply", "web/orphans", "--json")
    web.events.drop()
    before = dump(web)
    answer = paused.release()
    assert (answer.code, answer.body["outcomes"]["failed"]) == (1, 4), answer
    assert all("empty or missing" in reason for reason in answer.body["errors"].values())
    assert dump(web) == before


def test_an_orphan_that_is_too_young_says_by_which_of_its_times(cli: Terminal, web: Web) -> None:
    fill(web, 6, wrong=None)
    add_orphans(web, 2)
    now = datetime.now(UTC)
    empty = {"event_count": 0, "pages": []}
    web.sessions.insert_many(
        [
            {"_id": ObjectId(), "session_id": "restored", **empty, "created_at": DAYS[0]},
            {"_id": ObjectId("60" * 12), "session_id": "new", **empty, "created_at": now},
            {"_id": "text", "session_id": "undated", **empty},
        ]
    )
    planned = cli("plan", "web/orphans")
    assert "2 changes" in planned.out, planned
    for words in ("Not planned: 1 orphans stay: by the time in their _id", "restored", "their created_at", "undated"):
        assert words in planned.out, planned.out
    body = cli("plan", "web/orphans", "--json").body
    assert body["reasons"] == {"orphan_session": 5, "young_id": 1, "young_created_at": 1, "no_time": 1}


def test_sessions_whose_events_were_rotated_away_stay(cli: Terminal, web: Web) -> None:
    fill(web, 6, wrong=1)
    newest = f"65{5:022x}"
    web.events.delete_many({"session_id": {"$ne": newest}})
    before = dump(web)
    planned = cli("plan", "web/orphans")
    assert (planned.code, "0 changes" in planned.out) == (0, True), planned
    assert "Not planned: 5 orphans stay: they are older than the first event" in planned.out
    applied = cli("apply", "web/orphans", "--json")
    assert (applied.code, applied.body["planned"]) == (0, 0), applied
    assert dump(web) == before
