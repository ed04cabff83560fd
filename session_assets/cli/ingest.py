"""`ingest FILE…`: web events from a terminal instead of the drop folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from session_assets.cli.runner import Runner
from session_assets.errors import BadInput
from session_assets.masking import safe_lines, safe_text


@click.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="FILE…")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a file on standard output.")
def ingest(files: tuple[Path, ...], as_json: bool) -> int:
    """Ingest event files, CSV or NDJSON, plain or gzip, with a mapping file beside them."""
    runner = Runner(quiet=as_json)
    worst = 0
    for file in files:
        try:
            report, error, code = _ingest(runner, file)
        except BadInput as refused:
            report, error, code = dict[str, Any](file=file.name), str(refused), refused.exit_code
        rejected = sum(report.get("rejected", {}).values())
        worst = max(worst, code, int(rejected > 0))
        if as_json:
            click.echo(json.dumps(report | ({"error": safe_lines(error)} if error else {})))
        elif error:
            click.echo(f"error: {safe_lines(error)}", err=True)
        else:
            click.echo(
                f"{safe_text(report['file'])}: {report['rows']:,} rows, {report['inserted']:,} events added,"
                f" {report['already_there']:,} were there, {rejected:,} rejected{_lines(report, rejected)}"
            )
            for reason, count in report["rejected"].items():
                click.echo(f"  {count:,} rejected: {safe_text(reason)}")
            for note in report["notes"]:
                click.echo(f"  {safe_text(note)}")
            if report["error_file"]:
                click.echo(f"  correct {safe_text(report['error_file'])}, then: session-assets ingest it")
    return worst


def _lines(report: dict[str, Any], rejected: int) -> str:
    """How many lines the rejected records hold, if that is more than one a record."""
    lines = report["rejected_lines"]
    return f" ({lines:,} lines)" if lines > rejected else ""


def _ingest(runner: Runner, file: Path) -> tuple[dict[str, Any], str | None, int]:
    from session_assets.drops.folder import drop_key, fingerprint
    from session_assets.web.drop_assets import FILES_NAME, launch_config

    if file.is_symlink() or not file.is_file():
        raise BadInput(f"{safe_text(file)} is not a regular file: name the file itself.")
    partition = drop_key(file, fingerprint(file))
    runner.instance.add_dynamic_partitions(FILES_NAME, [partition])
    run_id, error, code = runner.execute("web_ingest", {"dagster/partition": partition}, launch_config(file.absolute()))
    return runner.environment.reported(run_id, "ingest") or {"file": file.name}, error, code
