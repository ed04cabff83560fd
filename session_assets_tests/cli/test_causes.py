"""Why a run failed, without the names of classes that a reader cannot use."""

from __future__ import annotations

from types import SimpleNamespace

from session_assets.graph.causes import cause


def test_a_blocking_check_is_named_without_a_class() -> None:
    name = "DagsterAssetCheckFailedError"
    said = f"dagster._core.errors.{name}: 1 blocking asset check failed with ERROR severity:\nflow/x: accounted\n"
    error = SimpleNamespace(cause=None, cls_name=name, message=said)
    assert cause(error)[1] == "1 blocking asset check failed with ERROR severity: flow/x: accounted"
