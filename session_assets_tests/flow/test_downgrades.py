"""Downgrades that something came between: a kill, another order of steps, sessions deleted since, and live writes."""

from __future__ import annotations

import pytest

from session_assets.errors import PlanRefused
from session_assets.flow.model import BACKFILL, CONTRACT, EXPAND, made_flow_id
from session_assets.stores import flow_restore, flow_unfill
from session_assets.stores.flow_alembic import move
from session_assets.stores.flow_migration import Flow
from session_assets_tests.counts import some
from session_assets_tests.flow.killed import Work, run
from session_assets_tests.flow.scenario import OLD, Guide, Rows, contracted, downgraded
from session_assets_tests.flow.test_kills import state


def test_alembic_alone_does_not_go_below_a_contract_that_is_half_done(guide: Guide) -> None:
    flow, rows = guide.flow(), guide.rows()
    assert run(Work(guide.url, "up", "flow.contract.assets=kill"))
    assert flow.state() == "half contracted"
    for revision in ("0001", "base"):
        with flow.holding(), pytest.raises(PlanRefused, match="Undo contract first: session-assets revert flow"):
            move(flow, revision, down=True)
    downgraded(flow)
    assert guide.rows() == rows


def _undone_without_version(flow: Flow, kind: str) -> None:
    """As a process leaves it that is killed after the undo, just before Alembic writes the version."""
    with flow.holding():
        {EXPAND: flow.run_undo_expand, BACKFILL: flow.run_undo_backfill, CONTRACT: flow.run_restore}[kind]()


@pytest.mark.parametrize("kind", some([CONTRACT, BACKFILL, EXPAND], 1))
def test_an_undo_killed_before_its_version_is_written_blocks_nothing(guide: Guide, kind: str) -> None:
    flow, before = guide.flow(), state(guide)
    contracted(flow)
    for one in (CONTRACT, BACKFILL, EXPAND):
        with flow.reading() as work:
            step = work.steps.newest(one)
        assert step is not None
        if one == kind:
            _undone_without_version(flow, kind)
            break
        flow.undo(step.id)
    flow.apply()
    assert flow.state() == "backfilled"
    downgraded(flow)
    assert flow.state() == "new"
    assert state(guide) == before


def _delete_session(guide: Guide) -> str:
    """Delete a session after contract that rows of the audit log and assets had named; returns its id."""
    archive = "session_assets_flow_archive_"
    session = guide.one(
        f"SELECT a.old_value::text FROM {archive}access_audit_log a JOIN {archive}assets b USING (old_value) ORDER BY 1 LIMIT 1"
    )
    guide.run(
        f"UPDATE data_import_sessions SET parent_session_id = NULL WHERE parent_session_id = '{session}';"
        f"DELETE FROM data_import_sessions WHERE id = '{session}'"
    )
    return session


def _archived(guide: Guide, session: str) -> int:
    return guide.one(
        "SELECT count(*) FROM session_assets_flow_archive_access_audit_log WHERE old_value = %s::uuid", [session]
    )


def test_values_of_a_deleted_session_stay_in_the_archive_all_the_way_down_and_up(guide: Guide) -> None:
    flow = guide.flow()
    contracted(flow)
    session = _delete_session(guide)
    count = _archived(guide, session)
    assert count
    downgraded(flow)
    assert _archived(guide, session) == count
    contracted(flow)
    downgraded(flow)
    assert _archived(guide, session) == count


def test_a_downgrade_killed_after_a_session_was_deleted_goes_on(guide: Guide) -> None:
    flow = guide.flow()
    contract = contracted(flow)
    session = _delete_session(guide)
    assert run(Work(guide.url, "down", "flow.restore.flow_deletion_audit=kill"))
    refused = flow.undo(contract)["refused"]
    assert any(
        one.startswith(f"{_archived(guide, session)} values of access_audit_log stay in the archive") for one in refused
    )


def test_a_session_deleted_while_values_come_back_does_not_block_the_downgrade(
    guide: Guide, monkeypatch: pytest.MonkeyPatch
) -> None:
    flow = guide.flow()
    contract, deleted = contracted(flow), list[str]()

    def meanwhile(name: str) -> None:
        if name == "flow.restore.values.flow_deletion_audit":
            deleted.append(_delete_session(guide))

    monkeypatch.setattr(flow_restore, "failpoint", meanwhile)
    refused = flow.undo(contract)["refused"]
    assert any(
        one.startswith(f"{_archived(guide, deleted[0])} values of access_audit_log stay in the archive")
        for one in refused
    )
    assert guide.findings()["foreign_keys_valid"].passed


