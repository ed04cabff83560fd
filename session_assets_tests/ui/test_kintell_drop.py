"""A CSV dropped while `session-assets dev` runs: partition, sessions, rejects, events and checks, as the pages show them."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from session_assets.graph.markdown import plain
from session_assets_tests.kintell.files import clean, write
from session_assets_tests.kintell.scenario import Kintell
from session_assets_tests.ui.conftest import Ui

_ASSET = """query($k: AssetKeyInput!) { assetNodeOrError(assetKey: $k) { ... on AssetNode {
  assetMaterializations(limit: 1) { partition metadataEntries { label
    ... on IntMetadataEntry { intValue } ... on TextMetadataEntry { text } ... on MarkdownMetadataEntry { mdStr } } }
  assetChecksOrError { ... on AssetChecks { checks { name
    executionForLatestMaterialization { status evaluation { severity description } } } } } } } }"""
_RUNS = "{ runsOrError(limit: 20) { ... on Runs { results { status jobName } } } }"


@pytest.fixture
def kintell_environment(monkeypatch: pytest.MonkeyPatch, kintell: Kintell, own_nats: str) -> Kintell:
    monkeypatch.setenv("KINTELL_DATABASE_URL", kintell.database.url)
    monkeypatch.setenv("NATS_URL", own_nats)
    return kintell


@pytest.fixture
def kintell(postgres_url: str) -> Kintell:
    """In the database that Dagster uses too: their tables do not meet."""
    return Kintell.new(postgres_url)


def test_dropped_file_becomes_sessions_rejects_and_events(kintell_environment: Kintell, ui: Ui) -> None:
    folder = ui.home / "drops" / "kintell"
    folder.mkdir(parents=True)
    rows = [*(clean(n) for n in range(30)), clean(30, date="soon"), clean(31, participant_email="nobody@example.com")]
    _drop(folder, write(ui.home / "a.csv", rows))
    _wait_for_runs(ui, 1)
    assert kintell_environment.one("SELECT count(*) FROM kintell_sessions") == 30

    sessions, rejects = _asset(ui, "sessions"), _asset(ui, "rejected_rows")
    (partition,) = {one["partition"] for one in (sessions, rejects)}
    assert partition.startswith("a.csv@")
    assert (sessions["inserted"], sessions["rejected"]) == (30, 2)
    assert set(sessions["checks"].values()) == {"SUCCEEDED"}
    assert rejects["checks"] == {
        "values_are_valid": "FAILED",
        "users_exist": "FAILED",
        "ids_are_unique": "SUCCEEDED",
        "records_are_readable": "SUCCEEDED",
    }
    assert "Participant not found: n***@example.com" in plain(rejects["preview"])
    assert _asset(ui, "missing_users")["dagster/row_count"] == 1
    events = _asset(ui, "session_events")
    assert (events["waiting"], events["checks"]) == (0, {"events_are_published": "SUCCEEDED"})
    assert "data:image/svg+xml;base64," in _asset(ui, "daily_summary")["plot"]

    _drop(folder, write(ui.home / "b.csv", rows))  # the same bytes under another name
    _wait_for_runs(ui, 2)
    assert kintell_environment.one("SELECT count(*) FROM backfill_jobs") == 1
    assert kintell_environment.one("SELECT count(*) FROM backfill_rejects") == 2


def _drop(folder: Path, path: Path) -> None:
    path.rename(folder / path.name)
    (folder / f"{path.name}.done").touch()


def _asset(ui: Ui, name: str) -> dict[str, Any]:
    """The newest materialization's partition and metadata, and the state of each check."""
    node = ui.query(_ASSET, k={"path": ["kintell", name]})["assetNodeOrError"]
    (newest,) = node["assetMaterializations"]
    metadata = {
        one["label"]: one.get("intValue", one.get("text", one.get("mdStr"))) for one in newest["metadataEntries"]
    }
    checks = node["assetChecksOrError"].get("checks", [])
    states = {one["name"]: (one["executionForLatestMaterialization"] or {}).get("status") for one in checks}
    assert "nobody@" not in json.dumps(node)
    return {**metadata, "partition": newest["partition"], "checks": states}


def _wait_for_runs(ui: Ui, count: int, seconds: float = 120) -> None:
    """Wait until so many imports have succeeded; none may have failed."""
    deadline = time.monotonic() + seconds
    while True:
        found = [
            one["status"] for one in ui.query(_RUNS)["runsOrError"]["results"] if one["jobName"] == "kintell_import"
        ]
        assert "FAILURE" not in found
        if found.count("SUCCESS") == count:
            return
        assert time.monotonic() < deadline, found
        time.sleep(1)
