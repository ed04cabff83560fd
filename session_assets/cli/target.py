"""`target`: the collections that plans belong to, and the word that one of them is now another."""

from __future__ import annotations

import getpass
import json
import socket
from typing import TYPE_CHECKING

import click
from rich.table import Table

from session_assets.cli.console import plain_console
from session_assets.errors import SessionAssetsError
from session_assets.masking import safe_lines, safe_text

if TYPE_CHECKING:
    from session_assets.changes.targets import Targets


@click.group()
def target() -> None:
    """The collections that plans belong to, as their servers name them."""


@target.command("list")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
def list_targets(as_json: bool) -> int:
    """The targets that this home has worked on, and where the settings lead now."""
    targets, now = _targets(), _where_the_settings_lead()
    accepted = {one.old: one for one in targets.accepted()}
    found = [
        {
            "id": target_id,
            "now": now.get(target_id, []),
            "is": one.shown,
            "accepted_as": None if target_id not in accepted else vars(accepted[target_id]),
        }
        for target_id, one in targets.all()
    ]
    if as_json:
        click.echo(json.dumps({"targets": found}))
        return 0
    table = Table("target", "settings of", "as its server names it", "accepted as")
    for one in found:
        word = one["accepted_as"]
        said = f"{word['new']} by {word['by']} at {word['at']:.16}: {word['note']}" if word else ""
        table.add_row(one["id"], ", ".join(one["now"]), safe_text(one["is"]), safe_text(said))
    plain_console(200).print(table)
    return 0


@target.command()
@click.argument("old")
@click.argument("new")
@click.option("--note", required=True, help="Why: restored, renamed, moved or upgraded.")
def accept(old: str, new: str, note: str) -> int:
    """Say that the target OLD is now NEW: plans of OLD can be applied and reverted on NEW, each row still guarded."""
    _where_the_settings_lead()  # enters what was never seen before
    made = _targets().accept(old, new, note=note, by=f"{getpass.getuser()} on {socket.gethostname()}")
    click.echo(f"target {made.old} is now {made.new}, accepted by {made.by}")
    return 0


def _targets() -> Targets:
    from session_assets.changes.targets import Targets
    from session_assets.graph.environment import Environment

    return Targets(Environment.load().storage)


def _where_the_settings_lead() -> dict[str, list[str]]:
    """The loops of each target that answers now; what cannot be asked is said."""
    from session_assets.graph.environment import Environment
    from session_assets.slices import slices

    environment, found = Environment.load(), dict[str, list[str]]()
    for slice_ in slices().values():
        for loop in slice_.loops[:1] if slice_.is_configured() else ():
            try:
                found.setdefault(loop.known(environment).id, []).append(loop.name)
            except SessionAssetsError as error:
                click.echo(f"{slice_.name}: {safe_lines(error)}", err=True)
    return found
