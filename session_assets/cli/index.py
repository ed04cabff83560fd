"""`index`: the explicit step that creates indexes."""

from __future__ import annotations

import click

from session_assets.cli.runner import Runner
from session_assets.errors import UsageError
from session_assets.masking import safe_lines


@click.command()
@click.argument("slice_", metavar="SLICE", type=click.Choice(["web", "contest"]))
@click.option("--unique", is_flag=True, help="Of web: the unique index on session_id; refused while duplicates exist.")
def index(slice_: str, unique: bool) -> int:
    """Create the indexes that look-ups need, or the one that keeps duplicates out."""
    if unique and slice_ != "web":
        raise UsageError(f"{slice_} has no unique index: leave --unique out.")
    runner = Runner(quiet=False)
    config = {"ops": {"create_web_indexes": {"config": {"unique": unique}}}} if slice_ == "web" else {}
    run_id, error, code = runner.execute(f"{slice_}_indexes", {}, config)
    if error:
        click.echo(f"error: {safe_lines(error)}", err=True)
        return code
    click.echo(f"indexes: {', '.join((runner.environment.reported(run_id, 'index') or {})['indexes'])}")
    return 0
