"""What every slice of the demo uses: a line a step, and errors that say which step did not work."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import click

from session_assets.cli.runner import Result, Runner
from session_assets.errors import SessionAssetsError
from session_assets.graph.target import Target
from session_assets.masking import safe_lines


class StepFailed(SessionAssetsError):
    """A step of the demo did not work: the message says which and why."""

    def __init__(self, text: str, exit_code: int) -> None:
        super().__init__(text)
        self.exit_code = exit_code


def worked(step: str, result: Result) -> Result:
    """The result of a step that ran to its end, whatever its checks say."""
    if result.error or result.body.get("failed_partitions"):
        reason = result.error or f"partitions were set aside: {result.body['failed_partitions']}"
        raise StepFailed(f"{step}: {safe_lines(reason)}", result.exit_code or 1)
    return result


def verified(runner: Runner, target: Target, how: str = "run") -> Result:
    """A look at the collection."""
    with step(f"verify {target.name}", how) as note:
        result = worked(f"verify {target.name}", runner.verify(target, (), ()))
        note(f"{result.body['read']:,} documents read, {sum(result.body['reasons'].values()):,} findings")
    return result


def applied(runner: Runner, target: Target) -> tuple[dict[str, Any], dict[str, int]]:
    """A plan, and the outcomes of its apply."""
    name = target.name
    with step(f"plan {name}", "run") as note:
        plan = worked(f"plan {name}", runner.plan(target, (), ())).body
        note(f"plan {plan['plan_id']}: {plan['planned']:,} changes")
    with step(f"apply {name}", "run") as note:
        config = {"plan_id": plan["plan_id"], "force": False, "batch_size": 0}
        outcomes = worked(f"apply {name}", runner.apply(target, (), (), config)).body["outcomes"]
        note(", ".join(f"{count:,} {outcome}" for outcome, count in outcomes.items() if count) or "nothing to do")
    return plan, outcomes


def finished(assets: str, run: Callable[[], tuple[str, str | None, int]]) -> None:
    """A run that makes some assets."""
    with step(assets, "run"):
        _, error, code = run()
        if error:
            raise StepFailed(f"{assets}: {safe_lines(error)}", code)


@contextmanager
def step(what: str, how: str) -> Iterator[Note]:
    """One line a step: what was done, what came out, and how long it took."""
    began, note = time.monotonic(), Note()
    click.echo(f"{f'{what}: {how}':<40} ", nl=False)
    try:
        yield note
    except BaseException:
        click.echo("stopped")
        raise
    click.echo(f"{time.monotonic() - began:5.1f} s  {note.text}".rstrip())


class Note:
    text = ""

    def __call__(self, text: str) -> None:
        self.text = text
