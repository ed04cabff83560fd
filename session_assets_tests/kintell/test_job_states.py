"""States of jobs: what may follow what, and that a process which was taken for dead can commit nothing."""

from __future__ import annotations

import pytest

from session_assets.errors import UsageError
from session_assets.kintell.batch import Batch
from session_assets.kintell.jobs import Job
from session_assets_tests.kintell.scenario import File, Kintell


def file(kintell: Kintell) -> File:
    return File([kintell.row(number) for number in range(40)])


def begun(kintell: Kintell, whole: File) -> tuple[Job, list[Batch]]:
    job = kintell.jobs.begin(kintell.jobs.start(whole.name, whole.source))
    return job, list(whole.batches(10))


def test_who_was_taken_for_dead_commits_nothing(kintell: Kintell) -> None:
    """Its lock went with its connection, another went on with the job, and then it wakes up."""
    whole = file(kintell)
    job, batches = begun(kintell, whole)
    sleeper = kintell.jobs.lane(job)
    written = sleeper.write(batches[0])
    kintell.jobs.begin(job)
    with pytest.raises(UsageError, match="was taken over by another process"):
        sleeper.commit(batches[0], written, 0)
    sleeper.close()
    assert kintell.dump()["sessions"] == []
    assert kintell.run(whole).inserted_rows == 40


def test_a_batch_is_never_committed_out_of_order(kintell: Kintell) -> None:
    job, batches = begun(kintell, file(kintell))
    lane = kintell.jobs.lane(job)
    written = lane.write(batches[1])
    with pytest.raises(UsageError, match="was taken over"):
        lane.commit(batches[1], written, 10)
    lane.close()
    assert kintell.dump()["sessions"] == []


def test_a_pending_job_is_paused_at_once_and_starts_again(kintell: Kintell) -> None:
    whole = file(kintell)
    job = kintell.jobs.start(whole.name, whole.source)
    assert job.status == "pending"
    assert kintell.jobs.pause(job.id).status == "paused"
    assert kintell.run(whole).status == "completed"


def test_a_pause_stops_between_two_batches(kintell: Kintell) -> None:
    whole = file(kintell)
    job, batches = begun(kintell, whole)
    lane = kintell.jobs.lane(job)
    written = lane.write(batches[0])
    kintell.jobs.pause(job.id)
    assert lane.commit(batches[0], written, 0)
    lane.close()
    assert kintell.jobs.get(job.id).processed_rows == 10


@pytest.mark.parametrize("action", ["pause", "fail"])
def test_a_finished_job_is_neither_paused_nor_failed(kintell: Kintell, action: str) -> None:
    job = kintell.run(file(kintell))
    with pytest.raises(UsageError, match=job.id):
        getattr(kintell.jobs, action)(job.id)
    assert kintell.jobs.get(job.id).status == "completed"


@pytest.mark.parametrize("name", ["00000000-0000-0000-0000-000000000000", "no uuid"])
def test_an_unknown_job_is_named(kintell: Kintell, name: str) -> None:
    with pytest.raises(UsageError, match=f"There is no import job {name}"):
        kintell.jobs.get(name)
