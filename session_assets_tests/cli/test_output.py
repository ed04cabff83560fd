"""What a person reads: ids, keys and names as they are, whatever they look like."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from session_assets.cli import output
from session_assets.cli.runner import Result

ODD = ["[/nope]", "[bold]x", "a:smile:b"]
BODY: dict[str, Any] = {"slice": "web", "run_id": "run", "plan_id": "p", "read": 3, "planned": 3, "partitions": []}
OUTCOMES = {"applied": 1, "already_applied": 0, "conflicted": 1, "failed": 1}


@pytest.mark.parametrize(
    "body",
    [
        {"command": "verify", "checks": [
            {"name": "one", "passed": False, "severity": "WARN", "count": 3, "sample": ODD, "description": "wrong."},
            {"name": "two", "passed": True, "severity": "WARN", "count": 0, "sample": [], "description": ""},
        ]},
        {"command": "apply", "outcomes": OUTCOMES, "errors": {ODD[0]: f"no {ODD[1]} {ODD[2]}"}},
        {"command": "revert", "dry_run": True, "undoable": 1, "refused": 3, "refused_sample": ODD},
        {"command": "plan", "failed_partitions": {"2025-01-01": " ".join(ODD)}},
        {"command": "plan", "files": [{"file": name, "rows": 1} for name in ODD]},
    ],
)  # fmt: skip
def test_texts_that_look_like_markup_are_shown(body: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    assert output.show(Result(BODY | body, 1), as_json=False) == 1
    shown = "".join(part.strip(" │") for part in capsys.readouterr().out.splitlines()).replace(" ", "")
    assert all(text in shown for text in ODD)


def test_a_command_prints_no_warnings_of_dagster(tmp_path: Path) -> None:
    """`target list` printed 27 of them, before each answer."""
    program = Path(sys.executable).with_name("session-assets")
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "SESSION_ASSETS_HOME": str(tmp_path / "home")}
    answer = subprocess.run([program, "target", "list"], env=environment, capture_output=True, text=True, check=True)
    assert "Warning" not in answer.stderr
