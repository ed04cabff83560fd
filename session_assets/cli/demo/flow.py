"""The flow migration in the demo: plan → apply → rehearsal → contract → verify, then contract taken back and done again."""

from __future__ import annotations

import os
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from session_assets.cli import steps
from session_assets.cli.demo import flow_app
from session_assets.cli.demo.steps import step, worked
from session_assets.cli.runner import Result, Runner
from session_assets.embedded.flow_sample import PlantedFlow, new_database, plant
from session_assets.flow.model import SLICE, VARIABLE
from session_assets.graph.target import StepTarget

DATABASE = "flow_demo"
LOOK = (
    ("/asset-groups/flow", "session ids → map → changes → backfill → rehearsal → contract, with their checks"),
    ("/assets/flow/changes", "which row got which flow, and why"),
    (
        "/assets/flow/metrics",
        "metrics against their thresholds; flow/code_references, flow/stored_validations beside it",
    ),
)
_BY = "the demo"

__all__ = ["DATABASE", "LOOK", "SLICE", "VARIABLE", "run"]


def run(runner: Runner) -> tuple[list[str], list[str]]:
    """Migrate a sample, go back after contract and forward again; returns what is wrong, and the steps to undo."""
    main, rehearsal, contract = (_target(runner, name) for name in (SLICE, f"{SLICE}/rehearsal", f"{SLICE}/contract"))
    with step("sample database", "plant") as note:
        new_database(os.environ[VARIABLE])
        planted = plant(os.environ[VARIABLE])
        note(f"{planted.rows:,} rows of sessions and four tables that name them")
    plan = _done(runner, main, "plan")
    refused = steps.work(runner, contract, "plan", (), {})
    applied = _done(runner, main, "apply")
    _done(runner, rehearsal, "apply")
    first = _done(runner, contract, "apply", waive_staging=_BY)
    with step(f"revert {SLICE}", "run") as note:
        back = worked("revert flow", steps.revert(runner, main, first.body["plan_id"], False))
        note(back.story[0])
    _done(runner, rehearsal, "apply")
    again = _done(runner, contract, "apply", waive_staging=_BY)
    verified = _done(runner, main, "verify")
    faults = _show(planted, plan.body, applied.body, verified.body)
    faults += _account(refused.body, first.body, back.body, again.body)
    faults += flow_app.run(runner)
    return faults, [applied.body["plan_id"], again.body["plan_id"]]


def _target(runner: Runner, name: str) -> StepTarget:
    return next(one for one in runner.step_targets() if one.name == name)


def _done(runner: Runner, target: StepTarget, command: Any, **config: Any) -> Result:
    name = f"{command} {target.name}"
    with step(name, "run") as note:
        result = worked(name, steps.work(runner, target, command, (), config))
        note(next(iter(result.story), ""))
    return result


def _show(planted: PlantedFlow, plan: dict[str, Any], applied: dict[str, Any], verified: dict[str, Any]) -> list[str]:
    """By reason: planted, found by the plan, and what is without flow at the end; returns what is wrong."""
    left = {one["name"]: one["count"] for one in verified["checks"]}
    after = {"orphaned": left["orphaned_assets"], "unknown_session": left["unknown_sessions"]}
    table = Table("reason", "planted", "plan", "without flow\nat the end", "")
    for column in table.columns[1:4]:
        column.justify = "right"
    faults = []
    for name in dict.fromkeys([*planted.reasons, *plan["reasons"]]):
        wanted, found, at_end = planted.reasons[name], plan["reasons"].get(name, 0), after.get(name, 0)
        is_right = found == wanted and at_end == (wanted if name in after else 0)
        style, mark = ("green", "exact") if is_right else ("red", "wrong")
        table.add_row(name, f"{wanted:,}", f"{found:,}", f"{at_end:,}", mark, style=style)
        faults += [] if is_right else [f"{name}: planted {wanted}, plan {found}, without flow at the end {at_end}"]
    Console().print(table)
    click.echo("orphaned and unknown_session: no rule gives them a flow; their old values stand in the archive")
    made = applied["step"]["counts"]["made"]
    figures = {
        "flows made": (planted.made, made),
        "ambiguous sessions": (planted.ambiguous, left["ambiguous_sessions"]),
    }
    errors = [one["name"] for one in verified["checks"] if one["severity"] == "ERROR" and not one["passed"]]
    faults += [f"{what}: {got:,}, planted {wanted:,}" for what, (wanted, got) in figures.items() if wanted != got]
    return [*faults, *(f"{name} fails at the end" for name in errors)]


def _account(refused: dict[str, Any], first: dict[str, Any], back: dict[str, Any], again: dict[str, Any]) -> list[str]:
    """What is wrong with the way there and back."""
    archived, restored = sum(first["step"]["counts"]["archived"].values()), back["classes"]["restored"]
    figures = {
        "gates shut before the first step": (["backfill"], [one["name"] for one in refused["gates"]]),
        "values brought back": (archived, restored),
        "values archived again": (first["step"]["counts"]["archived"], again["step"]["counts"]["archived"]),
    }
    return [f"{what}: {got}, not {wanted}" for what, (wanted, got) in figures.items() if wanted != got]
