"""Work that stopped half-way is told as long as it is not finished, whatever somebody wrote into `backfill_jobs`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from session_assets_tests.kintell.acceptance.test_imports import imported
from session_assets_tests.kintell.acceptance.test_what_is_open import execute, sessions
from session_assets_tests.kintell.files import clean, write
from session_assets_tests.kintell.scenario import Kintell
from session_assets_tests.web.acceptance.terminal import Terminal


def stopped(cli: Terminal, folder: Path, failpoint: str = "kintell.committed@1") -> tuple[Path, str]:
    """A file of 30 rows whose import was killed, after 10 of them by default; and its job."""
    path = write(folder / "a.csv", [clean(n) for n in range(30)])
    cli.killed_at(failpoint, "import", path, "--batch-size", "10")
    return path, json.loads(cli("jobs", "--json").out)[0]["id"]


def test_an_import_that_stopped_half_way_is_told_until_it_goes_on(
    cli: Terminal, tmp_path: Path, stored: Kintell
) -> None:
    _, job = stopped(cli, tmp_path)
    cli("pause", job)
    paused = cli("verify", "kintell", "--json")
    check = paused.check("imports_are_finished")
    assert (paused.code, check["severity"], check["count"], check["sample"]) == (0, "WARN", 20, [job])
    cli("fail", job)
    failed = cli("verify", "kintell", "--json")
    check = failed.check("imports_are_finished")
    assert (failed.code, check["severity"], check["count"]) == (1, "ERROR", 20)
    assert "session-assets resume JOB" in check["description"] and "10 of 30 rows" in check["description"]
    assert cli("resume", job).code == 0
    assert cli("verify", "kintell").code == 0


def test_a_revert_that_was_killed_is_told_until_it_is_finished(cli: Terminal, tmp_path: Path, stored: Kintell) -> None:
    path = write(tmp_path / "a.csv", [clean(n) for n in range(3)])
    job = imported(cli("import", path, "--json"))["job_id"]
    cli.killed_at("kintell.revert.committed", "revert", "kintell", "--plan-id", job)
    execute(stored, "UPDATE backfill_jobs SET status = 'completed'")
    command = f"session-assets revert kintell --plan-id {job}"
    verified = cli("verify", "kintell", "--json")
    check = verified.check("reverts_are_finished")
    assert (verified.code, check["severity"], check["count"], check["sample"]) == (1, "ERROR", 1, [job])
    would = cli("import", path, "--dry-run", "--json").body
    assert (command in would["obstacles"][0], would["nothing_to_do"]) == (True, False)
    refused = cli("import", path)
    assert (refused.code, command in refused.err.replace("\n", " ")) == (2, True), refused
    assert (cli("revert", "kintell", "--plan-id", job).code, sessions(stored)) == (0, 0)
    assert cli("verify", "kintell").code == 0


@pytest.mark.parametrize(("failpoint", "rows"), [("kintell.committed@1", 10), ("kintell.checked@1", 0)])
def test_a_job_that_is_marked_as_completed_by_hand_is_not_believed(
    cli: Terminal, tmp_path: Path, stored: Kintell, failpoint: str, rows: int
) -> None:
    path, job = stopped(cli, tmp_path, failpoint)
    execute(stored, "UPDATE backfill_jobs SET status = 'completed'")
    listed = json.loads(cli("jobs", "--json").out)[0]
    assert (listed["status"], "set to completed by hand" in listed["reason"]) == ("failed", True)
    verified = cli("verify", "kintell", "--json")
    check = verified.check("rows_accounted")
    assert (verified.code, check["severity"], check["passed"], check["sample"]) == (1, "ERROR", False, [job])
    would = cli("import", path, "--dry-run", "--json").body
    assert (would["would_insert"], would.get("nothing_to_do", False)) == (30 - rows, False)
    again = imported(cli("resume", job, "--json"))
    assert (again["job_id"], again["inserted"], again["status"], sessions(stored)) == (job, 30, "completed", 30)
    assert cli("verify", "kintell").code == 0
