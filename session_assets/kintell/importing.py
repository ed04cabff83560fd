"""One import from its file to its end state: held, checked as a whole, loaded batch by batch, and resumed after a lost server."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

from session_assets.errors import LockHeld, SessionAssetsError, StoreUnavailable
from session_assets.failpoints import failpoint
from session_assets.kintell.batch import Batch
from session_assets.kintell.jobs import Job, Outstanding, Policy
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
    def timezone(self) -> str | None: ...
    @property
    def total_rows(self) -> int: ...
    @property
    def absent(self) -> Sequence[str]: ...
    def batches(self, batch_size: int = ..., after_row: int = ..., last_row: int | None = ...) -> Iterator[Batch]: ...


class Jobs(Protocol):
    """The store of jobs, as `stores.kintell_jobs.JobStore`."""

    def hold(self, job: Job, purpose: str = ...) -> AbstractContextManager[None]: ...
    def get(self, job_id: str) -> Job: ...
    def outstanding(self, job: Job) -> Outstanding: ...
    def checking(self, job: Job, run_id: str | None = ...) -> Job: ...
    def begin(self, job: Job, run_id: str | None = ..., policy: Policy | None = ...) -> Job: ...
    def describe(
        self, job: Job, *, total_rows: int, header: list[str], encoding: str | None, timezone: str | None = ...
    ) -> Job: ...
    def complete(self, job: Job) -> Job: ...
    def paused(self, job: Job) -> Job: ...
    def failed(self, job: Job, reason: str) -> Job: ...
    def lane(self, job: Job, absent: Sequence[str], again: Outstanding | None = ...) -> Lane: ...


def run_import(
    jobs: Jobs,
    job: Job,
    check: Callable[[Job], Checked],
    *,
    batch_size: int = DEFAULT_BATCH_SIZE,
    policy: Policy | None = None,
    run_id: str | None = None,
    reads_otherwise: bool = False,
) -> Job:
    """Import the rest of a job's file, and what is outstanding of the rows before; returns the job, completed or paused.

    Sessions that are gone come back, and rejected rows are retried: what an earlier command recorded is compared with the table.
    A completed job of which nothing is outstanding is returned as it is, unless its file is now read in another way.

    `check` makes the validation pass and may raise: the job is then failed with that reason, unless it was completed, and nothing
    was committed. It runs once, while the job is held, and is given the job as it is then. A server that goes away is waited for;
    then the import goes on at its checkpoint. Raises `LockHeld`, `UsageError` for a job that was rolled back, `StoreUnavailable`,
    and what `check` and the store raise.
    """
    job.require_resumable()
    checked: Checked | None = None
    committed, patience = job.last_processed_row, iter(_PAUSES)
    while True:
        try:
            with jobs.hold(job):
                job = jobs.get(job.id)
                job.require_resumable()
                again = jobs.outstanding(job) if job.last_processed_row else None
                if job.status == "completed" and not (again and again.any) and not reads_otherwise:
                    return job
                job = jobs.checking(job, run_id)
                with _failing(jobs, job):
                    checked = checked or check(job)
                    failpoint("kintell.checked")
                job = jobs.begin(job, run_id, policy)
                with _failing(jobs, job):
                    return _loaded(jobs, job, checked, batch_size, again)
        except StoreUnavailable as error:
            pause = next(patience, None)
            if checked is None or pause is None:
                raise
            time.sleep(pause)
            now = _standing(jobs, job, error)
            if now.last_processed_row > committed:
                committed, patience = now.last_processed_row, iter(_PAUSES)


def _loaded(jobs: Jobs, job: Job, checked: Checked, batch_size: int, again: Outstanding | None) -> Job:
    described = jobs.describe(
        job,
        total_rows=checked.total_rows,
        header=checked.header,
        encoding=checked.encoding,
        timezone=checked.timezone,
    )
    failpoint("kintell.begun")
    if again is not None and again.any:
        before = checked.batches(batch_size, 0, described.last_processed_row)
        retried = load_batches(described, before, lambda: jobs.lane(described, checked.absent, again), after_row=0)
        if retried.paused:
            return jobs.paused(described)
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
        is_over = self._job.status == "completed"  # nothing of it has changed
        if isinstance(error, Exception) and not isinstance(error, StoreUnavailable | LockHeld) and not is_over:
            self._jobs.failed(self._job, str(error))
