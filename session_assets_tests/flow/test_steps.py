"""The whole way there and back: flow ids equal an independent computation, the archive is whole, and everything comes back."""

from __future__ import annotations

from typing import Any

import pytest

from session_assets.errors import LockHeld, UsageError
from session_assets.stores.flow_migration import Flow
from session_assets_tests.counts import times
from session_assets_tests.flow.scenario import OLD, Guide, contracted, downgraded

_SESSION_IDS = """
    SELECT count(*) FROM (SELECT flow_id::text AS f FROM assets UNION ALL SELECT flow_id::text FROM access_audit_log
    UNION ALL SELECT flow_id FROM llm_usage_logs UNION ALL SELECT flow_id::text FROM flow_deletion_audit) t
    JOIN data_import_sessions s ON s.id::text = lower(t.f)
"""
_KEYS = "SELECT count(*) FROM pg_constraint WHERE contype = 'f' AND NOT convalidated"
_DANGLING = """
    SELECT count(*) FROM (SELECT flow_id::text AS f FROM assets UNION ALL SELECT flow_id::text FROM access_audit_log
    UNION ALL SELECT flow_id FROM llm_usage_logs) t
    WHERE f IS NOT NULL AND NOT EXISTS (SELECT FROM discovery_flows d WHERE d.flow_id::text = f)
"""

_FINE_PRINT = """
    COMMENT ON CONSTRAINT assets_session_id_fkey ON assets IS 'goes with its import';
    COMMENT ON INDEX idx_assets_session_id IS 'for the list of imports';
    CREATE STATISTICS of_assets (dependencies) ON session_id, client_account_id FROM assets;
    COMMENT ON STATISTICS of_assets IS 'an import is of one client'; ALTER STATISTICS of_assets SET STATISTICS 300;
    ALTER TABLE assets ALTER session_id SET STATISTICS 500, ALTER session_id SET (n_distinct = 100);
    ALTER TABLE llm_usage_logs ALTER session_id SET STORAGE MAIN, ALTER session_id SET COMPRESSION pglz;
"""


def shapes(flow: Flow) -> dict[str, Any]:
    with flow.reading() as work:
        return {one.name: one.shape() for one in work.layout.tables}


def test_every_row_gets_the_flow_of_an_independent_computation(postgres_url: str) -> None:
    guide = Guide.new(postgres_url, sessions=times(1000, 10_000), rows=times(15_000, 200_000))
    flow = guide.flow(batch=5000)
    wanted, values, before = guide.wanted(), guide.values(), guide.catalogue()
    contract = contracted(flow)
    assert guide.found() == wanted
    assert guide.one(_SESSION_IDS) == 0
    assert guide.one(_DANGLING) == 0
    assert guide.one(_KEYS) == 0
    archive = guide.archive()
    made = guide.all("SELECT content ->> 'id', session::text FROM session_assets_flow_made")
    assert archive.pop("discovery_flows") == sorted([*values.pop("discovery_flows"), *made])
    assert archive == values
    names = {(table, column) for kind, table, column, _ in guide.catalogue() if kind == "column"}
    assert not names & {
        ("assets", "session_id"),
        ("llm_usage_logs", "session_id"),
        ("discovery_flows", "import_session_id"),
    }
    assert ("data_import_sessions", "parent_session_id") in names
    left = [one for one in guide.catalogue() if one[0] == "trigger" or (one[1] in OLD and "session_id" in one[2])]
    assert not left
    assert all(
        one.passed
        for name, one in guide.findings().items()
        if name in ("archive_holds_every_value", "foreign_keys_valid")
    )

    assert flow.undo(contract)["refused"] == []
    assert {name: rows for name, rows in guide.values().items() if name in values} == values
    downgraded(flow)
    assert guide.catalogue() == before


