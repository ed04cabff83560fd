"""`jobs`, `errors`, `rejects`, `pause` and `fail`: import jobs as they are, and what people decide about them."""

from __future__ import annotations

import getpass
import json
import sys
from typing import Any, BinaryIO

import click
from rich.console import Console
from rich.table import Table

from session_assets.cli.console import plain_console
from session_assets.cli.imports import open_imports
from session_assets.errors import UsageError
from session_assets.kintell.jobs import Job
from session_assets.masking import safe_text


@click.group(invoke_without_command=True)
@click.option("--limit", type=click.IntRange(1), default=20, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="One JSON array on standard output.")
@click.pass_context
def jobs(context: click.Context, limit: int, as_json: bool) -> int:
    """Import jobs, the newest first, and who works on them."""
    if context.invoked_subcommand is not None:
        return 0
    found = open_imports().jobs.newest(limit)
    if as_json:
        click.echo(json.dumps([plain(job) for job in found]))
        return 0
    table = Table("job", "file", "status", "rows", "done", "inserted", "updated", "skipped", "rejected", "note")
    for job in found:
        counts = (
            job.total_rows,
            job.processed_rows,
            job.inserted_rows,
            job.updated_rows,
            job.skipped_rows,
            job.failed_rows,
        )
        status = "stuck" if job.stuck else job.state
        note = job.worker or ("resume it, or fail it" if job.stuck else job.reason or "")
        note = f"{job.phase}: {note}" if job.phase else note
        table.add_row(job.id, safe_text(job.file_name), status, *(f"{one:,}" for one in counts), safe_text(note))
    plain_console(None if Console().is_terminal else 250).print(table)
    return 0


@jobs.command()
@click.argument("job_id", metavar="JOB")
@click.option("--note", required=True, help="Why; recorded with your name and the time.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
def accept(job_id: str, note: str, as_json: bool) -> int:
    """Accept that sessions of a job were removed on purpose: `verify` misses them no more, an import does not restore them."""
    from session_assets.stores.kintell_outstanding import accept_lost
    from session_assets.stores.kintell_schema import migrate_if_due

    imports = open_imports()
    job = imports.jobs.own(job_id)
    migrate_if_due(imports.database)
    count = accept_lost(imports.database, job, _signed(note))
    if as_json:
        click.echo(json.dumps({"job_id": job.id, "accepted": count}))
    elif count:
        click.echo(
            f"job {job.id}: {count:,} sessions are removed on purpose. To bring them back, revert the job and import its file."
        )
    else:
        click.echo(f"job {job.id}: none of its sessions is missing, nothing was accepted")
    return 0


@click.group()
def rejects() -> None:
    """What is decided about rejected rows."""


@rejects.command()
@click.argument("job_id", metavar="JOB")
@click.option("--note", required=True, help="Why; recorded with your name and the time.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
def close(job_id: str, note: str, as_json: bool) -> int:
    """Close the rejected rows of a job: they are left out for good, and neither `verify` nor `import` counts them."""
    from session_assets.stores.kintell_outstanding import close_rejects
    from session_assets.stores.kintell_schema import migrate_if_due

    imports = open_imports()
    job = imports.jobs.own(job_id)
    migrate_if_due(imports.database)
    if not job.failed_rows:
        raise UsageError(f"Job {job.id} has no rejected rows: there is nothing to close.")
    count = close_rejects(imports.database, job, _signed(note))
    click.echo(
        json.dumps({"job_id": job.id, "closed": count})
        if as_json
        else f"job {job.id}: {count:,} open rejects are closed"
    )
    return 0


@click.command()
@click.argument("job_id", metavar="JOB")
def errors(job_id: str) -> int:
    """The error file of a job on standard output: correct it, and import it."""
    from session_assets.drops.error_file import error_lines
    from session_assets.kintell.model import any_raw
    from session_assets.stores.kintell_rejects import reason_counts, rejects

    imports = open_imports()
    job = imports.jobs.get(job_id)
    with_raw = any_raw(reason_counts(imports.database, job))
    out: BinaryIO = sys.stdout.buffer
    for line in error_lines(job.header or [], rejects(imports.database, job), with_raw=with_raw):
        out.write(line.encode())
    return 0


@click.command()
@click.argument("job_id", metavar="JOB")
@click.option("--json", "as_json", is_flag=True, help="The job as one JSON object on standard output.")
def pause(job_id: str, as_json: bool) -> int:
    """Stop a job after the batch at hand; `resume` goes on."""
    job = open_imports().jobs.pause(job_id)
    _tell(job, "pauses after the batch at hand" if job.status == "running" else job.status, as_json)
    return 0


@click.command()
@click.argument("job_id", metavar="JOB")
@click.option("--reason", default="given up by an operator", show_default=True)
@click.option("--json", "as_json", is_flag=True, help="The job as one JSON object on standard output.")
def fail(job_id: str, reason: str, as_json: bool) -> int:
    """Give a job up that nobody works on. What it committed stays; `resume` and `revert` work still."""
    job = open_imports().jobs.fail(job_id, reason)
    _tell(job, f"{job.status}, {job.processed_rows:,} of {job.total_rows:,} rows are done", as_json)
    return 0


def _signed(note: str) -> str:
    """A note with who made it."""
    try:
        who = getpass.getuser()
    except (KeyError, OSError):
        who = "somebody without a name"
    return safe_text(f"{note} ({who})")[:1000]


def _tell(job: Job, what: str, as_json: bool) -> None:
    click.echo(json.dumps(plain(job)) if as_json else f"job {job.id}: {what}")


def plain(job: Job) -> dict[str, Any]:
    header = None if job.header is None else [safe_text(name) for name in job.header]
    found = vars(job) | {
        "stuck": job.stuck,
        "state": job.state,
        "file_name": safe_text(job.file_name),
        "header": header,
    }
    return {name: value.isoformat() if hasattr(value, "isoformat") else value for name, value in found.items()}
