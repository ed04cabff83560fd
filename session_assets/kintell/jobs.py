"""Import jobs: one file, one job, and what may happen to it. Source: seed S4, "Recovery procedures".

pending → running → completed | failed | paused. The id of a job is the plan id of its undo. Identical bytes make the same job,
whatever the file is called, until that job was rolled back.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from session_assets.drops.content import open_drop
from session_assets.errors import BadInput, UsageError

State = Literal["pending", "running", "completed", "failed", "paused"]
Policy = Literal["update", "skip", "replace"]
"""For a session that is there and says something else: `update` leaves what blank cells would empty, `replace` does not."""
Phase = Literal["starting", "validating", "loading", "publishing", "reverting"]

ROLLED_BACK = "rolled back"
"""The reason of a failed job whose rows were taken back."""
ROLLING_BACK = "rolling back"
"""The reason of a failed job while its rows are taken back, and after that was interrupted."""

UTF_8 = "utf-8"
"""The encoding of a file of which nothing else is told."""
_READ = 1024 * 1024


class Conflict(Exception):
    """Somebody wrote the same rows at the same moment: nothing was committed, and the batch can be written again."""


class UnknownJob(UsageError):
    """No import job has this id: look at the list of jobs."""


class NotResumable(UsageError):
    """The job is over, or is being taken back: there is nothing to go on with."""


class SourceChanged(BadInput):
    """The file is not the one that the job began with: resume with the original, or import the new one by itself."""


@dataclass(frozen=True)
class Source:
    """A file by its content: SHA-256 in hex and size in bytes, of the file as it lies there (compressed or not)."""

    sha256: str
    byte_size: int

    @staticmethod
    def of(path: Path) -> Source:
        """Reads the whole file. Raises `BadInput` for what is no regular file."""
        digest, size = hashlib.sha256(), 0
        with open_drop(path) as file:
            while chunk := file.read(_READ):
                digest.update(chunk)
                size += len(chunk)
        return Source(digest.hexdigest(), size)


@dataclass(frozen=True)
class Outstanding:
    """What of a job's rows is not in the table, as counted there now.

    `lost` are rows of the file whose sessions the job wrote and that are gone. `open_rejects` were neither repaired by a later
    import nor closed. `skipped` rows are looked for with the file, since the table does not say which they were.
    """

    lost: frozenset[int]
    rejects: int
    open_rejects: int
    skipped: int
    written: int
    """Sessions that the job wrote and that are there."""
    skipped_gone: int = 0
    """So many of the skipped rows, at most, are gone: reverts of other jobs removed as many sessions since."""

    @property
    def missing(self) -> int:
        """Sessions of the file that are gone; of skipped rows, those that may be."""
        return len(self.lost) + self.skipped_gone

    @property
    def any(self) -> bool:
        """Whether reading the file again may change something."""
        return bool(self.lost or self.rejects or self.skipped)


@dataclass(frozen=True)
class Job:
    """A row of `backfill_jobs`, and who works on it.

    `processed_rows` = `successful_rows` + `failed_rows`, `successful_rows` = inserted + updated + skipped; all count rows of
    committed batches only. `encoding` is the one that its rows were read with, unless the file's mark says another; null of a job
    that has read nothing, or that an earlier version began. `asked` are options that came with the file. `kept_rows` counts rows
    that left a stored value where their cell is blank. Times are UTC.
    """

    id: str
    file_name: str
    status: State
    reason: str | None
    sha256: str | None
    byte_size: int | None
    run_id: str | None
    policy: Policy
    header: list[str] | None
    encoding: str | None
    error_file_path: str | None
    total_rows: int
    processed_rows: int
    successful_rows: int
    failed_rows: int
    inserted_rows: int
    updated_rows: int
    skipped_rows: int
    last_processed_row: int
    attempt: int
    pause_requested: bool
    digest_columns: list[str] | None
    events_total: int
    events_published: int
    started_at: datetime | None
    completed_at: datetime | None
    created_at: datetime
    updated_at: datetime
    timezone: str | None
    kept_rows: int
    asked: dict[str, Any] | None
    rejects_closed_at: datetime | None
    accepted_at: datetime | None
    phase: Phase | None
    """What the holder does now; null while there is none."""
    holder: str | None
    """Who holds the job itself: imports it, gives it up, or takes it back."""
    publisher: str | None

    @property
    def worker(self) -> str | None:
        """Who works on the job or on its events."""
        return self.holder or self.publisher

    @property
    def read_whole(self) -> bool:
        """Whether each row of its file was imported, skipped or rejected, whatever the status says."""
        return 0 < self.total_rows <= self.last_processed_row

    @property
    def state(self) -> State:
        """The status as of now: a job is running while somebody checks or loads its file, whatever it was before."""
        return "running" if self.phase in ("starting", "validating", "loading") else self.status

    @property
    def stuck(self) -> bool:
        """Said to run, but nobody works on it: its process died. `resume` goes on, `fail` gives up."""
        return self.status == "running" and self.phase in (None, "publishing")

    @property
    def rolled_back(self) -> bool:
        return self.status == "failed" and self.reason == ROLLED_BACK

    @property
    def finished(self) -> bool:
        """Nothing is left to do for these bytes."""
        return self.status == "completed" or self.rolled_back

    def require_same(self, source: Source) -> None:
        """Raises `SourceChanged` where a file is not the one that this job began with."""
        if (self.sha256, self.byte_size) != (source.sha256, source.byte_size):
            raise SourceChanged(
                f"{self.file_name}: the file is not the one that job {self.id} began with ({_size(self.byte_size)}, now"
                f" {_size(source.byte_size)}; the SHA-256 differs). Nothing was imported. Resume with the original file, or"
                " import this one without --resume."
            )

    @property
    def unfinished_revert(self) -> str | None:
        """What to do about a job of which rows were taken back already; None of any other."""
        if self.reason != ROLLING_BACK:
            return None
        return f"Job {self.id} is being rolled back. Finish that: `session-assets revert kintell --plan-id {self.id}`."

    def require_kept(self) -> None:
        """Raises `NotResumable` for a job of which rows were taken back already: the undo must be finished."""
        if self.unfinished_revert:
            raise NotResumable(self.unfinished_revert)

    def require_resumable(self) -> None:
        """Raises `NotResumable` for a job whose rows were taken back, or are being."""
        self.require_kept()
        if self.rolled_back:
            raise NotResumable(
                f"Job {self.id} was rolled back: there is nothing to resume. Import the file without --resume."
            )


def phase_of(holder: str | None, publisher: str | None, noted: str | None, status: str) -> str | None:
    """What is done with a job now, told by who holds its locks; `noted` is what the last importer noted."""
    if holder is None:
        return "publishing" if publisher else None
    if holder.startswith("kintell revert"):
        return "reverting"
    if not holder.startswith("kintell import"):
        return None
    return noted or ("loading" if status == "running" else "validating")


def _size(count: int | None) -> str:
    return "unknown size" if count is None else f"{count:,} bytes"
