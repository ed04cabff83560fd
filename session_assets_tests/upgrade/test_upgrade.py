"""A released version's home is taken over: web here, all of it by `make upgrade-check`. What is missing is said."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from session_assets_tests.upgrade.check import upgrade_check
from session_assets_tests.upgrade.released import CURRENT, ReleaseMissing, require_history
from session_assets_tests.upgrade.report import Report
from session_assets_tests.upgrade.web import Web


def test_web_of_a_released_version_is_taken_over() -> None:
    try:
        require_history()
    except ReleaseMissing as missing:
        pytest.skip(str(missing))
    report = Report()
    upgrade_check([Web(all_cases=False)], report, without=["AZURE_COSMOS_ENDPOINT"])
    assert report.broken == []
    assert len(report.held) > 25


def test_shallow_clone_says_how_to_get_the_released_version(tmp_path: Path) -> None:
    if not (CURRENT / ".git").exists():
        pytest.skip("this is no git clone")
    clone = tmp_path / "clone"
    _git("clone", "-q", "--depth", "1", f"file://{CURRENT}", str(clone))
    done = subprocess.run(
        [sys.executable, "-P", "-m", "session_assets_tests.upgrade"],
        env={**os.environ, "PYTHONPATH": str(clone)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "shallow" in done.stderr and "git fetch --unshallow" in done.stderr


def test_clone_of_another_branch_says_what_to_fetch(tmp_path: Path) -> None:
    _git("init", "-q", str(tmp_path))
    with pytest.raises(ReleaseMissing, match=r"has only some branches.*git fetch origin"):
        require_history(root=tmp_path)


def test_folder_that_is_no_clone_is_named(tmp_path: Path) -> None:
    with pytest.raises(ReleaseMissing, match=rf"{tmp_path}.*not a git repository.*with its history"):
        require_history(root=tmp_path)


def test_difference_is_told_as_broken() -> None:
    report = Report(say=lambda _: None)
    report.equal("documents", {"a": {"1": b"x", "2": b"y"}}, {"a": {"1": b"x", "3": b"z"}})
    report.equal("rows", [1, 2], [1, 2])
    with report.part("a part"):
        raise RuntimeError("it stops")
    assert (report.held, report.broken) == (["rows"], ["documents", "a part"])


def _git(*arguments: str) -> None:
    subprocess.run(["git", *arguments], check=True, capture_output=True)
