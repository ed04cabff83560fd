"""Records never outrank the tables: what was edited, dropped or added by hand is seen before anything is said of a step."""

from __future__ import annotations

import pytest

from session_assets.errors import PlanRefused, UsageError
from session_assets.flow.model import BACKFILL, CONTRACT, EXPAND
from session_assets.stores.flow_migration import Flow
from session_assets_tests.flow.killed import Work, run
from session_assets_tests.flow.scenario import OLD, Guide, contracted
from session_assets_tests.flow.test_kills import state

_MARK = "UPDATE session_assets_flow_steps SET state = '{state}' WHERE kind = '{kind}'"


def step(flow: Flow, kind: str) -> str:
    with flow.reading() as work:
        found = work.steps.newest(kind)
    assert found is not None
    return found.id


def test_a_step_that_is_marked_as_undone_by_hand_is_still_undone(guide: Guide) -> None:
    before, flow = state(guide), guide.flow()
    contracted(flow)
    for kind in (CONTRACT, BACKFILL, EXPAND):
        guide.run(_MARK.format(state="undone", kind=kind))
        undone = flow.undo(step(flow, kind))
        assert not undone.get("nothing"), kind
    assert state(guide) == before
    assert flow.undo(step(flow, EXPAND))["nothing"]


def test_a_backfill_that_is_marked_as_completed_by_hand_goes_on(guide: Guide) -> None:
    assert run(Work(guide.url, "up", "flow.backfill.assets=kill"))
    guide.run(_MARK.format(state="completed", kind="backfill"))
    flow, wanted = guide.flow(), guide.wanted()
    flow.apply()
    assert guide.found() == wanted
    assert guide.findings()["archive_holds_every_value"].passed


def test_a_table_that_an_earlier_process_had_finished_is_looked_at_again(guide: Guide) -> None:
    wanted = guide.wanted()
    assert run(Work(guide.url, "up", "flow.backfill.access_audit_log=kill"))
    guide.run("UPDATE assets SET flow_id = NULL; DELETE FROM session_assets_flow_archive_assets")
    guide.flow().apply()
    own = {(table, key) for table, key, flow in wanted if table == "assets" and flow}
    assert {(table, key) for table, key, flow in guide.found() if table == "assets" and flow} == own
    assert guide.findings()["archive_holds_every_value"].passed


def test_what_expand_made_and_somebody_dropped_comes_back_with_the_next_apply(guide: Guide) -> None:
    flow, wanted = guide.flow(), guide.wanted()
    flow.apply()
    guide.run(
        "DROP TRIGGER zz_session_assets_flow_archive_update ON assets; ALTER TABLE access_audit_log DROP COLUMN flow_id CASCADE;"
        "DROP TABLE session_assets_flow_archive_llm_usage_logs CASCADE"
    )
    flow.apply()
    assert guide.found() == wanted
    assert all(guide.findings()[name].passed for name in ("archive_holds_every_value", "schema_is_as_its_step"))


def test_a_contract_is_not_completed_while_a_column_is_there_again(guide: Guide) -> None:
    flow = guide.flow()
    step_id = contracted(flow)
    guide.run("ALTER TABLE assets ADD COLUMN session_id uuid")
    for work in (flow.contract, flow.apply):
        with pytest.raises(
            PlanRefused, match=r"the tables say otherwise: assets has its column session_id.*revert flow"
        ):
            work()
    assert flow.state() != "contracted"
    assert flow.undo(step_id)["refused"] == []


def test_gates_are_not_open_after_a_column_was_dropped_by_hand(guide: Guide) -> None:
    flow, values = guide.flow(), guide.values()
    flow.apply()
    guide.run("ALTER TABLE llm_usage_logs DROP COLUMN session_id CASCADE")
    (gate,) = flow.gates()
    assert gate.name == "dropped_by_hand"
    for work in (flow.contract, flow.apply, lambda: flow.undo(step(flow, BACKFILL))):
        with pytest.raises(PlanRefused, match="contract did not drop it"):
            work()
    guide.run(gate.next_step.partition(": ")[2])
    assert guide.values()["llm_usage_logs"] == values["llm_usage_logs"]
    assert [one.name for one in flow.gates()] != ["dropped_by_hand"]


