"""What a person is told of an import: odd rows, what a dry run would do with a file that is known, and what is open."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from session_assets.kintell.jobs import Job, Outstanding
from session_assets.kintell.model import ODDITIES


class Foreseen(Protocol):
    """What a dry run has counted, as `stores.kintell_preview.Preview`."""

    counts: dict[str, int]
    rejected: int


def odd_rows(oddities: Mapping[str, int]) -> list[str]:
    """A sentence for each thing that is accepted, and seldom meant."""
    return [f"{count:,} {ODDITIES[name]}" for name, count in oddities.items()]


def known_job(job: Job | None, again: Outstanding | None, would: Foreseen, found: Mapping[str, Any]) -> dict[str, Any]:
    """What a dry run adds for bytes that a job has been through, wholly or in part."""
    if job is None or again is None:
        return {}
    inserted, updated = would.counts.get("would_insert", 0), would.counts.get("would_update", 0)
    accepted = found["rows"] - found["skipped"] - would.rejected
    changed = bool(inserted or updated or would.rejected != again.rejects or job.last_processed_row < found["rows"])
    return {
        "job_id": job.id,
        "accepted": accepted,
        "rejected": would.rejected,
        "would_leave": accepted - inserted - updated,
        "would_restore": len(again.lost),
        "open_rejects": again.open_rejects,
        "unfinished_revert": job.unfinished_revert,
        "nothing_to_do": not changed and not job.unfinished_revert,
    }


def skipped_gone(again: Outstanding, how: str) -> str:
    """What to do about skipped rows that may be gone; empty if there are none. `how` brings the file."""
    if not again.skipped_gone:
        return ""
    return (
        f"Up to {again.skipped_gone:,} rows that it skipped were removed since by reverts of other jobs: {how} to bring them"
        " back."
    )


def open_rejects(job_id: str, count: int) -> str | None:
    """What to do about rejected rows that nobody has repaired or closed; None if there are none."""
    if not count:
        return None
    return (
        f"{count:,} rejected rows are open. Create missing users, or say the right encoding or time zone, and import the same"
        f" file again; or correct the rows: `session-assets errors {job_id} > fixed.csv`, then import fixed.csv; or leave them"
        f' out for good: `session-assets rejects close {job_id} --note "why"`.'
    )
