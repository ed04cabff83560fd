"""Imports that the server starts: one at a time for a job, outliving the server, and told as they are."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path

import psutil
import pytest

from session_assets_tests.api.server import Api, started
from session_assets_tests.counts import FULL
from session_assets_tests.kintell.files import clean, write
from session_assets_tests.kintell.scenario import Kintell
from session_assets_tests.web.acceptance.terminal import Terminal

START = "/import/backfill/start"
_LARGE = 200 * 1024**2


def resume(job: str) -> str:
    return f"/import/backfill/{job}/resume"


def wait_for(api: Api, job: str, status: str) -> dict[str, object]:
    deadline, found = time.monotonic() + 60, dict[str, object]()
    while time.monotonic() < deadline:
        found = api.get(f"/import/backfill/{job}/status").json()
        if found["status"] == status:
            return found
        time.sleep(0.1)
    raise AssertionError(found)


def test_of_two_resumes_at_once_one_works(api: Api, kintell: Kintell, tmp_path: Path) -> None:
    file = write(tmp_path / "a.csv", [clean(n) for n in range(50)])
    job = api.upload(START, file).json()["jobId"]
    codes: list[int] = []

    def call() -> None:
        codes.append(api.upload(resume(job), file).status_code)

    threads = [threading.Thread(target=call) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(codes) == [200, 409, 409]
    assert wait_for(api, job, "completed")["successfulRows"] == 50
    assert kintell.one("SELECT count(*) FROM kintell_sessions") == 50
    again = api.upload(resume(job), file)
    assert (again.status_code, again.json()["status"]) == (200, "completed")  # nothing is left to do

    other = write(tmp_path / "b.csv", [clean(60)])
    assert api.upload(resume(job), other).status_code == 409
    assert kintell.one("SELECT count(*) FROM kintell_sessions") == 50
    assert api.upload(START, file).json()["jobId"] == job


def test_an_import_outlives_the_server(cli: Terminal, kintell: Kintell, tmp_path: Path) -> None:
    file = write(tmp_path / "a.csv", [clean(n) for n in range(30)])
    marker = tmp_path / "paused"
    pause = {"SESSION_ASSETS_FAILPOINTS": f"kintell.begun=pause:{marker}", "SESSION_ASSETS_API_WAIT_SECONDS": "0"}
    with started(cli, **pause) as api:
        job = api.upload(START, file).json()["jobId"]
        begun = api.post(resume(job)).json()  # the server has its copy of the file
        assert begun["status"] == "running"
        assert begun["phase"] in ("starting", "validating", "loading")
        deadline = time.monotonic() + 60
        while not marker.exists():
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert api.get(f"/import/backfill/{job}/status").json()["status"] == "running"
        os.kill(api.running.pid, signal.SIGKILL)
    with started(cli) as api:
        assert api.post(resume(job)).status_code == 409  # told by the lock, whoever holds it
        marker.unlink()
        assert wait_for(api, job, "completed")["processedRows"] == 30
    assert kintell.one("SELECT count(*) FROM kintell_sessions") == 30


def test_a_killed_import_is_told_and_resumed(api: Api, kintell: Kintell, cli: Terminal, tmp_path: Path) -> None:
    file = write(tmp_path / "a.csv", [clean(n) for n in range(30)])
    job = api.upload(START, file).json()["jobId"]
    cli.killed_at("kintell.committed@1", "resume", job, "--batch-size", "10")
    found = api.get(f"/import/backfill/{job}/status").json()
    assert (found["status"], found["processedRows"], found["percentComplete"]) == ("running", 10, 33)
    assert "resume it" in found["message"]
    assert api.post(resume(job)).json()["status"] == "completed"
    assert kintell.one("SELECT count(*) FROM kintell_sessions") == 30


@pytest.mark.skipif(not FULL, reason="the size of a full run")
def test_a_large_file_takes_little_memory(api: Api, kintell: Kintell, tmp_path: Path) -> None:
    file = tmp_path / "large.csv"
    row = ",".join(clean(1).values())
    with file.open("w") as out:
        out.write(",".join(clean(1)) + "\n")
        while out.tell() < _LARGE:
            out.write("".join(f"{row},{'x' * 200}\n".replace("00001", f"{out.tell()}-{n}") for n in range(1000)))
    process = psutil.Process(api.running.pid)
    api.get("/health")
    before, peak, done = process.memory_info().rss, 0, threading.Event()

    def watch() -> None:
        nonlocal peak
        while not done.is_set():
            peak = max(peak, process.memory_info().rss)
            time.sleep(0.02)

    watcher = threading.Thread(target=watch)
    watcher.start()
    created = api.upload(START, file)
    done.set()
    watcher.join()
    assert created.status_code == 200, created.text
    assert peak - before < 150 * 1024**2, f"{(peak - before) / 1024**2:.0f} MiB"
    assert api.get("/health").status_code == 200
