"""Records never outrank the tables, seen from a terminal: what somebody edited by hand is found before anything is said (E3)."""

from __future__ import annotations

from session_assets_tests.flow.scenario import Guide
from session_assets_tests.web.acceptance.terminal import Terminal


def test_a_backfill_whose_rows_were_emptied_is_done_again_and_undone_whatever_its_record_says(
    cli: Terminal, stored: Guide
) -> None:
    assets = "SELECT id, flow_id FROM assets ORDER BY 1"
    wanted, before = stored.wanted(), stored.all(assets)
    assert cli("apply", "flow").code == 0
    ours = "SELECT key1 FROM session_assets_flow_archive_assets WHERE filled_flow_id IS NOT NULL"
    stored.run(f"UPDATE assets SET flow_id = NULL WHERE id IN ({ours}); DELETE FROM session_assets_flow_archive_assets")
    step = cli("apply", "flow", "--json").body["plan_id"]
    filled = {row[:2] for row in wanted if row[2]}
    assert {row[:2] for row in stored.found() if row[2]} == filled
    stored.run("UPDATE session_assets_flow_steps SET state = 'undone' WHERE kind = 'backfill'")
    undone = cli("revert", "flow", "--plan-id", step)
    assert "nothing to undo" not in undone.out, undone
    assert stored.all(assets) == before


def test_values_that_somebody_deleted_from_the_archive_are_told_before_and_after_the_undo(
    cli: Terminal, stored: Guide
) -> None:
    assert cli("apply", "flow").code == 0
    assert cli("apply", "flow/rehearsal").code == 0
    step = cli("apply", "flow/contract", "--waive-staging", "a test", "--json").body["plan_id"]
    archive = "session_assets_flow_archive_access_audit_log"
    lost = stored.one(f"SELECT count(old_value) FROM {archive}")
    stored.run(f"CREATE TABLE backup AS SELECT * FROM {archive}; TRUNCATE {archive}")
    dry = cli("revert", "flow", "--plan-id", step, "--dry-run", "--json").body
    undone = cli("revert", "flow", "--plan-id", step, "--json")
    assert (undone.code, dry["classes"]) == (1, undone.body["classes"])
    for body in (dry, undone.body):
        assert (body["left"], body["refused"]) == ({"lost_from_archive": lost}, lost)
        assert f"access_audit_log: {lost:,} values" in body["refused_sample"][0]
    verified = cli("verify", "flow", "--json")
    check = verified.check("archive_holds_every_value")
    assert (verified.code, check["passed"], check["severity"], check["count"]) == (1, False, "ERROR", lost)
    stored.run(
        "UPDATE access_audit_log t SET session_id = b.old_value FROM backup b WHERE t.id = b.key1 AND b.old_value IS NOT NULL"
    )
    assert cli("verify", "flow").code == 0


def test_an_undo_that_leaves_a_condition_missing_names_the_statement_and_exits_1(cli: Terminal, stored: Guide) -> None:
    stored.run(
        "ALTER TABLE discovery_flows ADD CONSTRAINT once UNIQUE NULLS NOT DISTINCT (import_session_id, created_at)"
    )
    assert cli("apply", "flow").code == 0
    assert cli("apply", "flow/rehearsal").code == 0
    step = cli("apply", "flow/contract", "--waive-staging", "a test", "--json").body["plan_id"]
    stored.run(
        "INSERT INTO discovery_flows (flow_id, client_account_id, engagement_id, user_id, flow_name)"
        " SELECT gen_random_uuid(), gen_random_uuid(), gen_random_uuid(), 'newer', 'newer' FROM generate_series(1, 2)"
    )
    dry = cli("revert", "flow", "--plan-id", step, "--dry-run", "--json").body
    undone = cli("revert", "flow", "--plan-id", step, "--json")
    assert (undone.code, dry["left"]) == (1, undone.body["left"])
    assert undone.body["left"] == {"missing": 1, "not_unique": 2}
    (statement,) = [one for one in undone.body["refused_sample"] if "ADD CONSTRAINT" in one]
    stored.run("DELETE FROM discovery_flows WHERE flow_name = 'newer'")
    verified = cli("verify", "flow", "--json")
    assert (verified.code, verified.check("conditions_are_restored")["sample"]) == (1, [statement])
    stored.run(statement.partition(": ")[2])
    assert cli("verify", "flow").code == 0
