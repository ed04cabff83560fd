"""`import FILE…`: Kintell sessions from a terminal instead of the drop folder; and what can be done with import jobs."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import click
from rich.console import Console
from rich.table import Table

from session_assets.cli.console import plain_console
from session_assets.errors import SessionAssetsError, UsageError
from session_assets.masking import safe_text

if TYPE_CHECKING:
    from session_assets.cli.runner import Runner
    from session_assets.graph.target import FileTarget
    from session_assets.kintell.imports import Imports
    from session_assets.kintell.jobs import Job

_SLICE = "kintell"


@click.command("import")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="FILE…")
@click.option("--dry-run", is_flag=True, help="Validate everything and write nothing but a report.")
@click.option(
    "--resume", "resume_job", metavar="JOB", help="Go on with this job; refused where the file is another one."
)
@click.option("--batch-size", type=click.IntRange(1, 100_000), help="Rows of a transaction.  [default: 10000]")
@click.option("--encoding", metavar="E", help="Of files that are not UTF-8 and carry no mark, such as latin-1.")
@click.option(
    "--policy", type=click.Choice(["update", "skip"]), help="For sessions that are there and say something else."
)
@click.option("--create-users", is_flag=True, help="First make a user of every e-mail that nobody has.")
@click.option(
    "--max-rejected-share", type=click.FloatRange(0, 1), help="Import nothing where more rows would be rejected."
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object a file on standard output.")
def import_files(
    files: tuple[Path, ...],
    dry_run: bool,
    resume_job: str | None,
    batch_size: int | None,
    encoding: str | None,
    policy: str | None,
    create_users: bool,
    max_rejected_share: float | None,
    as_json: bool,
) -> int:
    """Import CSV files of Kintell sessions, plain or gzip. Exit 1 where rows were rejected."""
    if resume_job and (dry_run or len(files) > 1):
        raise UsageError("--resume goes on with the one file of a job: name that file, without --dry-run.")
    if dry_run and create_users:
        raise UsageError("--dry-run creates nobody: leave --create-users out. The report says who is missing.")
    runner = _runner(as_json)
    worst = 0
    for file in files:
        try:
            if dry_run:
                report, error, code = _dry_run(
                    runner, file, encoding=encoding, policy=policy, max_rejected_share=max_rejected_share
                )
            else:
                report, error, code = _import(
                    runner,
                    file,
                    resume=resume_job,
                    batch_size=batch_size,
                    encoding=encoding,
                    policy=policy,
                    create_users=create_users or None,
                    max_rejected_share=max_rejected_share,
                )
        except SessionAssetsError as refused:
            report, error, code = dict[str, Any](file=safe_text(file.name)), str(refused), refused.exit_code
        worst = max(worst, code)
        _show(report, error, as_json, dry_run=dry_run)
    return worst


@click.command()
@click.option("--limit", type=click.IntRange(1), default=20, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="One JSON array on standard output.")
def jobs(limit: int, as_json: bool) -> int:
    """Import jobs, the newest first, and who works on them."""
    found = _imports().jobs.newest(limit)
    if as_json:
        click.echo(json.dumps([_plain(job) for job in found]))
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
        status = "stuck" if job.stuck else job.status
        note = job.holder or ("resume it, or fail it" if job.stuck else job.reason or "")
        table.add_row(job.id, safe_text(job.file_name), status, *(f"{one:,}" for one in counts), safe_text(note))
    plain_console(None if Console().is_terminal else 250).print(table)
    return 0


@click.command()
@click.argument("job_id", metavar="JOB")
def errors(job_id: str) -> int:
    """The error file of a job on standard output: correct it, and import it."""
    from session_assets.kintell.error_file import error_lines
    from session_assets.kintell.model import any_raw
    from session_assets.stores.kintell_rejects import reason_counts, rejects

    imports = _imports()
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
    job = _imports().jobs.pause(job_id)
    _tell(job, "pauses after the batch at hand" if job.status == "running" else job.status, as_json)
    return 0


@click.command()
@click.argument("job_id", metavar="JOB")
@click.option("--batch-size", type=click.IntRange(1, 100_000), help="Rows of a transaction.  [default: 10000]")
@click.option("--encoding", metavar="E", help="Where no row was imported so far; else the one that it began with.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
def resume(job_id: str, batch_size: int | None, encoding: str | None, as_json: bool) -> int:
    """Go on with a job that was paused, failed or is stuck, from the private copy of its file."""
    runner = _runner(as_json)
    imports = _imports()
    job = imports.jobs.get(job_id)
    job.require_resumable()
    partition = imports.partition_of(job)
    if partition is None:
        raise UsageError(
            f"The copy of {job.file_name} is gone: bring the file, `session-assets import FILE --resume {job.id}`."
        )
    report, error, code = _import(
        runner, None, partition=partition, resume=job.id, batch_size=batch_size, encoding=encoding
    )
    _show(report, error, as_json)
    return code


@click.command()
@click.argument("job_id", metavar="JOB")
@click.option("--reason", default="given up by an operator", show_default=True)
@click.option("--json", "as_json", is_flag=True, help="The job as one JSON object on standard output.")
def fail(job_id: str, reason: str, as_json: bool) -> int:
    """Give a job up that nobody works on. What it committed stays; `resume` and `revert` work still."""
    job = _imports().jobs.fail(job_id, reason)
    _tell(job, f"{job.status}, {job.processed_rows:,} of {job.total_rows:,} rows are done", as_json)
    return 0


def _runner(quiet: bool) -> Runner:
    from session_assets.cli.runner import Runner

    return Runner(quiet=quiet)


def _imports() -> Imports:
    from session_assets.graph.environment import Environment
    from session_assets.kintell.imports import Imports

    environment = Environment.load()
    return Imports(environment.settings, environment.storage)


def _import(
    runner: Runner, file: Path | None, partition: str | None = None, **options: Any
) -> tuple[dict[str, Any], str | None, int]:
    from session_assets.cli.files import import_file

    return import_file(runner, _target(runner), file, partition, **options)


def _target(runner: Runner) -> FileTarget:
    return next(one for one in runner.file_targets() if one.name == _SLICE)


def _dry_run(runner: Runner, file: Path, **options: Any) -> tuple[dict[str, Any], str | None, int]:
    from session_assets.cli.files import dry_run

    reports, run_id, error, code = dry_run(runner, _target(runner), [file], **options)
    report: dict[str, Any] = reports[0] if reports else {"file": safe_text(file.name)}
    return report | {"run_id": run_id}, error, code or int(report.get("rejected", 0) > 0)


def _show(report: dict[str, Any], error: str | None, as_json: bool, *, dry_run: bool = False) -> None:
    if as_json:
        click.echo(json.dumps(report | ({"error": safe_text(error)} if error else {})))
        return
    if "rows" in report:
        name, rows = safe_text(report["file"]), f"{report['rows']:,} rows"
        if dry_run:
            click.echo(
                f"{name}: {rows}, {report['accepted']:,} would be imported{_would(report)}, {report['skipped']:,} repeat an"
                f" earlier row, {report['rejected']:,} would be rejected; nothing was imported"
            )
        elif report["nothing_to_do"]:
            click.echo(f"{name}: these bytes were imported before, by job {report['job_id']}: nothing to do")
            if report["rejected"]:
                click.echo(
                    f"  its rejected rows: session-assets errors {report['job_id']} > fixed.csv, then import fixed.csv"
                )
                if report["rejected"] == report["rows"]:
                    click.echo(f"  or all of it anew: first session-assets revert kintell --plan-id {report['job_id']}")
                return
        else:
            click.echo(
                f"{name}: {rows}: {report['inserted']:,} inserted, {report['updated']:,} updated, {report['skipped']:,} skipped,"
                f" {report['rejected']:,} rejected; job {report['job_id']} is {report['status']}"
            )
        _show_rejects(report)
    if error:
        click.echo(f"error: {safe_text(error)}", err=True)


def _would(report: dict[str, Any]) -> str:
    if "would_insert" not in report:
        return ""
    return (
        f" ({report['would_insert']:,} inserted, {report['would_update']:,} updated, {report['would_leave']:,} are there"
        " already)"
    )


def _show_rejects(report: dict[str, Any]) -> None:
    for reason, count in sorted(report.get("reasons", {}).items(), key=lambda item: -item[1]):
        click.echo(f"  {count:,} {reason}")
    if report.get("error_file") and report.get("rejected"):
        click.echo(f"  error file: {report['error_file']}")
    missing = report.get("missing", report.get("missing_users", 0))
    if missing:
        click.echo(f"  {missing:,} e-mails belong to no user: kintell/missing_users lists them, and can create them")
    for obstacle in report.get("obstacles", []):
        click.echo(f"  before an import: {safe_text(obstacle)}")
    if report.get("note"):
        click.echo(f"  {safe_text(report['note'])}")


def _tell(job: Job, what: str, as_json: bool) -> None:
    click.echo(json.dumps(_plain(job)) if as_json else f"job {job.id}: {what}")


def _plain(job: Job) -> dict[str, Any]:
    header = None if job.header is None else [safe_text(name) for name in job.header]
    found = vars(job) | {"stuck": job.stuck, "file_name": safe_text(job.file_name), "header": header}
    return {name: value.isoformat() if hasattr(value, "isoformat") else value for name, value in found.items()}
