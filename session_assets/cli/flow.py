"""`flow`: what is of the migration alone."""

from __future__ import annotations

from pathlib import Path

import click

from session_assets.errors import UsageError
from session_assets.flow.model import SCHEMA_VARIABLE, VARIABLE


@click.group()
def flow() -> None:
    """What is of the migration to flow ids alone."""


@flow.command()
@click.option(
    "--out", type=click.Path(path_type=Path), metavar="FILE", help="Write it there; a file that exists is kept."
)
@click.option("--sessions", metavar="TABLE", help="The table of sessions, if it could be several.")
@click.option("--flows", metavar="TABLE", help="The table of flows, if it could be several.")
def describe(out: Path | None, sessions: str | None, flows: str | None) -> int:
    """Propose a description for FLOW_SCHEMA from the database. Reads only."""
    from session_assets.stores.flow_guess import guess
    from session_assets.stores.postgres import Database

    if out is not None and out.exists():
        raise UsageError(f"{out} exists and is kept. Name another file with --out.")
    with Database.from_env(VARIABLE).connected("flow describe") as connection:
        proposal = guess(connection, sessions, flows)
    if out is None:
        click.echo(proposal.yaml(), nl=False)
    else:
        try:
            with out.open("x", encoding="utf-8") as file:
                file.write(proposal.yaml())
        except OSError as error:
            raise UsageError(f"{out} cannot be written: {error.strerror}. Name another file with --out.") from None
    name = out or "FILE"
    asked = f'{proposal.questions} questions: answer each "?" in it. ' if proposal.questions else ""
    click.echo(f"{asked}Next: {SCHEMA_VARIABLE}={name} session-assets plan flow", err=True)
    return 0