def test_upgrade_downgrade_upgrade_is_the_identity(guide: Guide) -> None:
    flow = guide.flow()
    guide.run(_FINE_PRINT)
    rows, catalogue, before = guide.rows(), guide.catalogue(), shapes(flow)
    contracted(flow)
    migrated, contracted_catalogue = guide.rows(), guide.catalogue()
    downgraded(flow)
    assert (guide.rows(), guide.catalogue()) == (rows, catalogue)
    assert shapes(flow) == before
    with pytest.raises(
        UsageError, match=r"no step x\. Recorded, the newest first: undo of expand [0-9a-f]{12} \(completed\)"
    ):
        flow.undo("x")
    contracted(flow)
    now = guide.rows()
    for flows in (migrated["discovery_flows"], now["discovery_flows"]):
        for (row,) in flows:
            if row["status"] == "migrated":
                del row["created_at"]  # the moment when it was made
    assert now == migrated
    assert guide.catalogue() == contracted_catalogue


def test_verify_warns_before_the_migration_and_while_a_step_is_at_work(guide: Guide) -> None:
    flow = guide.flow()
    before = guide.findings()
    assert not [one for one in before.values() if one.is_error and not one.passed]
    todo = before["rows_follow_their_session"]
    assert (todo.passed, todo.is_error) == (False, False) and todo.count > 0
    assert todo.next_step.startswith("Backfill is not begun.")
    flow.apply()
    guide.run("UPDATE access_audit_log SET flow_id = NULL")
    assert guide.findings()["rows_follow_their_session"].is_error
    guide.run("UPDATE session_assets_flow_steps SET state = 'running' WHERE kind = 'backfill'")
    assert guide.findings()["rows_follow_their_session"].is_error, "it was killed"
    with flow.holding():
        found = guide.findings()["rows_follow_their_session"]
        assert (found.passed, found.is_error) == (False, False)
        assert "backfill is at work" in found.next_step
    flow.apply()  # ends that one
    flow.apply()
    flow.rehearse(lambda _: {})
    flow.contract()
    guide.run(
        "INSERT INTO data_import_sessions (session_name) VALUES ('later'); UPDATE access_audit_log SET flow_id = NULL"
    )
    after = guide.findings()
    assert not [one for one in after.values() if one.is_error and not one.passed]
    assert "set another by hand" in after["rows_follow_their_session"].next_step
    assert after["orphaned_sessions"].passed
    guide.run("DELETE FROM session_assets_flow_archive_llm_usage_logs")
    assert "restore them from a backup" in guide.findings()["archive_holds_every_value"].next_step


def test_a_reader_keeps_the_columns_that_it_has_seen(guide: Guide) -> None:
    flow = guide.flow(lock=0.1, tries=2)
    flow.apply()
    flow.rehearse(lambda _: {})
    with flow.reading(), pytest.raises(LockHeld, match="flow reading"):
        flow.contract()
    guide.flow().contract()


_GUIDE = (
    "SELECT table_name, column_name FROM information_schema.columns WHERE column_name LIKE '%session_id%'",
    "SELECT tablename, indexname FROM pg_indexes WHERE indexname LIKE '%session_id%'",
)


@pytest.mark.parametrize("is_old", [False, True], ids=["new", "of version 0.1"])
def test_the_acceptance_queries_of_the_guide_find_nothing_after_contract(guide: Guide, is_old: bool) -> None:
    before, flow = guide.rows(), guide.flow()
    flow.apply()
    if is_old:
        guide.run(
            "ALTER TABLE session_assets_flow_made RENAME session TO session_id; ALTER TABLE session_assets_flow_made"
            " RENAME CONSTRAINT session_assets_flow_made_session TO session_assets_flow_made_session_id_key"
        )
        with flow.reading() as work:
            step = work.steps.newest("backfill")
        assert step is not None
        assert flow.undo(step.id, dry_run=True)["removed"] == guide.planted.made
    flow.rehearse(lambda _: {})
    flow.contract()
    columns, indexes = (guide.all(one) for one in _GUIDE)
    assert columns == [("data_import_sessions", "parent_session_id")]
    assert indexes == []
    downgraded(flow)
    assert guide.rows() == before
