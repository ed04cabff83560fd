"""`verify`, `plan`, `apply`, `revert`: each is a run of a Dagster job, executed here and seen in the UI."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import click

from session_assets.cli import files, output, steps
from session_assets.cli.runner import Result, Runner
from session_assets.errors import UsageError
from session_assets.graph.target import FileTarget, Target


class Chosen(NamedTuple):
    """What a command is about: everything where all are empty."""

    partitions: tuple[str, ...]
    sessions: tuple[str, ...]
    usernames: tuple[str, ...]


def _common(command: Any) -> Any:
    options = [
        click.argument("slice_", metavar="SLICE|all"),
        click.option("--partition", "partitions", multiple=True, metavar="K", help="Only this partition; repeatable."),
        click.option("--session", "sessions", multiple=True, metavar="ID", help="Only this session; repeatable."),
        click.option("--username", "usernames", multiple=True, metavar="NAME", help="Only this user; repeatable."),
        click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output."),
    ]
    for option in reversed(options):
        command = option(command)
    return command


@click.command()
@_common
@click.option("--allow-empty", is_flag=True, help="An empty collection is no failure.")
def verify(
    slice_: str,
    partitions: tuple[str, ...],
    sessions: tuple[str, ...],
    usernames: tuple[str, ...],
    as_json: bool,
    allow_empty: bool,
) -> int:
    """Recount from the source of truth; exit 1 if a check fails as ERROR, or too little could be judged."""
    chosen = Chosen(partitions, sessions, usernames)

    def work(runner: Runner, target: Target) -> Result:
        return runner.verify(target, *chosen, allow_empty=allow_empty)

    return _each(slice_, as_json, "verify", chosen, work, {"allow_empty": allow_empty})


@click.command()
@_common
@click.option("--batch-size", type=click.IntRange(1), help="Accepted for old habits; a plan has no batches.")
def plan(
    slice_: str,
    partitions: tuple[str, ...],
    sessions: tuple[str, ...],
    usernames: tuple[str, ...],
    as_json: bool,
    batch_size: int | None,
) -> int:
    """Preview the exact changes. Writes nothing to any collection."""
    return _plan(slice_, as_json, Chosen(partitions, sessions, usernames))


@click.command()
@_common
@click.option("--plan-id", metavar="ID", help="This plan, instead of the newest that is not applied.")
@click.option("--dry-run", is_flag=True, help="Plan only.")
@click.option("--batch-size", type=click.IntRange(1, 100_000), help="Documents written between two ledger entries.")
@click.option("--force", is_flag=True, help="Also above SESSION_ASSETS_MAX_CHANGE_SHARE.")
@click.option("--waive-staging", metavar="NAME", help="Of flow/contract: who does without the proof on staging.")
@click.option("--waive-twin", metavar="NAME", help="Of flow, flow/contract: who does without the try on a twin.")
@click.option("--deployed", metavar="DIGEST", help="Of flow/contract: the list of statements that are deployed by now.")
def apply(
    slice_: str,
    partitions: tuple[str, ...],
    sessions: tuple[str, ...],
    usernames: tuple[str, ...],
    as_json: bool,
    plan_id: str | None,
    dry_run: bool,
    batch_size: int | None,
    force: bool,
    waive_staging: str | None,
    waive_twin: str | None,
    deployed: str | None,
) -> int:
    """Apply the newest plan that is not applied yet; where there is none, plan first."""
    if dry_run and plan_id:
        raise UsageError("--dry-run plans anew and --plan-id names a plan: use one of them.")
    if slice_ == "all" and plan_id:
        raise UsageError("--plan-id names a plan of one slice: name the slice instead of all.")
    chosen = Chosen(partitions, sessions, usernames)
    options = {"waive_staging": waive_staging, "waive_twin": waive_twin, "deployed": deployed}
    if dry_run:
        return _plan(slice_, as_json, chosen, options)
    config = {"plan_id": plan_id, "force": force, "batch_size": batch_size or 0}
    return _each(
        slice_,
        as_json,
        "apply",
        chosen,
        lambda runner, target: runner.apply(target, partitions, sessions, config, usernames),
        config | options,
    )


@click.command()
@click.argument("slice_", metavar="SLICE")
@click.option("--plan-id", required=True, metavar="ID")
@click.option("--dry-run", is_flag=True, help="Say what would be undone, and what cannot be.")
@click.option("--batch-size", type=click.IntRange(1, 100_000), help="Documents written between two ledger entries.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
def revert(slice_: str, plan_id: str, dry_run: bool, batch_size: int | None, as_json: bool) -> int:
    """Undo the latest apply of a plan, where documents are still as it left them."""
    runner = Runner(quiet=as_json)
    target = next((one for one in runner.file_targets() if one.name == slice_), None)
    if target is not None:
        return output.show(files.revert(runner, target, plan_id, dry_run), as_json)
    step = next((one for one in runner.step_targets() if one.name == slice_), None)
    if step is not None:
        return output.show(steps.revert(runner, step, plan_id, dry_run), as_json)
    result = runner.revert(slice_, plan_id, dry_run, batch_size or 0)
    return output.show(result, as_json)


def _plan(slice_: str, as_json: bool, chosen: Chosen, config: dict[str, Any] | None = None) -> int:
    return _each(slice_, as_json, "plan", chosen, lambda runner, target: runner.plan(target, *chosen), config)


def _each(
    slice_: str,
    as_json: bool,
    command: Literal["verify", "plan", "apply"],
    chosen: Chosen,
    work: Callable[[Runner, Target], Result],
    config: dict[str, Any] | None = None,
) -> int:
    """Run one target, or for `all` every slice that is configured; the worst exit code counts."""
    if chosen.partitions and (chosen.sessions or chosen.usernames):
        raise UsageError("--partition and --session or --username choose different things: use one of them.")
    runner = Runner(quiet=as_json)
    codes: list[int] = []
    for target in runner.targets(slice_):
        if isinstance(target, Target):
            result = work(runner, target)
        elif chosen.sessions:
            raise UsageError(f"{target.name} does not know single sessions.")
        elif chosen.usernames:
            raise UsageError(f"{target.name} does not know users by name.")
        elif isinstance(target, FileTarget):
            result = files.work(runner, target, command, chosen.partitions, config or {})
        else:
            result = steps.work(runner, target, command, chosen.partitions, config or {})
        codes.append(output.show(result, as_json))
    if not codes:
        raise UsageError(
            f"no slice is configured, so there is nothing to {command}. `session-assets env` shows the variables."
        )
    return max(codes)
