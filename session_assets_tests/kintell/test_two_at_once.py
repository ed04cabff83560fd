"""Several imports at once: of one file, of several files, of files that overlap, and beside a live writer."""

from __future__ import annotations

import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from session_assets.errors import LockHeld, UsageError
from session_assets.kintell.jobs import Job
from session_assets_tests.counts import times
from session_assets_tests.kintell.killed import Work, start
from session_assets_tests.kintell.scenario import File, Kintell


def attempt(kintell: Kintell, file: File, barrier: threading.Barrier) -> Job | LockHeld:
    barrier.wait()
    try:
        return kintell.run(file, batch_size=20)
    except LockHeld as error:
        return error


def test_two_importers_of_one_file_make_one_job(kintell: Kintell) -> None:
    kintell.users()
    outcomes = Counter[str]()
    for number in range(times(5, 50)):
        file = File([kintell.row(1000 * number + n) for n in range(60)])
        barrier = threading.Barrier(2)
        with ThreadPoolExecutor(2) as pool:
            both = [one.result() for one in [pool.submit(attempt_or_done, kintell, file, barrier) for _ in range(2)]]
        outcomes.update(both)
        job = kintell.jobs.find(file.source)
        assert job is not None
        assert (job.status, job.inserted_rows, job.skipped_rows) == ("completed", 60, 0)
        assert kintell.one("SELECT count(*) FROM kintell_sessions") == 60 * (number + 1)
        assert kintell.one("SELECT count(*) FROM backfill_jobs") == number + 1
    assert outcomes["imported"] >= times(5, 50)


def attempt_or_done(kintell: Kintell, file: File, barrier: threading.Barrier) -> str:
    """`imported` (by us, or by the other while we waited for the lock), or why not."""
    try:
        outcome = attempt(kintell, file, barrier)
    except UsageError as error:  # the other had finished before we asked
        assert "there is nothing to resume" in str(error)
        return "finished before"
    if isinstance(outcome, LockHeld):
        assert "is worked on by: kintell import pid" in str(outcome)
        return "held"
    return "imported"


def test_the_holder_is_named_and_a_paused_job_goes_on(kintell: Kintell, tmp_path: Path) -> None:
    file = File([kintell.row(number) for number in range(60)])
    marker = tmp_path / "reached"
    worker = start(Work("import", kintell.database.url, file, failpoints=f"kintell.committed@2=pause:{marker}"))
    while not marker.exists():
        worker.join(0.01)
    job = kintell.jobs.find(file.source)
    assert job is not None
    assert (job.status, job.stuck) == ("running", False)
    assert f"pid {worker.pid}" in (job.holder or "")
    for forbidden in (lambda: kintell.run(file), lambda: kintell.jobs.fail(job.id), lambda: kintell.revert(job.id)):
        with pytest.raises(LockHeld, match=f"pid {worker.pid}"):
            forbidden()
    kintell.jobs.pause(job.id)
    marker.unlink()
    worker.join(30)
    paused = kintell.jobs.get(job.id)
    assert (paused.status, paused.holder) == ("paused", None)
    assert 20 <= paused.processed_rows < 60
    assert kintell.run(file, batch_size=10).inserted_rows == 60


def test_a_job_whose_process_died_can_be_failed_and_still_resumed(kintell: Kintell) -> None:
    file = File([kintell.row(number) for number in range(60)])
    worker = start(Work("import", kintell.database.url, file, failpoints="kintell.committed@2=kill"))
    worker.join(30)
    job = kintell.killed_job(file)
    assert job is not None
    assert job.stuck
    failed = kintell.jobs.fail(job.id)
    assert (failed.status, failed.reason, failed.processed_rows) == ("failed", "given up by an operator", 20)
    assert kintell.run(file, batch_size=10).inserted_rows == 60


def test_four_imports_side_by_side(kintell: Kintell) -> None:
    files = [File([kintell.row(1000 * number + n) for n in range(300)]) for number in range(4)]
    barrier = threading.Barrier(4)
    with ThreadPoolExecutor(4) as pool:
        jobs = [one.result() for one in [pool.submit(attempt, kintell, file, barrier) for file in files]]
    assert [job.inserted_rows for job in jobs if isinstance(job, Job)] == [300] * 4
    assert kintell.one("SELECT count(*), count(DISTINCT external_session_id) FROM kintell_sessions") == (1200, 1200)


def test_imports_that_overlap_lose_and_double_nothing(kintell: Kintell) -> None:
    """The same sessions in opposite orders: every batch of one meets those of the other."""
    rows = [kintell.row(number) for number in range(400)]
    for number in range(times(2, 10)):
        files = [File(rows), File([*reversed(rows), f"makes it another file {number}"])]
        barrier = threading.Barrier(2)
        with ThreadPoolExecutor(2) as pool:
            jobs = [one.result() for one in [pool.submit(attempt, kintell, file, barrier) for file in files]]
        assert all(isinstance(job, Job) and job.status == "completed" for job in jobs)
        assert sum(job.inserted_rows for job in jobs if isinstance(job, Job)) == 400
        assert kintell.one("SELECT count(*), count(DISTINCT external_session_id) FROM kintell_sessions") == (400, 400)
        with kintell.connect() as connection:
            connection.execute(
                "TRUNCATE kintell_sessions, backfill_jobs, backfill_outbox, backfill_row_changes, backfill_rejects"
            )


def test_a_live_writer_of_the_same_ids_is_waited_for(kintell: Kintell) -> None:
    """A session that appears while its batch is written is met as if it had been there: nothing fails, nothing is doubled."""
    file = File([kintell.row(number) for number in range(40)])
    user = kintell.users()["participant1@example.com"]
    with kintell.connect() as connection, ThreadPoolExecutor(1) as pool:
        connection.autocommit = False
        connection.execute(
            "INSERT INTO kintell_sessions (external_session_id, session_type, participant_id, volunteer_id)"
            " VALUES ('kintell-session-00025', 'language', %s, %s)",
            [user, user],
        )
        importing = pool.submit(kintell.run, file)
        importing_waits = "SELECT count(*) FROM pg_locks WHERE NOT granted AND locktype = 'transactionid'"
        while not importing.done() and kintell.one(importing_waits) == 0:
            threading.Event().wait(0.01)
        connection.commit()
        job = importing.result()
    assert (job.inserted_rows, job.updated_rows) == (39, 1)
