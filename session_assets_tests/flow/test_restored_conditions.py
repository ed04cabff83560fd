"""The undo of contract ends where rows do not hold for what was on the old column: it says so before, and names it after."""

from __future__ import annotations

from session_assets.flow.model import BACKFILL
from session_assets.stores.flow_migration import Flow
from session_assets_tests.flow.killed import Work, run
from session_assets_tests.flow.scenario import Guide, contracted, downgraded
from session_assets_tests.flow.test_way_back import step

_COMPOSITE = """
    ALTER TABLE data_import_sessions ADD UNIQUE (id, client_account_id);
    ALTER TABLE assets DROP CONSTRAINT assets_session_id_fkey, ADD CONSTRAINT of_client
        FOREIGN KEY (session_id, client_account_id) REFERENCES data_import_sessions (id, client_account_id);
"""
_CONDITIONS = """
    UPDATE access_audit_log SET details = '{}' WHERE session_id IS NULL;
    ALTER TABLE access_audit_log ADD CONSTRAINT one_of_two CHECK (num_nonnulls(session_id, details) = 1);
    ALTER TABLE discovery_flows ADD CONSTRAINT one_a_moment UNIQUE NULLS NOT DISTINCT (import_session_id, created_at);
    CREATE UNIQUE INDEX one_name ON assets (session_id, lower(name) COLLATE "C" DESC) WHERE asset_type IS NULL;
    UPDATE flow_deletion_audit SET session_id = md5('session 1')::uuid WHERE session_id IS NULL;
    ALTER TABLE flow_deletion_audit ALTER session_id SET NOT NULL;
    ALTER TABLE llm_usage_logs ADD CONSTRAINT once EXCLUDE USING btree (session_id WITH =, total_tokens WITH =);
"""
_SINCE = """
    INSERT INTO access_audit_log (id, user_id, action_type) VALUES (md5('a')::uuid, 'newer', 'read');
    INSERT INTO discovery_flows (id, flow_id, client_account_id, engagement_id, user_id, flow_name, created_at)
        SELECT md5('flow' || n)::uuid, md5('flow' || n)::uuid, md5('c')::uuid, md5('e')::uuid, 'newer', 'newer', '2025-01-01'
        FROM generate_series(1, 2) n;
    UPDATE assets SET name = 'HOST-5' WHERE name = 'host-105';
    INSERT INTO flow_deletion_audit (id, flow_id, deletion_type) VALUES (md5('d')::uuid, md5('f')::uuid, 'newer');
    UPDATE llm_usage_logs SET total_tokens = 6 WHERE id = 106;
"""
_MENDED = """
    DELETE FROM access_audit_log WHERE user_id = 'newer'; DELETE FROM discovery_flows WHERE flow_name = 'newer';
    UPDATE assets SET name = 'host-105' WHERE name = 'HOST-5';
    DELETE FROM flow_deletion_audit WHERE deletion_type = 'newer'; UPDATE llm_usage_logs SET total_tokens = 106 WHERE id = 106;
"""


def test_a_value_that_a_key_of_several_columns_forbids_stays_in_the_archive(guide: Guide) -> None:
    guide.run(_COMPOSITE)
    flow, catalogue = guide.flow(), guide.catalogue()
    contract = contracted(flow)
    session = guide.one("SELECT old_value::text FROM session_assets_flow_archive_assets ORDER BY 1 LIMIT 1")
    moved = guide.one("SELECT id::text FROM assets WHERE name = 'host-31'")
    guide.run(
        "UPDATE data_import_sessions SET parent_session_id = NULL;"
        f"DELETE FROM data_import_sessions WHERE id = '{session}';"
        f"UPDATE assets SET client_account_id = gen_random_uuid() WHERE id = '{moved}'"
    )
    keys = guide.all("SELECT key1::text FROM session_assets_flow_archive_assets WHERE old_value = %s", [session])
    for dry_run in (True, False):
        undone = flow.undo(contract, dry_run=dry_run)
        assert {(one.word, one.key) for one in undone["left"] if one.table == "assets"} == {
            ("session_deleted", key) for key in (moved, *(key for (key,) in keys))
        }
        assert undone["missing"] == []
    downgraded(flow)
    assert guide.catalogue() == catalogue
    kept = "SELECT count(*) FROM session_assets_flow_archive_assets a JOIN assets t ON t.id = a.key1 WHERE t.session_id IS NULL"
    assert guide.one(f"{kept} AND a.old_value IS NOT NULL") == len(keys) + 1


