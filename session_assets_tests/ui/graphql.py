"""Questions that the UI's pages ask."""

from __future__ import annotations

import time
from typing import Any

from session_assets_tests.ui.conftest import Ui

_LAUNCH = """mutation($p: LaunchBackfillParams!) { launchPartitionBackfill(backfillParams: $p) {
  __typename ... on LaunchBackfillSuccess { backfillId } ... on PythonError { message } } }"""
_BACKFILL = """query($id: String!) { partitionBackfillOrError(backfillId: $id) { ... on PartitionBackfill {
  status runs(limit: 50) { id status } } } }"""
_ASSET = """query($k: AssetKeyInput!) { assetNodeOrError(assetKey: $k) { ... on AssetNode {
  partitionStats { numMaterialized numFailed }
  assetPartitionStatuses { ... on TimePartitionStatuses { ranges { status startKey endKey } } }
  assetChecksOrError { ... on AssetChecks { checks { name partitionStatuses {
    ... on AssetCheckTimePartitionStatuses { ranges { status startKey endKey } } } } } } } } }"""


def run_backfill(ui: Ui, assets: list[str], partitions: list[str], seconds: float = 240) -> dict[str, Any]:
    """Launch a backfill as the UI does, wait for its end, return status and runs."""
    parameters = {"assetSelection": [{"path": name.split("/")} for name in assets], "partitionNames": partitions}
    launched = ui.query(_LAUNCH, p=parameters)["launchPartitionBackfill"]
    assert "backfillId" in launched, launched
    deadline = time.monotonic() + seconds
    found: dict[str, Any] = {}
    while time.monotonic() < deadline:
        found = ui.query(_BACKFILL, id=launched["backfillId"])["partitionBackfillOrError"]
        if found["status"] not in ("REQUESTED", "CANCELING", "FAILING"):
            return found
        time.sleep(1)
    raise AssertionError(f"the backfill did not end: {found}")


def asset(ui: Ui, name: str) -> dict[str, Any]:
    """An asset's counts of partitions, and its ranges and checks by status."""
    node = ui.query(_ASSET, k={"path": name.split("/")})["assetNodeOrError"]
    checks = {
        check["name"]: by_status((check["partitionStatuses"] or {}).get("ranges", []))
        for check in node["assetChecksOrError"]["checks"]
    }
    return {
        **node["partitionStats"],
        "status": by_status(node["assetPartitionStatuses"]["ranges"]),
        "checks": checks,
    }


def by_status(ranges: list[dict[str, str]]) -> dict[str, list[tuple[str, str]]]:
    result: dict[str, list[tuple[str, str]]] = {}
    for one in ranges:
        result.setdefault(one["status"], []).append((one["startKey"], one["endKey"]))
    return result