def test_a_row_written_while_made_flows_are_removed_names_none_of_them(
    guide: Guide, monkeypatch: pytest.MonkeyPatch
) -> None:
    flow = guide.flow()
    flow.apply()
    session = guide.one("SELECT session FROM session_assets_flow_made ORDER BY 1 LIMIT 1")

    def meanwhile(name: str) -> None:
        if name == "flow.undo_backfill.llm_usage_logs":
            guide.run(f"INSERT INTO assets (session_id, name) VALUES ('{session}', 'late')")

    monkeypatch.setattr(flow_unfill, "failpoint", meanwhile)
    downgraded(flow)
    assert guide.all("SELECT session_id, flow_id FROM assets WHERE name = 'late'") == [(session, None)]
    assert not guide.one("SELECT count(*) FROM discovery_flows WHERE status = 'migrated'")


def test_an_undo_killed_when_flows_are_removed_can_be_followed_by_an_upgrade(guide: Guide) -> None:
    flow, before = guide.flow(), state(guide)
    flow.apply()
    assert run(Work(guide.url, "down", "flow.undo_backfill.removed=kill"))
    flow.apply()
    with flow.reading() as work:
        step = work.steps.newest(BACKFILL)
    assert step is not None
    assert flow.undo(step.id)["refused"] == []
    downgraded(flow)
    assert state(guide) == before


def test_a_value_whose_row_got_another_key_is_named_and_kept(guide: Guide) -> None:
    flow = guide.flow()
    contract = contracted(flow)
    key, value = guide.all("SELECT key1, old_value FROM session_assets_flow_archive_llm_usage_logs LIMIT 1")[0]
    guide.run(
        f"ALTER TABLE llm_usage_logs ALTER id SET GENERATED BY DEFAULT; UPDATE llm_usage_logs SET id = -1 WHERE id = {key}"
    )
    (listed,) = flow.undo(contract, dry_run=True)["refused"]
    assert listed.startswith("1 values of llm_usage_logs stay in the archive: ")
    downgraded(flow)
    kept = guide.all(
        "SELECT a.key1, a.old_value FROM session_assets_flow_archive_llm_usage_logs a LEFT JOIN llm_usage_logs t ON t.id = a.key1"
        " WHERE t.id IS NULL"
    )
    assert kept == [(key, value)]


_AFTER_CONTRACT = """
    DELETE FROM access_audit_log WHERE id::text < '2'; DELETE FROM llm_usage_logs WHERE id < 20;
    DELETE FROM assets WHERE name LIKE 'host-1%'; DELETE FROM flow_deletion_audit WHERE id::text > 'e';
    DELETE FROM discovery_flows WHERE flow_name = 'Flow 5';
    UPDATE llm_usage_logs SET id = id + 100000 WHERE id < 60;
    UPDATE discovery_flows SET id = gen_random_uuid() WHERE flow_name IN ('Flow 3', 'Flow 21');
    UPDATE assets SET id = gen_random_uuid() WHERE name LIKE 'host-2%';
    INSERT INTO assets (name, flow_id) SELECT 'newer', flow_id FROM discovery_flows LIMIT 5;
    INSERT INTO llm_usage_logs (provider) VALUES ('newer');
    INSERT INTO flow_deletion_audit (flow_id, deletion_type) VALUES (gen_random_uuid(), 'newer');
"""


def test_after_deletes_other_keys_and_newer_rows_each_archived_value_is_restored_or_named_and_kept(
    guide: Guide,
) -> None:
    flow = guide.flow()
    contract = contracted(flow)
    archived = guide.archive()
    guide.run(_AFTER_CONTRACT)
    before = {table: rows for table, rows in guide.rows().items() if table != "discovery_flows"}
    named = flow.undo(contract, dry_run=True)["refused"]
    assert flow.undo(contract)["refused"] == named
    values, kept = guide.values(), guide.archive()
    for table, rows in archived.items():
        back = {*rows} & {*values[table]}
        assert {*values[table]} == back, table
        assert {*rows} - back <= {*kept[table]}, table
        assert len(rows) > len(back) > 0, table
        assert [one for one in named if one.startswith(f"{len(rows) - len(back):,} values of {table} stay")], table
    for table, rows in before.items():
        now = [{name: value for name, value in row.items() if name != OLD.get(table)} for (row,) in guide.rows()[table]]
        assert now == [row for (row,) in rows], table
    downgraded(flow)
    assert {table: [one for one in rows if one not in archived[table]] for table, rows in guide.values().items()} == {
        table: [] for table in OLD
    }
    for table, rows in archived.items():
        assert {*rows} <= {*guide.values()[table]} | {*guide.archive()[table]} | _made(archived), table


def _made(archived: dict[str, Rows]) -> set[tuple[str, str]]:
    """Flows that were made for a session have no value that was there before."""
    sessions = {session: key for key, session in archived["discovery_flows"]}
    return {(made_flow_id(session), session) for session, key in sessions.items() if key == made_flow_id(session)}
