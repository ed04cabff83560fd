"""The whole way there and back: flow ids equal an independent computation, the archive is whole, and everything comes back."""

from __future__ import annotations

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


def test_every_row_gets_the_flow_of_an_independent_computation(postgres_url: str) -> None:
    guide = Guide.new(postgres_url, sessions=times(2000, 10_000), rows=times(50_000, 200_000))
    flow = guide.flow(batch=5000)
    wanted, values, before = guide.wanted(), guide.values(), guide.catalogue()
    contract = contracted(flow)
    assert guide.found() == wanted
    assert guide.one(_SESSION_IDS) == 0
    assert guide.one(_DANGLING) == 0
    assert guide.one(_KEYS) == 0
    archive = guide.archive()
    made = guide.all("SELECT content ->> 'id', session_id::text FROM session_assets_flow_made")
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
    rows, catalogue = guide.rows(), guide.catalogue()
    contracted(flow)
    migrated, contracted_catalogue = guide.rows(), guide.catalogue()
    downgraded(flow)
    assert (guide.rows(), guide.catalogue()) == (rows, catalogue)
    contracted(flow)
    now = guide.rows()
    for flows in (migrated["discovery_flows"], now["discovery_flows"]):
        for (row,) in flows:
            if row["status"] == "migrated":
                del row["created_at"]  # the moment when it was made
    assert now == migrated
    assert guide.catalogue() == contracted_catalogue
