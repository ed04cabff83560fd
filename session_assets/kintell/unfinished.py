"""What stopped half-way, as checks tell it: imports, reverts, and jobs that nobody works on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from session_assets.kintell.jobs import Job


@dataclass(frozen=True)
class Unfinished:
    """What a check says: how much is left, of which jobs, and how it goes on."""

    text: str
    step: str
    count: int
    job_ids: list[str]
    is_error: bool = False


def imports_unfinished(jobs: Sequence[Job]) -> Unfinished:
    """Rows that were not read of files whose import began. A file that was refused before its first row is no such import."""
    begun = [job for job in jobs if job.last_processed_row < job.total_rows and not job.unfinished_revert]
    failed = [job for job in begun if job.state == "failed"]
    left = sum(job.total_rows - job.last_processed_row for job in begun)
    shown = [
        f"{job.id} ({job.state}, {job.last_processed_row:,} of {job.total_rows:,} rows)"
        for job in (failed or begun)[:5]
    ]
    text = f"{left:,} rows of {len(begun):,} imports are not read so far."
    return Unfinished(
        f"{text} Jobs: {', '.join(shown)}{', …' if len(begun) > len(shown) else ''}." if begun else text,
        "`session-assets resume JOB` goes on where it stopped; `session-assets revert kintell --plan-id JOB` takes it back.",
        left,
        [job.id for job in failed or begun],
        bool(failed),
    )


def reverts_unfinished(jobs: Sequence[Job]) -> Unfinished:
    found = [job for job in jobs if job.unfinished_revert]
    stopped = [job for job in found if job.phase != "reverting"]
    return Unfinished(
        f"{len(found):,} reverts are not finished, {len(found) - len(stopped):,} of them are at work.",
        "Run the same revert again: `session-assets revert kintell --plan-id JOB`.",
        len(found),
        [job.id for job in stopped or found],
        bool(stopped),
    )


def stuck(newest: Sequence[Job]) -> Unfinished:
    found = [job.id for job in newest if job.stuck]
    return Unfinished(
        f"{len(found):,} jobs are said to run, but nobody works on them.",
        "`session-assets resume JOB` goes on where it stopped, `session-assets fail JOB` gives it up.",
        len(found),
        found,
    )
