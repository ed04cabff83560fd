"""What the endpoints of imports answer: jobs as they are now, dry runs, and undos, in the names of the runbook."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, Field

from session_assets.kintell.jobs import Job, Outstanding
from session_assets.kintell.told import odd_rows, open_rejects, skipped_gone
from session_assets.masking import safe_text

_CREATED = "Backfill job created. Call resume endpoint to start processing."


class Created(BaseModel):
    """A job that waits for its resume, or the one that the bytes have already."""

    jobId: str  # noqa: N815 - the names of the runbook
    fileName: str  # noqa: N815
    totalRows: int  # noqa: N815
    status: str
    message: str = Field(description="What to do next; of a job that failed, why.")


class Status(BaseModel):
    """How far a job is. `successfulRows` = inserted + updated + skipped; counts are of what is committed."""

    jobId: str  # noqa: N815
    fileName: str  # noqa: N815
    totalRows: int  # noqa: N815
    processedRows: int  # noqa: N815
    successfulRows: int  # noqa: N815
    failedRows: int  # noqa: N815
    keptRows: int = Field(description="Rows that left a stored value because their cell is blank.")  # noqa: N815
    openRejects: int | None = Field(description="Rejected rows that nobody repaired or closed; of a completed job.")  # noqa: N815
    missingRows: int | None = Field(  # noqa: N815
        description="Rows whose sessions were removed since, with skipped ones that may be; of a completed job."
    )
    status: str = Field(description="pending, running, completed, failed or paused, as of now")
    phase: str | None = Field(
        description="starting, validating, loading, publishing or reverting; null if nobody works"
    )
    holder: str | None = Field(description="Who works on it.")
    percentComplete: int  # noqa: N815
    errorFilePath: str | None = Field(description="On the server. `errors` answers the same content.")  # noqa: N815
    message: str | None = Field(description="Why it failed, or what to do next.")


class DryRun(BaseModel):
    """What an import would do. totalRows = wouldInsert + wouldUpdate + wouldLeave + repeated + wouldReject."""

    dryRun: bool = True  # noqa: N815
    fileName: str  # noqa: N815
    jobId: str | None = Field(description="Of bytes that were imported before.")  # noqa: N815
    totalRows: int  # noqa: N815
    wouldInsert: int | None  # noqa: N815
    wouldUpdate: int | None  # noqa: N815
    wouldLeave: int | None  # noqa: N815
    wouldKeep: int | None = Field(description="Rows that would leave a stored value where their cell is blank.")  # noqa: N815
    repeated: int = Field(description="Rows that repeat an earlier row of the file.")
    wouldReject: int  # noqa: N815
    reasons: dict[str, int]
    missingUsers: int  # noqa: N815
    obstacles: list[str] = Field(
        description="What would keep an import from beginning, or its events from being published."
    )
    message: str


class Undone(BaseModel):
    """What an undo did, or would do. Each row that is left has its id, a word, and a sentence."""

    jobId: str  # noqa: N815
    dryRun: bool  # noqa: N815
    status: str
    undone: int | None = Field(description="Rows that were removed or restored; null while the undo is at work.")
    left: int | None
    leftRows: list[str]  # noqa: N815
    message: str


def created(job: Job, again: Outstanding | None) -> Created:
    """`again` is what is outstanding of a completed job."""
    return Created(
        jobId=job.id,
        fileName=job.file_name,
        totalRows=job.total_rows,
        status=job.state,
        message=_CREATED
        if job.state == "pending"
        else f"These bytes belong to a job that is {job.state} already. {_next(job, again)}",
    )


def status_of(job: Job, again: Outstanding | None) -> Status:
    """A job as of now; `again` is what is outstanding of a completed one."""
    done = job.processed_rows * 100 // job.total_rows if job.total_rows else int(job.status == "completed") * 100
    is_open = again is not None and bool(again.open_rejects or again.missing)
    says_next = job.stuck or is_open or (job.unfinished_revert and not job.phase)
    message = _next(job, again) if says_next else None if job.phase else job.reason
    return Status(
        jobId=job.id,
        fileName=job.file_name,
        totalRows=job.total_rows,
        processedRows=job.processed_rows,
        successfulRows=job.successful_rows,
        failedRows=job.failed_rows,
        keptRows=job.kept_rows,
        openRejects=None if again is None else again.open_rejects,
        missingRows=None if again is None else again.missing,
        status=job.state,
        phase=job.phase,
        holder=job.worker,
        percentComplete=done,
        errorFilePath=job.error_file_path,
        message=message,
    )


def dry_run_of(report: Mapping[str, Any]) -> DryRun:
    """In: the report of `Imports.dry_run`."""
    is_known = "job_id" in report
    told = ["Nothing was imported."]
    if report.get("nothing_to_do"):
        told.append(f"Job {report['job_id']} imported these bytes: there is nothing to do, what it wrote is there.")
        told.append(open_rejects(report["job_id"], report["open_rejects"]) or "")
    elif report.get("unfinished_revert"):
        told.append(report["unfinished_revert"])
    elif is_known:
        told.append(f"Job {report['job_id']} has been through these bytes: send them to start, then call resume.")
    else:
        told.append("Send the file to start without dryRun, then call resume.")
    told += [f"Warning: {text}." for text in odd_rows(report["warnings"])]
    return DryRun(
        fileName=report["file"],
        jobId=report.get("job_id"),
        totalRows=report["rows"],
        wouldInsert=report.get("would_insert"),
        wouldUpdate=report.get("would_update"),
        wouldLeave=report.get("would_leave"),
        wouldKeep=report.get("would_keep"),
        repeated=report["skipped"],
        wouldReject=report["rejected"],
        reasons=report["reasons"],
        missingUsers=report["missing_users"],
        obstacles=[safe_text(one) for one in report["obstacles"]],
        message=" ".join(filter(None, told)),
    )


def undone_of(job: Job, summary: Mapping[str, Any] | None, *, dry_run: bool) -> Undone:
    """In: the report of an undo; None while it is at work."""
    if summary is None:
        message = f"The undo is at work. The status of job {job.id} says how far it is."
        return Undone(
            jobId=job.id, dryRun=dry_run, status="running", undone=None, left=None, leftRows=[], message=message
        )
    count, left = summary["undoable"], summary["left_rows"]
    told = [f"{count:,} rows {'would be' if dry_run else 'are'} undone, {left:,} are left as they are."]
    if left:
        told.append(f"See to the reasons, then call revert again. Full list: {summary['refused_list']}.")
    return Undone(
        jobId=job.id,
        dryRun=dry_run,
        status=job.state,
        undone=count,
        left=left,
        leftRows=summary["refused_sample"],
        message=" ".join([*told, *summary["notes"]]),
    )


def _next(job: Job, again: Outstanding | None) -> str:
    """What to do with a job, as it is now."""
    if job.phase:
        return f"It is {job.phase}: {job.worker}."
    if job.unfinished_revert:
        return f"{job.unfinished_revert} Or call revert again."
    if job.stuck:
        return "Nobody works on it any more: resume it."
    if job.status == "failed":
        return f"It failed: {job.reason or 'no reason was noted'} Call resume when that is mended."
    if job.status == "paused":
        return "Call resume to go on."
    told = []
    if again is not None and again.lost:
        told.append(
            f"{len(again.lost):,} of its sessions were removed since: send the file to resume to bring them back."
        )
    if again is not None:
        told.append(skipped_gone(again, "send the file to resume"))
        told.append(open_rejects(job.id, again.open_rejects) or "")
    return " ".join(filter(None, told)) or "Nothing is left to do: what it wrote is there."
