"""What the endpoints say of a job: its state as of now, what is outstanding, and why it failed; and what they do about it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from session_assets_tests.api.server import Api, started
from session_assets_tests.kintell.files import clean, write
from session_assets_tests.kintell.scenario import Kintell
from session_assets_tests.web.acceptance.terminal import Terminal

START = "/import/backfill/start"


@pytest.fixture
def api(cli: Terminal, kintell: Kintell) -> Iterator[Api]:
    """A server that waits for the end of what it starts, also on a busy machine."""
    with started(cli, SESSION_ASSETS_API_WAIT_SECONDS="80") as running:
        yield running


def to(job: str, what: str) -> str:
    return f"/import/backfill/{job}/{what}"


def send(api: Api, path: str, file: Path, **fields: str) -> httpx.Response:
    with file.open("rb") as content:
        return api.post(path, files={"file": (file.name, content)}, data=fields)


def imported(api: Api, file: Path, **fields: str) -> dict[str, Any]:
    started_ = send(api, START, file, **fields)
    assert started_.status_code == 200, started_.text
    answer = api.post(to(started_.json()["jobId"], "resume"))
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_the_same_file_again_retries_its_rejects(api: Api, kintell: Kintell, tmp_path: Path) -> None:
    file = write(
        tmp_path / "a.csv", [clean(n, **({"participant_email": "new@example.com"} if n else {})) for n in range(4)]
    )
    first = imported(api, file)
    assert (first["successfulRows"], first["failedRows"], first["openRejects"]) == (1, 3, 3)
    with kintell.connect() as connection:
        connection.execute("INSERT INTO users (email, role) VALUES ('new@example.com', 'participant')")
    would = send(api, START, file, dryRun="true").json()
    assert (would["jobId"], would["wouldInsert"], would["wouldReject"]) == (first["jobId"], 3, 0)
    again = send(api, START, file).json()
    assert (again["jobId"], again["status"]) == (first["jobId"], "completed")
    assert "3 rejected rows are open" in again["message"]
    done = api.post(to(first["jobId"], "resume")).json()
    assert (done["successfulRows"], done["failedRows"], done["openRejects"], done["message"]) == (4, 0, 0, None)
    assert kintell.one("SELECT count(*) FROM kintell_sessions") == 4


def test_sessions_that_were_removed_are_told_and_come_back(api: Api, kintell: Kintell, tmp_path: Path) -> None:
    file = write(tmp_path / "a.csv", [clean(n) for n in range(4)])
    job = imported(api, file)["jobId"]
    with kintell.connect() as connection:
        connection.execute("DELETE FROM kintell_sessions")
    found = api.get(to(job, "status")).json()
    assert (found["status"], found["missingRows"]) == ("completed", 4)
    assert "removed since" in found["message"]
    assert send(api, to(job, "resume"), file).json()["missingRows"] == 0
    assert kintell.one("SELECT count(*) FROM kintell_sessions") == 4


def test_skipped_rows_that_went_with_another_job_are_told_and_come_back(
    api: Api, cli: Terminal, kintell: Kintell, tmp_path: Path
) -> None:
    rows = [clean(n) for n in range(4)]
    first = imported(api, write(tmp_path / "a.csv", rows[:3]))["jobId"]
    file = write(tmp_path / "b.csv", rows)
    job = imported(api, file)["jobId"]
    kintell.revert(first)
    found = api.get(to(job, "status")).json()
    assert (found["missingRows"], send(api, START, file, dryRun="true").json()["wouldInsert"]) == (3, 3)
    in_terminal = cli("resume", job)
    for message in (found["message"], in_terminal.out + in_terminal.err, send(api, START, file).json()["message"]):
        assert "Up to 3 rows that it skipped were removed since" in " ".join(message.split())
    assert send(api, to(job, "resume"), file).json()["missingRows"] == 0
    assert kintell.one("SELECT count(*) FROM kintell_sessions") == 4


def test_a_revert_that_stopped_half_way_is_told(api: Api, kintell: Kintell, tmp_path: Path) -> None:
    file = write(tmp_path / "a.csv", [clean(1)])
    job = imported(api, file)["jobId"]
    with kintell.connect() as connection:
        connection.execute("UPDATE backfill_jobs SET status = 'failed', reason = 'rolling back'")
    told = [
        send(api, START, file).json(),
        send(api, START, file, dryRun="true").json(),
        api.get(to(job, "status")).json(),
    ]
    assert all(f"session-assets revert kintell --plan-id {job}" in one["message"] for one in told)


def test_options_come_as_form_fields(api: Api, kintell: Kintell, tmp_path: Path) -> None:
    file = write(
        tmp_path / "a.csv", [clean(1, feedback_text="très", date="2024-07-15T10:00:00", volunteer_email="v@x.org")]
    )
    file.write_bytes(file.read_text().encode("latin-1"))
    assert send(api, START, file, dryRun="true").json()["wouldReject"] == 1
    assert send(api, START, file, dryRun="true", encoding="latin-1").json()["reasons"] == {
        "date_without_offset": 1,
        "volunteer_not_found": 1,
    }
    assert kintell.one("SELECT count(*) FROM backfill_jobs") == 0
    done = imported(api, file, encoding="latin-1", timezone="Europe/London", createUsers="true", policy="replace")
    assert (done["status"], done["successfulRows"]) == ("completed", 1)
    assert kintell.one("SELECT count(*) FROM kintell_sessions WHERE feedback_text = 'très'") == 1
    assert kintell.one("SELECT policy FROM backfill_jobs") == "replace"
    for name, value in (("encoding", "klingon"), ("timezone", "Mars/X"), ("policy", "all"), ("dryRun", "perhaps")):
        refused = send(api, START, file, **{name: value})
        assert (refused.status_code, name in refused.json()["detail"]) == (422, True), refused.text


def test_a_rehearsal_that_is_misspelt_or_asked_for_in_the_address_does_nothing(
    api: Api, kintell: Kintell, tmp_path: Path
) -> None:
    file = write(tmp_path / "a.csv", [clean(1)])
    job = send(api, START, file).json()["jobId"]
    for path, fields in ((to(job, "resume"), {"dry_run": "true"}), (f"{to(job, 'resume')}?dryRun=true", {})):
        refused = send(api, path, file, **fields)
        assert (refused.status_code, "dryRun" in refused.json()["detail"]) == (422, True), refused.text
    refused = api.post(f"{to(job, 'revert')}?dry_run=true")
    assert refused.status_code == 422, refused.text
    assert kintell.one("SELECT count(*) FROM kintell_sessions") == 0
    assert kintell.one("SELECT status FROM backfill_jobs") == "pending"


def test_a_second_start_of_a_bad_file_says_why(api: Api, cli: Terminal, tmp_path: Path) -> None:
    file = write(tmp_path / "a.csv", [clean(1), clean(2, date="soon")])
    assert cli("import", file, "--max-rejected-share", "0.1").code == 2
    again = send(api, START, file).json()
    assert again["status"] == "failed"
    assert "50.0%" in again["message"]
    broken = tmp_path / "b.csv"
    broken.write_text("a,b\n1,2\n")
    reasons = [send(api, START, broken).json()["detail"] for _ in range(2)]
    assert reasons[0] == reasons[1]
    assert "required columns are missing" in reasons[0]


def test_revert_answers_a_word_and_an_id_for_each_row_it_leaves(api: Api, kintell: Kintell, tmp_path: Path) -> None:
    job = imported(api, write(tmp_path / "a.csv", [clean(n) for n in range(5)]))["jobId"]
    with kintell.connect() as connection:
        connection.execute(
            "UPDATE kintell_sessions SET topics = '[1]' WHERE external_session_id = 'kintell-session-00002'"
        )
    would = api.post(to(job, "revert"), files={"dryRun": (None, "true")}).json()
    assert (would["undone"], would["left"], would["dryRun"]) == (4, 1, True)
    assert kintell.one("SELECT count(*) FROM kintell_sessions") == 5
    done = api.post(to(job, "revert")).json()
    assert (done["undone"], done["left"], done["status"]) == (4, 1, "failed")
    (line,) = done["leftRows"]
    assert line.startswith("kintell-session-00002 (row 3): edited: ")
    assert kintell.one("SELECT count(*) FROM kintell_sessions") == 1


def test_pause_stops_a_job_and_is_refused_when_it_is_over(api: Api, tmp_path: Path) -> None:
    file = write(tmp_path / "a.csv", [clean(1)])
    job = send(api, START, file).json()["jobId"]
    assert api.post(to(job, "pause")).json()["status"] == "paused"
    assert api.post(to(job, "resume")).json()["status"] == "completed"
    assert api.post(to(job, "pause")).status_code == 409
    assert api.post(to("no-such-job", "pause")).status_code == 404


def wait_for_phase(api: Api, job: str, phase: str) -> dict[str, Any]:
    deadline, found = time.monotonic() + 60, dict[str, Any]()
    while time.monotonic() < deadline:
        found = api.get(to(job, "status")).json()
        if found["phase"] == phase:
            return found
        time.sleep(0.05)
    raise AssertionError(found)


def test_status_is_that_of_now_while_a_resume_starts(cli: Terminal, kintell: Kintell, tmp_path: Path) -> None:
    file = write(tmp_path / "a.csv", [clean(n) for n in range(30)])
    cli.killed_at("kintell.committed@1", "import", file, "--batch-size", "10")
    job = str(kintell.one("SELECT id FROM backfill_jobs"))
    assert cli("fail", job, "--reason", "we gave up").code == 0
    checking, loading = tmp_path / "checking", tmp_path / "loading"
    points = f"kintell.checked=pause:{checking};kintell.begun=pause:{loading}"
    with started(cli, SESSION_ASSETS_FAILPOINTS=points, SESSION_ASSETS_API_WAIT_SECONDS="0") as api:
        assert api.get(to(job, "status")).json()["status"] == "failed"
        begun = send(api, to(job, "resume"), file).json()
        assert (begun["status"], begun["phase"], begun["message"]) == ("running", "starting", None)
        assert "of this server" in begun["holder"]
        found = wait_for_phase(api, job, "validating")
        assert (found["status"], found["processedRows"], found["message"]) == ("running", 10, None)
        assert "kintell import" in found["holder"]
        while not checking.exists():
            time.sleep(0.05)
        checking.unlink()
        assert wait_for_phase(api, job, "loading")["status"] == "running"
        while not loading.exists():
            time.sleep(0.05)
        loading.unlink()
        deadline = time.monotonic() + 60
        while api.get(to(job, "status")).json()["status"] != "completed":
            assert time.monotonic() < deadline
            time.sleep(0.05)
