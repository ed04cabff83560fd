"""The migration as a person does it in a terminal: plan, apply, rehearse, contract, and take it back."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from session_assets_tests.flow.scenario import Guide
from session_assets_tests.web.acceptance.terminal import Terminal


def test_the_way_there_and_back_in_a_terminal(cli: Terminal, stored: Guide) -> None:
    rows, wanted = stored.rows(), stored.wanted()
    found = cli("verify", "flow", "--json")
    assert found.code == 0  # nobody has begun: what is to do warns
    todo = found.check("rows_follow_their_session")
    assert (todo["passed"], todo["severity"]) == (False, "WARN") and todo["count"] > 0
    plan = cli("plan", "flow", "--json")
    assert plan.code == 0
    assert plan.body["reasons"] == dict(stored.planted.reasons)
    assert sum(plan.body["classes"].values()) == plan.body["read"] == 600
    assert stored.rows() == rows, "a plan writes nothing"
    assert not stored.all("SELECT FROM pg_class WHERE relname LIKE 'session_assets%'")
    lists = [pl.read_parquet(path) for path in sorted(Path(plan.body["lists"]["changes"]).glob("*.parquet"))]
    planned = {
        (table, key, flow) for table, key, flow in pl.concat(lists).select("table", "key", "after").iter_rows() if flow
    }
    assert planned <= set(wanted)

    applied = cli("apply", "flow", "--json")
    assert applied.code == 0, applied
    assert stored.found() == wanted
    refused = cli("apply", "flow/contract", "--json")
    assert refused.code == 1
    assert {one["name"] for one in refused.body["gates"]} == {"rehearsal_missing", "staging"}
    assert cli("apply", "flow/rehearsal").code == 0
    assert [one["name"] for one in cli("plan", "flow/contract", "--json").body["gates"]] == ["staging"]
    contract = cli("apply", "flow/contract", "--waive-staging", "a test", "--json")
    assert contract.code == 0, contract
    again = cli("apply", "flow/contract", "--json")  # as somebody does whose connection was lost at the very end
    assert (again.code, again.body["plan_id"]) == (0, contract.body["plan_id"])
    assert cli("verify", "flow").code == 0
    assert cli("plan", "flow").code == 2
    dry = cli("revert", "flow", "--plan-id", contract.body["plan_id"], "--dry-run", "--json")
    undone = cli("revert", "flow", "--plan-id", contract.body["plan_id"], "--json")
    assert dry.body["classes"] == undone.body["classes"]
    assert cli("revert", "flow", "--plan-id", applied.body["plan_id"]).code == 0
    assert {table: stored.all(f"SELECT count(*) FROM {table}") for table in rows} == {
        table: [(len(found),)] for table, found in rows.items()
    }
    assert stored.url.split("@")[0].rsplit(":", 1)[1] not in "".join(one.out for one in (applied, contract, undone))
