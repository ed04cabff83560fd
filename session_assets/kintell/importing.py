"""One import from its file to its end state: held, checked as a whole, loaded batch by batch, and resumed after a lost server."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

from session_assets.errors import LockHeld, SessionAssetsError, StoreUnavailable
from session_assets.failpoints import failpoint
from session_assets.kintell.batch import Batch
from session_assets.kintell.jobs import Job, Policy
from session_assets.kintell.load import Lane, load_batches

DEFAULT_BATCH_SIZE = 10_000
_PAUSES = (1.0, 2.0, 4.0)  # seconds before an import goes on after a lost server, as long as nothing new was committed


class Checked(Protocol):
    """A file that the validation pass has read as a whole, as `validation.Validated`."""

    @property
    def header(self) -> list[str]: ...
    @property
    def encoding(self) -> str | None: ...
    @property
    def total_rows(self) -> int: ...
    @property
    def absent(self) -> Sequence[str]: ...
    def batches(self, batch_size: int = ..., after_row: int = ...) -> Iterator[Batch]: ...


class Jobs(Protocol):
    """The store of jobs, as `stores.kintell_jobs.JobStore`."""

    def hold(self, job: Job, purpose: str = ...) -> AbstractContextManager[None]: ...
    def get(self, job_id: str) -> Job: ...
    def begin(self, job: Job, run_id: str | None = ..., policy: Policy | None = ...) -> Job: ...
    def describe(self, job: Job, *, total_rows: int, header: list[str], encoding: str | None) -> Job: ...
    def complete(self, job: Job) -> Job: ...
    def paused(self, job: Job) -> Job: ...
    def failed(self, job: Job, reason: str) -> Job: ...
    def lane(self, job: Job, absent: Sequence[str]) -> Lane: ...


def run_import(
    jobs: Jobs,
    job: Job,
    check: Callable[[Job], Checked],
    *,
    batch_size: int = DEFAULT_BATCH_SIZE,
    policy: Policy | None = None,
    run_id: str | None = None,
) -> Job:
    """Import the rest of a job's file; returns the job, completed or paused.

    `check` makes the validation pass and may raise: the job is then failed with that reason, and nothing was committed. It
    runs once, while the job is held, and is given the job as it stands then. A server that goes away is waited for; then the
    import goes on at its checkpoint. Raises `LockHeld`, `UsageError` for a job that is over, `StoreUnavailable`, and what
    `check` and the store raise.
    """
    job.require_resumable()
    checked: Checked | None = None
    committed, patience = job.last_processed_row, iter(_PAUSES)
    while True:
        try:
            with jobs.hold(job):
                job = jobs.get(job.id)
                if job.status == "completed":  # by somebody who held it until now
                    return job
                job.require_resumable()
                with _failing(jobs, job):
                    checked = checked or check(job)
                    failpoint("kintell.checked")
                job = jobs.begin(job, run_id, policy)
                with _failing(jobs, job):
                    return _loaded(jobs, job, checked, batch_size)
        except StoreUnavailable as error:
            pause = next(patience, None)
            if checked is None or pause is None:
                raise
            time.sleep(pause)
            now = _standing(jobs, job, error)
            if now.last_processed_row > committed:
                committed, patience = now.last_processed_row, iter(_PAUSES)


def _loaded(jobs: Jobs, job: Job, checked: Checked, batch_size: int) -> Job:
    described = jobs.describe(job, total_rows=checked.total_rows, header=checked.header, encoding=checked.encoding)
    failpoint("kintell.begun")
    batches = checked.batches(batch_size, described.last_processed_row)
    loaded = load_batches(described, batches, lambda: jobs.lane(described, checked.absent))
    if loaded.paused:
        return jobs.paused(described)
    failpoint("kintell.loaded")
    if loaded.last_row != checked.total_rows:
        raise SessionAssetsError(
            f"{job.file_name}: {loaded.last_row:,} of {checked.total_rows:,} rows were accounted for. Report this; job"
            f" {job.id} can be rolled back."
        )
    return jobs.complete(described)


def _standing(jobs: Jobs, job: Job, error: StoreUnavailable) -> Job:
    try:
        return jobs.get(job.id)
    except StoreUnavailable:
        raise error from None


class _failing(AbstractContextManager[None]):  # noqa: N801
    """Marks the job failed, with the reason, for any error that a lost server or an interruption is not."""

    def __init__(self, jobs: Jobs, job: Job) -> None:
        self._jobs, self._job = jobs, job

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, Exception) and not isinstance(error, StoreUnavailable | LockHeld):
            self._jobs.failed(self._job, str(error))
