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
