"""An apply or a revert of stored files in a process of its own that dies at a failpoint or when it is told to."""

from __future__ import annotations

from pathlib import Path

from session_assets_tests.flow.dying import is_killed
from session_assets_tests.flow.stored_scenario import Folder


def _work(action: str, base: Path, plan_id: str) -> None:
    folder = Folder(base)
    if action == "apply":
        folder.apply()
    else:
        folder.revert(folder.ledger.plan(plan_id))


def run(action: str, base: Path, failpoints: str, plan_id: str = "", *, kill_after: float | None = None) -> bool:
    """Do the work; returns whether the process was killed."""
    return is_killed(_work, action, base, plan_id, failpoints=failpoints, kill_after=kill_after)
