"""Steps 3 to 7 of the Kintell runbook (seed S4) with its own commands: other host and port, and the token."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest

from session_assets_tests.api.server import HAS_CURL, Api
from session_assets_tests.kintell.files import clean, write
from session_assets_tests.kintell.scenario import Kintell

pytestmark = pytest.mark.skipif(not HAS_CURL, reason="the runbook needs bash, curl, jq and awk on the PATH")

START = """curl -X POST http://localhost:3002/import/backfill/start \\
  -F "file=@kintell_sessions.csv" \\
  | jq '.'"""
RESUME = """curl -X POST http://localhost:3002/import/backfill/$JOB_ID/resume \\
  -F "file=@kintell_sessions.csv" \\
  | jq '.'"""
MONITOR = "curl -s http://localhost:3002/import/backfill/$JOB_ID/status | jq '.percentComplete, .status'"
ONCE = "curl http://localhost:3002/import/backfill/$JOB_ID/status | jq '.'"
ERRORS = "curl -o errors.csv http://localhost:3002/import/backfill/$JOB_ID/errors"
REVIEW = "head -n 10 errors.csv; grep 'not found' errors.csv | wc -l; grep 'Invalid email' errors.csv | wc -l"
FIX = """awk -F',' 'NR>1 {print $1,$2,$3,$4,$5,$6,$7,$8,$9}' OFS=',' errors.csv > failed_rows.csv
head -n 1 kintell_sessions.csv > failed_rows_fixed.csv
tail -n +2 failed_rows.csv >> failed_rows_fixed.csv"""
AGAIN = """curl -X POST http://localhost:3002/import/backfill/start \\
  -F "file=@failed_rows_fixed.csv" \\
  | jq '.'"""
RESUME_AGAIN = """curl -X POST http://localhost:3002/import/backfill/$RETRY_JOB_ID/resume \\
  -F "file=@failed_rows_fixed.csv" \\
  | jq '.'"""


def test_every_command_works(api: Api, kintell: Kintell, tmp_path: Path) -> None:
    rows = [clean(n, feedback_text="Great") for n in range(20)]  # the awk of step 7 does not know quotes
    rows[3] |= {"participant_email": "missing@example.com"}
    rows[4] |= {"volunteer_email": "gone@example.com"}
    rows[7] |= {"participant_email": "no mail"}
    write(tmp_path / "kintell_sessions.csv", rows)
    created = json.loads(api.runbook(START, tmp_path))
    job = created.pop("jobId")
    assert created == {
        "fileName": "kintell_sessions.csv",
        "totalRows": 20,
        "status": "pending",
        "message": "Backfill job created. Call resume endpoint to start processing.",
    }
    assert kintell.one("SELECT count(*) FROM kintell_sessions") == 0
    resumed = json.loads(api.runbook(RESUME, tmp_path, JOB_ID=job))
    errors, message = resumed.pop("errorFilePath"), resumed.pop("message")
    assert Path(errors).is_file()
    (health,) = api.get("/api/health/sessions").json()["collections"]
    assert health["last_verify"] is None  # the checks of one import are no verify of all
    assert resumed == {
        "jobId": job,
        "fileName": "kintell_sessions.csv",
        "totalRows": 20,
        "processedRows": 20,
        "successfulRows": 17,
        "failedRows": 3,
        "status": "completed",
        "percentComplete": 100,
        "keptRows": 0,
        "openRejects": 3,
        "missingRows": 0,
        "phase": None,
        "holder": None,
    }
    assert "import the same file again" in message
    assert f"rejects close {job}" in message.replace("\n", " ")
    assert api.runbook(MONITOR, tmp_path, JOB_ID=job).split() == ["100", '"completed"']
    assert json.loads(api.runbook(ONCE, tmp_path, JOB_ID=job)) == {
        **resumed,
        "errorFilePath": errors,
        "message": message,
    }
    api.runbook(ERRORS, tmp_path, JOB_ID=job)
    assert api.runbook(REVIEW, tmp_path).split()[-2:] == ["2", "1"]
    rejected = list(csv.DictReader(io.StringIO((tmp_path / "errors.csv").read_text())))
    assert [row["_error_row"] for row in rejected] == ["4", "5", "8"]

    api.runbook(FIX, tmp_path)
    retry = json.loads(api.runbook(AGAIN, tmp_path))
    assert (retry["status"], retry["totalRows"]) == ("pending", 2)  # the `tail` of the runbook drops one
    done = json.loads(api.runbook(RESUME_AGAIN, tmp_path, RETRY_JOB_ID=retry["jobId"]))
    assert (done["status"], done["failedRows"]) == ("completed", 2)


def test_same_addresses_below_v1(api: Api, tmp_path: Path) -> None:
    write(tmp_path / "kintell_sessions.csv", [clean(1)])
    there = {command: command.replace(":3002/import", ":3002/v1/import") for command in (START, ONCE, ERRORS)}
    job = json.loads(api.runbook(there[START], tmp_path))["jobId"]
    assert json.loads(api.runbook(there[ONCE], tmp_path, JOB_ID=job))["status"] == "pending"
    api.runbook(there[ERRORS], tmp_path, JOB_ID=job)
    assert (tmp_path / "errors.csv").read_text().startswith("session_id,")


def test_health_answers_as_the_runbook_says(api: Api, tmp_path: Path) -> None:
    found = json.loads(api.runbook("curl http://localhost:3002/health", tmp_path))
    assert (found["status"], set(found["stores"].values())) == ("ok", {"ok"})
