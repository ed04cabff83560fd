"""What a way back does not overwrite: newer rows, edited flows, flow ids that nothing else holds, sessions that were deleted."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import session_assets.flow
from session_assets.embedded.flow_sample import PlantedFlow
from session_assets.errors import PlanRefused
from session_assets.stores.flow_migration import Flow
from session_assets.stores.flow_views import create_views
from session_assets_tests.flow.journeys import Journeys
from session_assets_tests.flow.scenario import VARIABLE, Guide, contracted, downgraded

_INI = Path(session_assets.flow.__file__).parent / "migrations" / "alembic.ini"


def step(flow: Flow, kind: str) -> str:
    with flow.reading() as work:
        found = work.steps.newest(kind)
    assert found is not None
    return found.id


def test_flow_ids_of_newer_rows_outlive_a_downgrade(guide: Guide) -> None:
    flow = guide.flow()
    contracted(flow)
    own = guide.one("SELECT flow_id FROM discovery_flows WHERE flow_name = 'Flow 3'")
    guide.run(f"INSERT INTO access_audit_log (user_id, flow_id, action_type) VALUES ('newer', '{own}', 'read')")
    guide.run(f"INSERT INTO llm_usage_logs (provider, flow_id) VALUES ('newer', '{own}')")
    downgraded(flow)
    assert guide.one("SELECT session_id FROM access_audit_log WHERE user_id = 'newer'") is None
    flow.apply()
    assert guide.one("SELECT flow_id FROM access_audit_log WHERE user_id = 'newer'") == own
    assert guide.one("SELECT flow_id FROM llm_usage_logs WHERE provider = 'newer'") == str(own)


def test_a_made_flow_that_somebody_edited_or_uses_stays_and_is_listed(guide: Guide) -> None:
    flow = guide.flow()
    flow.apply()
    made = [row[0] for row in guide.all("SELECT flow_id FROM session_assets_flow_made ORDER BY 1")]
    guide.run(f"UPDATE discovery_flows SET flow_name = 'mine' WHERE flow_id = '{made[0]}'")
    guide.run(f"INSERT INTO assets (name, flow_id) VALUES ('newer', '{made[1]}')")
    undone = flow.undo(step(flow, "backfill"))
    assert undone["removed"] == len(made) - 2
    assert [one for one in undone["refused"] if f"{made[0]} was edited since" in one]
    assert [one for one in undone["refused"] if f"{made[1]} is referred to" in one]
    assert guide.one("SELECT flow_id FROM assets WHERE name = 'newer'") == made[1]
    assert guide.one("SELECT flow_name FROM discovery_flows WHERE flow_id = %s", [made[0]]) == "mine"


def test_a_row_whose_session_was_deleted_keeps_its_value_in_the_archive(guide: Guide) -> None:
    flow = guide.flow()
    contract = contracted(flow)
    key, session = guide.all(
        "SELECT key1, old_value FROM session_assets_flow_archive_assets WHERE old_value IS NOT NULL LIMIT 1"
    )[0]
    guide.run(
        f"UPDATE data_import_sessions SET parent_session_id = NULL; DELETE FROM data_import_sessions WHERE id = '{session}'"
    )
    assert any(
        "values of assets stay in the archive: their session" in one
        for one in flow.undo(contract, dry_run=True)["refused"]
    )
    flow.undo(contract)
    assert guide.all("SELECT session_id FROM assets WHERE id = %s", [key]) == [(None,)]
    assert guide.one("SELECT old_value FROM session_assets_flow_archive_assets WHERE key1 = %s", [key]) == session


def test_views_that_read_what_expand_added_are_named_with_the_way_out(guide: Guide) -> None:
    flow = guide.flow()
    contracted(flow)
    create_views(flow.database)
    guide.run("CREATE VIEW report AS SELECT flow_id FROM llm_usage_logs")
    for kind in ("contract", "backfill"):
        flow.undo(step(flow, kind))
    for dry_run in (True, False):
        with pytest.raises(
            PlanRefused, match=r"view report, view session_assets_legacy\.a.*Nothing was undone.*: DROP SCHEMA"
        ):
            flow.undo(step(flow, "expand"), dry_run=dry_run)
    guide.run("DROP SCHEMA session_assets_legacy CASCADE; DROP VIEW report")
    downgraded(flow)


def test_alembic_alone_takes_the_same_way_with_the_same_gates(guide: Guide) -> None:
    rows, catalogue = guide.rows(), guide.catalogue()
    refused = alembic(guide, "upgrade", "head")
    assert "rehearsal_missing: no backup was restored in rehearsal" in refused.stderr
    assert (refused.returncode, "Traceback" in refused.stderr) == (1, False)
    assert guide.findings()["rows_follow_their_session"].passed
    flow = guide.flow()
    flow.rehearse(lambda _: {})
    done = alembic(guide, "upgrade", "head")
    assert done.returncode == 0, done.stderr
    assert flow.state() == "contracted"
    assert (
        guide.one("SELECT counts ->> 'staging_waived_by' FROM session_assets_flow_steps WHERE kind = 'contract'")
        == "a test"
    )
    assert alembic(guide, "downgrade", "base").returncode == 0
    assert (guide.rows(), guide.catalogue()) == (rows, catalogue)


def test_alembic_alone_ends_with_our_message_and_without_a_trace(guide: Guide, tmp_path: Path) -> None:
    guide.run("ALTER TABLE assets RENAME TO things; ALTER TABLE llm_usage_logs RENAME session_id TO session")
    (tmp_path / "wrong.yaml").write_text("sessions: 5")
    for code, said, variables in (
        (2, "assets: the database has no such table. Change linked[0].table", {}),
        (2, "FLOW_SCHEMA: wrong.yaml, line 1: sessions: it must be", {"FLOW_SCHEMA": "wrong.yaml"}),
        (2, "FLOW_DATABASE_URL is not set", {VARIABLE: ""}),
        (3, "does not exist", {VARIABLE: guide.url.replace("/test_", "/gone_")}),
    ):
        ended = alembic(guide, "upgrade", "head", cwd=tmp_path, **variables)
        assert (ended.returncode, ended.stderr.count("error: "), "Traceback" in ended.stderr) == (code, 1, False), ended
        assert said in ended.stderr, ended
    guide.run("ALTER TABLE things RENAME TO assets; ALTER TABLE llm_usage_logs RENAME session TO session_id")
    guide.run("ALTER TABLE discovery_flows ADD CONSTRAINT known CHECK (status <> 'migrated')")
    refused = alembic(guide, "upgrade", "head")
    assert (refused.returncode, "Traceback" in refused.stderr) == (2, False)
    assert "constraint known of discovery_flows: 10 flows that would be made violate" in refused.stderr
    assert not guide.all("SELECT FROM pg_trigger WHERE tgname LIKE '%session_assets%'")


def test_alembic_alone_begins_only_after_a_try_on_a_twin(guide: Guide) -> None:
    refused = alembic(guide, "upgrade", "head", FLOW_WAIVE_TWIN="")
    assert refused.returncode == 2
    assert "The road was not tried on a twin of this database as it is. Nothing was changed." in refused.stderr
    assert not guide.all("SELECT FROM pg_trigger WHERE tgname LIKE '%session_assets%'")


def test_alembic_follows_the_description_of_another_schema(postgres_url: str, tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "flow" / "migration.md").read_text()
    (tmp_path / "schema.yaml").write_text(page.partition("```yaml\n")[2].partition("```")[0])
    journeys = Journeys(postgres_url)
    rows, catalogue = journeys.rows(), journeys.catalogue()
    guide = Guide(postgres_url, PlantedFlow(0))
    done = alembic(guide, "upgrade", "0002", cwd=tmp_path, FLOW_SCHEMA="schema.yaml")
    assert done.returncode == 0, done.stderr
    assert [row for row in journeys.wanted() if row[0] == "Stats.log"] == journeys.all(
        "SELECT 'Stats.log', part || ' ' || line, journey_key FROM \"Stats\".log ORDER BY 2"
    )
    assert alembic(guide, "downgrade", "base", cwd=tmp_path, FLOW_SCHEMA="schema.yaml").returncode == 0
    assert (journeys.rows(), journeys.catalogue()) == (rows, catalogue)


def alembic(
    guide: Guide, *arguments: str, cwd: Path | None = None, **variables: str
) -> subprocess.CompletedProcess[str]:
    env = {
        **os.environ,
        VARIABLE: guide.url,
        "FLOW_WAIVE_STAGING": "a test",
        "FLOW_WAIVE_TWIN": "a test",
        "SESSION_ASSETS_SETTLE_MINUTES": "0",
        **variables,
    }
    command = [sys.executable, "-m", "alembic.config", "-c", str(_INI), *arguments]
    return subprocess.run(command, env=env, capture_output=True, text=True, check=False, cwd=cwd)
