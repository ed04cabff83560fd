"""Flows that we made are ours while only triggers change them in our transactions; what outlives a downgrade is remembered."""

from __future__ import annotations

from typing import Any

import pytest

from session_assets.flow.model import BACKFILL, EXPAND
from session_assets_tests.flow.scenario import TABLES, Guide, contracted, downgraded
from session_assets_tests.flow.test_way_back import step

_STAMP = """
    CREATE FUNCTION stamp() RETURNS trigger LANGUAGE plpgsql AS
        'BEGIN NEW.updated_at := clock_timestamp(); NEW.version := OLD.version + 1; RETURN NEW; END';
"""
_AFTER = """
    ALTER TABLE discovery_flows ADD touched int NOT NULL DEFAULT 0, ADD seen timestamptz, ADD late bool NOT NULL DEFAULT false;
    CREATE FUNCTION of_row() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN
        IF pg_trigger_depth() = 1 THEN
            UPDATE discovery_flows SET touched = touched + 1, seen = clock_timestamp() WHERE id = NEW.id;
        END IF; RETURN NULL; END';
    CREATE TRIGGER "aa first" AFTER INSERT OR UPDATE ON discovery_flows FOR EACH ROW EXECUTE FUNCTION of_row();
    CREATE TRIGGER zzz_last AFTER INSERT OR UPDATE ON discovery_flows FOR EACH ROW EXECUTE FUNCTION of_row();
    CREATE FUNCTION of_commit() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN
        UPDATE discovery_flows SET late = true WHERE id = NEW.id AND NOT late; RETURN NULL; END';
    CREATE CONSTRAINT TRIGGER at_commit AFTER INSERT OR UPDATE ON discovery_flows DEFERRABLE INITIALLY DEFERRED
        FOR EACH ROW WHEN (NOT NEW.late) EXECUTE FUNCTION of_commit();
    CREATE FUNCTION of_asset() RETURNS trigger LANGUAGE plpgsql SET timezone = 'Asia/Tokyo' AS 'BEGIN
        UPDATE discovery_flows SET touched = touched + 1, seen = clock_timestamp()
        WHERE flow_id IN (NEW.flow_id, OLD.flow_id); RETURN NULL; END';
    CREATE TRIGGER counted AFTER UPDATE ON assets FOR EACH ROW EXECUTE FUNCTION of_asset();
"""
_MADE = "SELECT count(*) FROM discovery_flows WHERE status = 'migrated'"
_MEMORY = "SELECT to_regclass('session_assets_flow_made') IS NOT NULL"


def _stamped(guide: Guide) -> None:
    guide.run(_STAMP)
    for table in TABLES:
        guide.run(
            f"ALTER TABLE {table} ADD updated_at timestamptz, ADD version int NOT NULL DEFAULT 0;"
            f"CREATE TRIGGER stamped BEFORE UPDATE ON {table} FOR EACH ROW EXECUTE FUNCTION stamp()"
        )


def _plain(guide: Guide) -> dict[str, list[dict[str, Any]]]:
    """All rows without what triggers wrote."""
    ours = ("updated_at", "version", "touched", "seen", "late")
    return {
        table: [{name: value for name, value in row.items() if name not in ours} for (row,) in rows]
        for table, rows in guide.rows().items()
    }


@pytest.mark.parametrize("prepare", [_stamped, lambda guide: guide.run(_AFTER)], ids=["before", "after"])
def test_no_made_flow_stays_where_triggers_of_the_application_write_to_flows(guide: Guide, prepare: Any) -> None:
    prepare(guide)
    rows, catalogue, flow = _plain(guide), guide.catalogue(), guide.flow()
    contracted(flow)
    assert guide.one(_MADE) == guide.planted.made
    assert guide.one("SELECT count(*) FROM session_assets_flow_made") == guide.planted.made
    downgraded(flow)
    assert guide.one(_MADE) == 0
    assert (_plain(guide), guide.catalogue()) == (rows, catalogue)
    assert not guide.one(_MEMORY)


def test_an_edit_that_came_before_a_trigger_in_our_transaction_is_not_hidden(guide: Guide) -> None:
    _stamped(guide)
    flow = guide.flow()
    flow.apply()
    early, late = (row[0] for row in guide.all("SELECT flow_id::text FROM session_assets_flow_made ORDER BY 1 LIMIT 2"))
    guide.run(f"UPDATE discovery_flows SET flow_name = 'mine' WHERE flow_id = '{early}'")
    flow.apply()
    flow.rehearse(lambda _: {})
    contract = flow.contract().id
    guide.run(f"UPDATE discovery_flows SET flow_name = 'mine, too' WHERE flow_id = '{late}'")
    flow.undo(contract)
    for dry_run in (True, False):
        left = flow.undo(step(flow, BACKFILL), dry_run=dry_run)["left"]
        assert [(one.word, one.key) for one in left] == [("edited_since", early), ("edited_since", late)]
    assert guide.one(_MADE) == 2


def test_flows_that_stay_are_remembered_until_they_are_gone(guide: Guide) -> None:
    flow = guide.flow()
    flow.apply()
    kept, gone = (row[0] for row in guide.all("SELECT flow_id::text FROM session_assets_flow_made ORDER BY 1 LIMIT 2"))
    guide.run(
        f"UPDATE discovery_flows SET flow_name = 'mine' WHERE flow_id = '{kept}';"
        f"DELETE FROM discovery_flows WHERE flow_id = '{gone}'"
    )
    flow.undo(step(flow, BACKFILL))
    expand = step(flow, EXPAND)
    for dry_run in (True, False):
        left = flow.undo(expand, dry_run=dry_run)["left"]
        assert [(one.word, one.table, one.key) for one in left] == [("remembered", "discovery_flows", kept)]
    assert guide.all("SELECT flow_id::text FROM session_assets_flow_made") == [(kept,)]
    assert flow.state() == "new"
    assert flow.undo(expand)["nothing"]
    findings = guide.findings()
    assert "is not recorded" not in str(findings["row_counts"]) and findings["row_counts"].passed
    assert findings["schema_is_as_its_step"].passed

    flow.apply()  # the flow is ours again, and those that are made now are as well
    assert guide.one("SELECT count(*) FROM session_assets_flow_made") == guide.planted.made
    assert guide.findings()["row_counts"].passed
    flow.undo(step(flow, BACKFILL))
    assert guide.all("SELECT flow_id::text FROM session_assets_flow_made") == [(kept,)]
    guide.run(f"DELETE FROM discovery_flows WHERE flow_id = '{kept}'")
    assert flow.undo(step(flow, EXPAND))["left"] == []
    assert not guide.one(_MEMORY)
