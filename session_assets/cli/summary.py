"""`summary`: what the application's `session-summary` endpoint answers for a GUID or an e-mail, recounted now."""

from __future__ import annotations

import json

import click

from session_assets.cli.runner import Runner
from session_assets.identity.answers import session_summary
from session_assets.masking import mask_user, safe_lines


@click.command()
@click.argument("user", metavar="GUID|EMAIL")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
def summary(user: str, as_json: bool) -> int:
    """Summarize the sessions of the last 30 days anew, and answer for one user."""
    runner = Runner(quiet=as_json)
    run_id, error, code = runner.execute("identity_summaries", {}, {})
    if error:
        click.echo(f"error: {safe_lines(error)}", err=True)
        return code
    found = session_summary(user, runner.environment.storage)
    found["user_id"] = mask_user(user)
    if as_json:
        click.echo(json.dumps(found))
        return 0
    click.echo(f"{found['user_id']}, {found['period_days']} days to {found['query_timestamp']}")
    for name, figure in found["summary"].items():
        click.echo(f"  {name.replace('_', ' ')}: {figure:,}" + (" minutes" if name.endswith("duration") else ""))
    click.echo(f"run {run_id}")
    return 0
