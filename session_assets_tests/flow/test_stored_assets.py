"""The assets over stored files: dry run, move, checks and undo as jobs."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import dagster as dg
import polars as pl
import pytest

from session_assets.flow.extras import DEFINITIONS, TARGETS
from session_assets_tests.flow.stored_scenario import FLOWS, SESSIONS, Folder, plant

JOBS = dg.Definitions.merge(DEFINITIONS, dg.Definitions(executor=dg.in_process_executor))
Checks = dict[str, dg.AssetCheckEvaluation]


@pytest.fixture
def folder(tmp_path: Path, postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> Folder:
    """The folder behind the settings, with a map in a file, and the Dagster database for locks."""
    folder = Folder(tmp_path)
    plant(folder)
    folder.put(f"validation_sessions/{SESSIONS[39]}/nobody.json", b"{}")
    pl.DataFrame({"session_id": SESSIONS[:30], "flow_id": FLOWS[:30]}).write_csv(tmp_path / "map.csv")
    settings = {
        "FLOW_VALIDATION_ROOT": folder.root,
        "FLOW_SESSION_MAP": tmp_path / "map.csv",
        "SESSION_ASSETS_HOME": tmp_path / "home",
        "DAGSTER_POSTGRES_URL": postgres_url,
    }
    for name, value in settings.items():
        monkeypatch.setenv(name, str(value))
    return folder


def _run(job: str, **config: object) -> tuple[dg.ExecuteInProcessResult, Checks]:
    ops = {"ops": {"revert_flow_files_plan": {"config": config}}} if config else {}
    result = JOBS.resolve_job_def(job).execute_in_process(run_config=ops)
    return result, {one.check_name: one for one in result.get_asset_check_evaluations()}


def test_dry_run_move_checks_and_undo(folder: Folder) -> None:
    before = folder.tree()
    _, checks = _run("flow_files_verify")
    failed = {name: (one.severity.value, one.metadata["count"].value) for name, one in checks.items() if not one.passed}
    assert failed == {
        "validation_files_moved": ("ERROR", 14),
        "validation_files_readable": ("ERROR", 8),
        "validation_files_known": ("WARN", 1),
    }
    planned, _ = _run("flow_files_plan")
    metadata = planned.asset_materializations_for_node("flow__stored_validation_changes")[0].metadata
    assert (metadata["planned"].value, metadata["files"].value) == (22, 23)
    assert "ids rewritten" in str(metadata["preview"].value)
    assert folder.tree() == before

    moved, checks = _run("flow_files_apply")
    metadata = moved.asset_materializations_for_node("flow__stored_validations")[0].metadata
    assert {name: metadata[name].value for name in ("planned", "applied", "conflicted", "failed")} == {
        "planned": 22,
        "applied": 22,
        "conflicted": 0,
        "failed": 0,
    }
    failed = {name: (one.severity.value, one.metadata["count"].value) for name, one in checks.items() if not one.passed}
    assert failed == {"validation_files_known": ("WARN", 1), "validation_quarantine_is_empty": ("WARN", 8)}
    where = Counter(path.split("/")[0] for path in folder.tree())
    assert where == {"validation_flows": 14, "validation_quarantine": 8, "validation_sessions": 1}

    plan_id = str(
        planned.asset_materializations_for_node("flow__stored_validation_changes")[0].metadata["plan_id"].value
    )
    _run("flow_files_revert", loop="flow/files", plan_id=plan_id, dry_run=True)
    assert Counter(path.split("/")[0] for path in folder.tree()) == where
    _run("flow_files_revert", loop="flow/files", plan_id=plan_id)
    assert folder.tree() == before


def test_the_terminals_jobs_are_there() -> None:
    for target in TARGETS:
        for job in (target.plan, target.apply, target.apply_pending, target.verify, f"{target.undo}_revert"):
            assert JOBS.resolve_job_def(str(job)).description
