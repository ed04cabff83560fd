"""kill -9 at each named point and at random times of an import, then resume: all tables equal an uninterrupted import."""

from __future__ import annotations

import random
import time
from typing import Any

import pytest

from session_assets_tests.counts import times
from session_assets_tests.kintell.killed import Work, run
from session_assets_tests.kintell.scenario import File, Kintell
from session_assets_tests.random_kills import RandomKills

POINTS = ["checked", "begun", "rejected", "staged", "locked", "updated", "inserted", "counted", "committed", "loaded"]
PLACES = [f"kintell.{point}" for point in POINTS] + [f"kintell.{point}@3" for point in POINTS[2:-1]]
BATCH = 10


def earlier(kintell: Kintell) -> File:
    """What the table holds before the import that is killed."""
    return File([kintell.row(number, duration_minutes=700, feedback_text="before") for number in range(0, 60, 3)])


def file(kintell: Kintell, count: int = 95) -> File:
    """Rows of every fate: inserted, updated, the same as before, rejected, repeated."""
    rows: list[Any] = [kintell.row(number) for number in range(count)]
    for number in range(0, 60, 6):
        rows[number] = kintell.row(number, duration_minutes=700, feedback_text="before")
    for number in range(5, count, 9):
        rows[number] = "Invalid date format"
    for number in range(7, count, 13):
        rows[number] = None
    return File(rows)


def clear(kintell: Kintell) -> None:
    with kintell.connect() as connection:
        connection.execute(
            "TRUNCATE kintell_sessions, backfill_jobs, backfill_rejects, backfill_row_changes, backfill_outbox"
        )
    kintell.run(earlier(kintell))


def uninterrupted(kintell: Kintell, whole: File, batch_size: int = BATCH) -> dict[str, list[tuple[Any, ...]]]:
    clear(kintell)
    kintell.run(whole, batch_size=batch_size)
    dump = kintell.dump()
    clear(kintell)
    return dump


@pytest.mark.parametrize("place", PLACES)
def test_a_killed_import_ends_as_an_uninterrupted_one(kintell: Kintell, place: str) -> None:
    whole = file(kintell)
    goal = uninterrupted(kintell, whole)
    assert run(Work("import", kintell.database.url, whole, failpoints=f"{place}=kill"))
    job = kintell.killed_job(whole)
    assert job is not None
    assert job.processed_rows == job.last_processed_row == job.successful_rows + job.failed_rows
    assert job.stuck or job.status == "pending"
    kintell.run(whole, batch_size=BATCH)
    assert kintell.dump() == goal


def test_killed_again_and_again(kintell: Kintell) -> None:
    whole = file(kintell)
    goal = uninterrupted(kintell, whole)
    kills = 0
    while run(Work("import", kintell.database.url, whole, failpoints=f"{random.choice(PLACES[2:])}=kill")):
        kills += 1
    assert kills
    assert kintell.dump() == goal


@pytest.mark.parametrize("part", range(times(1, 5)))
def test_killed_at_random_times(kintell: Kintell, part: int) -> None:
    whole = file(kintell, times(3_000, 100_000))
    size = times(200, 2_000)
    began = time.monotonic()
    goal = uninterrupted(kintell, whole, size)
    kills = RandomKills(times(3, 10), time.monotonic() - began)
    for after in kills:
        work = Work("import", kintell.database.url, whole, batch_size=size)
        kills.count(run(work, kill_after=after))
        job = kintell.jobs.find(whole.source)
        if job is None or job.status != "completed":
            kintell.run(whole, batch_size=size)
        assert kintell.dump() == goal
        clear(kintell)


def test_resuming_with_another_batch_size(kintell: Kintell) -> None:
    whole = file(kintell)
    goal = uninterrupted(kintell, whole)
    assert run(Work("import", kintell.database.url, whole, failpoints="kintell.committed@3=kill"))
    kintell.run(whole, batch_size=7)
    assert kintell.dump() == goal