def test_what_rows_do_not_hold_for_is_told_before_and_named_until_it_is_there_again(guide: Guide) -> None:
    guide.run(_CONDITIONS)
    flow, catalogue, values = guide.flow(), guide.catalogue(), guide.values()
    contract = contracted(flow)
    guide.run(_SINCE)
    dry = flow.undo(contract, dry_run=True)
    assert run(Work(guide.url, "down", "flow.restore.access_audit_log=kill"))
    assert flow.state() == "half contracted"
    done = flow.undo(contract)
    flows = {guide.one("SELECT md5('flow' || %s)::uuid::text", [number]) for number in ("1", "2")}
    assert {(one.word, one.table, one.key, one.condition) for one in dry["left"]} == {
        ("check_fails", "access_audit_log", guide.one("SELECT md5('a')::uuid::text"), "one_of_two"),
        *(("not_unique", "discovery_flows", one, "one_a_moment") for one in flows),
        *(("not_unique", "assets", guide.one("SELECT md5(%s)::uuid::text", [f"asset {one}"]), "one_name") for one in (5, 105)),
        *(("not_unique", "llm_usage_logs", key, "once") for key in ("6", "106")),
        ("no_value", "flow_deletion_audit", guide.one("SELECT md5('d')::uuid::text"), "session_id"),
    }  # fmt: skip
    assert (done["left"], done["missing"]) == (dry["left"], dry["missing"])
    assert len(done["missing"]) == 5
    back = guide.values()
    assert {table: {*rows} - {*back[table]} for table, rows in values.items()} == {table: set() for table in values}
    assert flow.state() == "backfilled"
    assert flow.undo(contract)["nothing"]

    named = guide.findings()["conditions_are_restored"]
    assert not named.passed and {*done["missing"]} <= {*named.sample}
    guide.run(_MENDED)
    for one in done["missing"]:
        guide.run(one.partition(": ")[2])
    assert guide.findings()["conditions_are_restored"].passed
    downgraded(flow)
    assert (guide.catalogue(), guide.values()) == (catalogue, values)


def test_a_condition_that_did_not_come_back_is_tried_again_by_the_next_undo(guide: Guide) -> None:
    guide.run(_CONDITIONS)
    flow, catalogue = guide.flow(), guide.catalogue()
    contract = contracted(flow)
    guide.run(_SINCE)
    flow.undo(contract)
    contract = contracted(flow)
    guide.run(_MENDED)
    assert flow.undo(contract)["missing"] == []
    downgraded(flow)
    assert guide.catalogue() == catalogue


def test_rows_that_a_check_forbids_to_be_without_flow_keep_the_one_that_was_filled(guide: Guide) -> None:
    guide.run(
        "UPDATE assets SET session_id = md5('session 1')::uuid WHERE session_id IS NULL AND flow_id IS NULL;"
        "ALTER TABLE assets ADD CONSTRAINT some_id CHECK (num_nonnulls(session_id, flow_id) >= 1)"
    )
    flow, catalogue = guide.flow(), guide.catalogue()
    contract = contracted(flow)
    session = guide.one("SELECT old_value::text FROM session_assets_flow_archive_assets ORDER BY 1 LIMIT 1")
    guide.run(
        "UPDATE data_import_sessions SET parent_session_id = NULL;"
        f"DELETE FROM data_import_sessions WHERE id = '{session}'"
    )
    keys = {
        row[0]
        for row in guide.all(
            "SELECT key1::text FROM session_assets_flow_archive_assets WHERE old_value = %s AND filled_flow_id IS NOT NULL",
            [session],
        )
    }
    assert keys
    flow.undo(contract)
    for dry_run in (True, False):
        left = _left(flow, dry_run)
        assert {key for word, table, key in left if (word, table) == ("needs_its_flow", "assets")} == keys
    downgraded(flow)
    assert guide.catalogue() == catalogue


def _left(flow: Flow, dry_run: bool) -> set[tuple[str, str, str]]:
    undone = flow.undo(step(flow, BACKFILL), dry_run=dry_run)
    return {(one.word, one.table, one.key) for one in undone["left"]}


_FULL = """
    DELETE FROM assets WHERE session_id IS NULL;
    ALTER TABLE data_import_sessions ADD UNIQUE (id, client_account_id);
    ALTER TABLE assets DROP CONSTRAINT assets_session_id_fkey, ADD CONSTRAINT whole FOREIGN KEY (session_id, client_account_id)
        REFERENCES data_import_sessions (id, client_account_id) MATCH FULL
"""


def test_a_key_that_wants_all_or_no_columns_comes_back_not_valid_over_rows_that_have_some(guide: Guide) -> None:
    guide.run(_FULL)
    flow, catalogue = guide.flow(), guide.catalogue()
    contract = contracted(flow)
    guide.run(
        "INSERT INTO assets (id, name, client_account_id, engagement_id) VALUES"
        " (md5('newer')::uuid, 'newer', md5('client 1')::uuid, md5('engagement 1')::uuid)"
    )
    key = guide.one("SELECT md5('newer')::uuid::text")
    for dry_run in (True, False):
        undone = flow.undo(contract, dry_run=dry_run)
        assert [(one.word, one.key, one.condition) for one in undone["left"]] == [("key_fails", key, "whole")]
        (statement,) = undone["missing"]
        assert "is not validated" in statement
    assert not guide.findings()["conditions_are_restored"].passed
    guide.run(f"DELETE FROM assets WHERE name = 'newer'; {statement.partition(': ')[2]}")
    assert guide.findings()["conditions_are_restored"].passed
    downgraded(flow)
    assert guide.catalogue() == catalogue