def test_a_database_is_not_contracted_because_somebody_dropped_the_columns_by_hand(guide: Guide) -> None:
    flow = guide.flow()
    flow.apply()
    for table, old in OLD.items():
        guide.run(f"ALTER TABLE {table} DROP COLUMN {old} CASCADE")
    assert flow.state() == "half contracted"


def test_after_contract_the_gates_say_that_it_is_completed(guide: Guide) -> None:
    flow = guide.flow()
    contracted(flow)
    assert [(one.name, one.reason) for one in flow.gates()] == [("contract", "contract is completed already")]


def test_an_archive_that_somebody_dropped_is_named(guide: Guide) -> None:
    flow = guide.flow()
    flow.apply()
    guide.run("DROP TABLE session_assets_flow_archive_assets CASCADE")
    with pytest.raises(PlanRefused, match=r"session_assets_flow_archive_assets.* is gone.*Restore it from a backup"):
        flow.undo(step(flow, BACKFILL))
    flow.apply()
    flow.rehearse(lambda _: {})
    flow.contract()
    guide.run("DROP TABLE session_assets_flow_archive_assets CASCADE")
    with pytest.raises(UsageError, match="somebody dropped the archive: restore it from a backup"):
        flow.undo(step(flow, CONTRACT))


def test_an_undo_names_the_rows_that_a_new_archive_knows_nothing_of(guide: Guide) -> None:
    flow = guide.flow()
    flow.apply()
    guide.run("DROP TABLE session_assets_flow_archive_assets CASCADE")
    flow.apply()
    backfill = step(flow, BACKFILL)
    would, done = (flow.undo(backfill, dry_run=dry_run)["left"] for dry_run in (True, False))
    stay = guide.all("SELECT id::text FROM assets WHERE flow_id IS NOT NULL")
    assert stay
    for left in (would, done):
        assert {one.key for one in left if (one.word, one.table) == ("origin_unknown", "assets")} == {
            id_ for (id_,) in stay
        }


def test_an_undo_says_a_word_and_an_id_for_each_row_that_it_leaves(guide: Guide) -> None:
    flow = guide.flow()
    contract = contracted(flow)
    archive = "SELECT key1::text, old_value::text FROM session_assets_flow_archive_"
    (gone, _), (key, session) = guide.all(f"{archive}access_audit_log WHERE old_value IS NOT NULL ORDER BY 1 LIMIT 2")
    guide.run(
        f"DELETE FROM access_audit_log WHERE id = '{gone}'; UPDATE data_import_sessions SET parent_session_id = NULL;"
        f" DELETE FROM data_import_sessions WHERE id = '{session}'"
    )
    expected = {("row_gone", gone), ("session_deleted", key)}
    for dry_run in (True, False):
        left = flow.undo(contract, dry_run=dry_run)["left"]
        mine = {(one.word, one.key) for one in left if one.table == "access_audit_log"}
        assert expected <= mine, dry_run
        assert {word for word, _ in mine} == {"row_gone", "session_deleted"}
    made = guide.one("SELECT flow_id::text FROM session_assets_flow_made ORDER BY 1 LIMIT 1")
    other = guide.one("SELECT flow_id::text FROM discovery_flows WHERE flow_name = 'Flow 3'")
    row = guide.one(
        "SELECT key1::text FROM session_assets_flow_archive_assets WHERE filled_flow_id <> %s LIMIT 1", [other]
    )
    guide.run(
        f"UPDATE discovery_flows SET flow_name = 'mine' WHERE flow_id = '{made}';"
        f" UPDATE assets SET flow_id = '{other}' WHERE id = '{row}'"
    )
    backfill = step(flow, BACKFILL)
    for dry_run in (True, False):
        left = {(one.word, one.table, one.key) for one in flow.undo(backfill, dry_run=dry_run)["left"]}
        assert {("edited_since", "discovery_flows", made), ("edited_since", "assets", row)} <= left
    left = flow.undo(step(flow, EXPAND))["left"]
    assert ("row_gone", gone) in {(one.word, one.key) for one in left if one.table == "access_audit_log"}
