"""`ledger check`: whether the records of plans, applies and reverts are as they were written, and what they still allow."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from session_assets.errors import UsageError
from session_assets.masking import safe_text

if TYPE_CHECKING:
    from session_assets.changes.ledger_check import Able, LedgerReport

_SHOWN = 20


@click.group()
def ledger() -> None:
    """The records of what was planned, applied and reverted."""


@ledger.command()
@click.argument("slice_", metavar="[SLICE]", required=False)
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
def check(slice_: str | None, as_json: bool) -> int:
    """Read every file of the ledgers; exit 1 if one is damaged. Asks no database and writes nothing."""
    from session_assets.changes.ledger_check import check_ledger, check_targets, loops_of
    from session_assets.settings import Settings
    from session_assets.storage import Storage

    settings = Settings.from_env()
    storage = Storage(settings.storage, settings.home / "tmp")
    storage.require_usable()
    loops = loops_of(storage)
    chosen = [loop for loop in loops if slice_ is None or loop == slice_ or loop.startswith(f"{slice_}/")]
    if slice_ is not None and not chosen:
        there = f"There are those of {', '.join(loops)}." if loops else "Nothing was planned so far."
        raise UsageError(f"there is no ledger of {safe_text(slice_)} in SESSION_ASSETS_STORAGE. {there}")
    reports = [check_ledger(storage, loop) for loop in chosen]
    targets = check_targets(storage)
    if as_json:
        damaged = [{"file": name, "why": why} for name, why in sorted(targets.items())]
        click.echo(json.dumps({"ledgers": [one.as_dict() for one in reports], "targets": {"damaged": damaged}}))
    else:
        for report in reports:
            _tell(report)
        _tell_damaged(targets)
        if not reports:
            click.echo("nothing was planned so far: there is no ledger")
    return int(bool(targets) or any(report.damaged for report in reports))


def _tell(report: LedgerReport) -> None:
    state = f"{len(report.damaged):,} damaged" if report.damaged else "none damaged"
    click.echo(f"{report.loop}: {report.files:,} files, {state}")
    if report.without_digest:
        click.echo(
            f"  {report.without_digest:,} files are of a version that kept no digest of them: they can be read, and only some"
            " kinds of damage are found"
        )
    _tell_able("can be applied", report.can_apply)
    _tell_able("can be reverted", report.can_revert)
    for command, plan_id, partition, why in report.cannot[:_SHOWN]:
        named = f"plan {plan_id} " if plan_id else ""
        click.echo(f"  cannot {command} {named}in {safe_text(partition)}: {safe_text(why)}")
    _tell_damaged(report.damaged)


def _tell_able(what: str, plans: list[Able]) -> None:
    for one in plans[:_SHOWN]:
        keys = ", ".join(map(safe_text, one.partitions[:5])) + (", …" if len(one.partitions) > 5 else "")
        click.echo(f"  plan {one.plan_id} {what} in {len(one.partitions):,} partitions: {keys}")
    if len(plans) > _SHOWN:
        click.echo(f"  and {len(plans) - _SHOWN:,} more plans")


def _tell_damaged(damaged: dict[str, str]) -> None:
    for why in sorted(damaged.values())[:_SHOWN]:
        click.echo(f"  damaged: {safe_text(why)}")
    if len(damaged) > _SHOWN:
        click.echo(f"  and {len(damaged) - _SHOWN:,} more: --json lists all of them")
