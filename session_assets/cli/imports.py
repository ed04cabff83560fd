"""`import FILE…` and `resume JOB`: Kintell sessions from a terminal instead of the drop folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from session_assets.errors import SessionAssetsError, UsageError
from session_assets.masking import safe_lines, safe_text

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
    "--policy",
    type=click.Choice(["update", "skip", "replace"]),
    help="For sessions that are there and say something else. update: a blank cell leaves what is stored; replace: it does not.",
)
@click.option("--timezone", metavar="ZONE", help="Of dates without an offset, such as Europe/London.")
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
    timezone: str | None,
    create_users: bool,
    max_rejected_share: float | None,
    as_json: bool,
) -> int:
    """Import CSV files of Kintell sessions, plain or gzip.

    The same file again retries its rejected rows and brings back sessions that are gone. Exit 1 while rejected rows are open.
    """
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
                    runner,
                    file,
                    encoding=encoding,
                    policy=policy,
                    timezone=timezone,
                    max_rejected_share=max_rejected_share,
                )
            else:
                report, error, code = _import(
                    runner,
                    file,
                    resume=resume_job,
                    batch_size=batch_size,
                    encoding=encoding,
                    policy=policy,
                    timezone=timezone,
                    create_users=create_users or None,
                    max_rejected_share=max_rejected_share,
                )
        except SessionAssetsError as refused:
            report, error, code = dict[str, Any](file=safe_text(file.name)), str(refused), refused.exit_code
        worst = max(worst, code)
        _show(report, error, as_json, dry_run=dry_run)
    return worst


@click.command()
@click.argument("job_id", metavar="JOB")
@click.option("--batch-size", type=click.IntRange(1, 100_000), help="Rows of a transaction.  [default: 10000]")
@click.option("--encoding", metavar="E", help="Where no row was imported so far; else the one that it began with.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
def resume(job_id: str, batch_size: int | None, encoding: str | None, as_json: bool) -> int:
    """Go on with a job that was paused, failed or is stuck, from the private copy of its file.

    Of a completed job: publish its events if some wait.
    """
    runner = _runner(as_json)
    imports = open_imports()
    job = imports.jobs.own(job_id)
    job.require_resumable()
    partition = imports.partition_of(job)
    if job.status == "completed" and (partition is None or not imports.jobs.outstanding(job).any):
        return _publish(runner, imports, job, as_json)
    if partition is None:
        raise UsageError(
            f"The copy of {job.file_name} is gone: bring the file, `session-assets import FILE --resume {job.id}`."
        )
    report, error, code = _import(
        runner, None, partition=partition, resume=job.id, batch_size=batch_size, encoding=encoding
    )
    _show(report, error, as_json)
    return code


def _runner(quiet: bool) -> Runner:
    from session_assets.cli.runner import Runner

    return Runner(quiet=quiet)


def _publish(runner: Runner, imports: Imports, job: Job, as_json: bool) -> int:
    """Publish the events of a completed job. Raises `NotResumable` if none waits: then nothing is left to resume."""
    from session_assets.kintell.jobs import NotResumable
    from session_assets.kintell.told import open_rejects, skipped_gone
    from session_assets.stores.kintell_outbox import lag

    waiting, again = lag(imports.database, job).waiting, imports.jobs.outstanding(job)
    left = [
        f"{len(again.lost):,} of its sessions are gone: import {job.file_name} again to bring them back."
        if again.lost
        else "",
        skipped_gone(again, f"import {job.file_name} again"),
        open_rejects(job.id, again.open_rejects) or "",
    ]
    if not waiting:
        told = " ".join(filter(None, left)) or "Nothing is left to do."
        raise NotResumable(
            f"Job {job.id} is completed, and none of its events waits: there is nothing to resume. {told}"
        )
    run_id, error, code = runner.execute(_target(runner).publish, {}, {})
    still = lag(imports.database, job).waiting
    told = (runner.environment.reported(run_id, "publish") or {}).get("note")
    report = {"job_id": job.id, "status": job.status, "waited": waiting, "published": waiting - still, "note": told}
    if as_json:
        click.echo(json.dumps(report | ({"error": safe_text(error)} if error else {})))
    else:
        click.echo(
            f"job {job.id} is completed; {waiting:,} of its events waited, {waiting - still:,} of them are published now"
        )
        for line in filter(None, [told, *left]):
            click.echo(f"  {safe_text(line)}")
        if error:
            click.echo(f"error: {safe_lines(error)}", err=True)
    return code or int(bool(still or again.open_rejects))


def open_imports() -> Imports:
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
    return report | {"run_id": run_id}, error, code or int(_would_be_open(report) > 0)


def _would_be_open(report: dict[str, Any]) -> int:
    """Rejected rows that would be open after the import; those of a known file may be closed or repaired."""
    return report["open_rejects"] if report.get("nothing_to_do") else report.get("rejected", 0)


def _show(report: dict[str, Any], error: str | None, as_json: bool, *, dry_run: bool = False) -> None:
    if as_json:
        click.echo(json.dumps(report | ({"error": safe_text(error)} if error else {})))
        return
    if "rows" in report:
        _show_counts(report, dry_run=dry_run)
        _show_rejects(report)
    if error:
        click.echo(f"error: {safe_lines(error)}", err=True)


def _show_counts(report: dict[str, Any], *, dry_run: bool) -> None:
    name, rows = safe_text(report["file"]), f"{report['rows']:,} rows"
    if report.get("nothing_to_do"):
        click.echo(
            f"{name}: {rows} were imported before, by job {report['job_id']}: nothing to do; what it wrote is there"
        )
    elif dry_run:
        known = (
            f"; job {report['job_id']} has been through this file: what is there stays" if "job_id" in report else ""
        )
        click.echo(
            f"{name}: {rows}, {report['accepted']:,} would be imported{_would(report)}, {report['skipped']:,} repeat an"
            f" earlier row, {report['rejected']:,} would be rejected; nothing was imported{known}"
        )
    elif "retried" in report:
        again = report["retried"]
        click.echo(
            f"{name}: job {report['job_id']} has been through these {rows}. Again: {again['inserted']:,} inserted,"
            f" {again['updated']:,} updated, {report['rejected']:,} are rejected still; the job is {report['status']}"
        )
    else:
        click.echo(
            f"{name}: {rows}: {report['inserted']:,} inserted, {report['updated']:,} updated, {report['skipped']:,} skipped,"
            f" {report['rejected']:,} rejected; job {report['job_id']} is {report['status']}"
        )


def _would(report: dict[str, Any]) -> str:
    if "would_insert" not in report:
        return ""
    return (
        f" ({report['would_insert']:,} inserted, {report['would_update']:,} updated, {report['would_leave']:,} are there"
        " already)"
    )


def _show_rejects(report: dict[str, Any]) -> None:
    from session_assets.kintell.told import odd_rows, open_rejects

    for reason, count in sorted(report.get("reasons", {}).items(), key=lambda item: -item[1]):
        click.echo(f"  {count:,} {reason}")
    if report.get("error_file") and report.get("rejected"):
        click.echo(f"  error file: {safe_text(report['error_file'])}")
    missing = report.get("missing", report.get("missing_users", 0))
    if missing:
        click.echo(
            f"  {missing:,} e-mails belong to no user: kintell/missing_users lists them. Create them, or say --create-users, and"
            " import the same file again"
        )
    if suggested := report.get("suggested_encoding"):
        click.echo(
            f"  records are not valid UTF-8; the file may be {suggested}: import it again with --encoding {suggested}"
        )
    for text in odd_rows(report.get("warnings", {})):
        click.echo(f"  warning: {text}")
    if kept := report.get("would_keep", report.get("kept", 0)):
        click.echo(
            f"  {kept:,} rows leave a stored value because their cell is blank. To overwrite it, import with --policy replace"
            " (take a completed import back first)"
        )
    told = open_rejects(report.get("job_id", "JOB"), report.get("open_rejects", 0))
    if told and "would_insert" not in report:
        click.echo(f"  {told}")
    for obstacle in report.get("obstacles", []):
        click.echo(f"  before an import: {safe_text(obstacle)}")
    if report.get("note"):
        click.echo(f"  {safe_text(report['note'])}")
