"""Thousands of documents of every kind: each class is counted exactly, what can be repaired is, and nothing else is touched."""

from __future__ import annotations

import json
from collections import Counter
from datetime import UTC, datetime
from typing import Any

import pytest

from session_assets.embedded.identity_sample import Planted, sample
from session_assets_tests.counts import FULL, times
from session_assets_tests.identity.scenario import Cosmos, Document
from session_assets_tests.web.acceptance.conftest import Open
from session_assets_tests.web.acceptance.terminal import Terminal

SESSIONS = times(200, 5000)


def expected(planted: Planted, backfilled_at: str) -> list[Document]:
    """The documents as they shall be, worked out from what was planted."""
    result: list[Document] = []
    for one in planted.documents:
        guid = planted.guids.get(one["id"])
        if guid is not None:
            mail = one["user_id"]
            audit = {"user_email": mail, "user_id_original": mail, "backfill_updated_at": backfilled_at}
            one = {**one, "user_id": guid, **audit}
        result.append(one)
    return sorted(result, key=lambda one: (one["id"], str(one.get("user_id"))))


def counted(body: dict[str, Any]) -> dict[str, int]:
    return {reason: count for reason, count in body["reasons"].items() if count}


@pytest.mark.parametrize("path", ["/user_id", "/id"])
def test_all_classes_are_counted_exactly_and_none_is_touched_that_should_not_be(
    open_terminal: Open, cosmos: dict[str, str], path: str
) -> None:
    stored = Cosmos.create(path)
    cli: Terminal = open_terminal(None, **cosmos)
    planted = sample(SESSIONS if FULL or path == "/user_id" else SESSIONS // 4, seed=7, now=datetime.now(UTC))
    stored.fill(planted.documents, planted.auth)
    kept = Counter(json.dumps(one, sort_keys=True) for one in stored.stored())

    plan = cli("plan", "identity", "--json")
    assert plan.code == 0, plan
    assert plan.body["read"] == len(planted.documents)
    assert counted(plan.body) == planted.counts
    repairable = len(planted.reasons["email_resolved"])
    assert plan.body["planned"] == repairable
    assert plan.body["classes"]["not_applicable"] == len(planted.audits)
    assert sum(plan.body["classes"].values()) == plan.body["read"]
    assert Counter(json.dumps(one, sort_keys=True) for one in stored.stored()) == kept

    applied = cli("apply", "identity", "--json")
    assert (applied.code, applied.body["outcomes"]["applied"]) == (0, repairable), applied
    after = stored.stored()
    times_written = {one["backfill_updated_at"] for one in after if "backfill_updated_at" in one}
    assert len(times_written) == 1
    assert after == expected(planted, times_written.pop())

    found = cli("verify", "identity", "--json")
    assert counted(found.body) == {name: count for name, count in planted.counts.items() if name != "email_resolved"}
    assert found.code == 0, found
    assert {one["name"] for one in found.body["checks"] if not one["passed"]} == {"user_ids_canonical", "success_rate"}

    assert cli("revert", "identity", "--plan-id", plan.body["plan_id"], "--json").code == 0
    assert Counter(json.dumps(one, sort_keys=True) for one in stored.stored()) == kept
