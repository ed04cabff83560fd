"""Web sessions in the demo: sample data with known defects, verify → plan → apply → verify."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import click
import polars as pl
from rich.console import Console
from rich.table import Table

from session_assets.cli.demo.steps import step, worked
from session_assets.cli.runner import Result, Runner
from session_assets.embedded.web_sample import GRACE_DAYS, Planted, replant
from session_assets.masking import safe_text
from session_assets.web.model import REASON, SLICE, VARIABLE, Fix

LOOK = (
    ("/asset-groups/web", "the graph: events → facts → changes → sessions"),
    ("/assets/web/session_changes", "the dry run, with a preview of before and after for each day"),
    ("/assets/web/sessions?view=checks", "the checks, their counts, ids, full lists and next steps"),
)


@dataclass(frozen=True)
class Defect:
    """One kind of defect: how often it was planted, found before and after, and what is wrong with that, if anything."""

    name: str
    kind: str
    planted: int
    before: int
    after: int
    faults: tuple[str, ...]


Found = Mapping[str, list[str]]
"""Reason → ids, one for each document or event."""


def run(runner: Runner) -> tuple[list[str], list[str]]:
    """Plant, find, repair, count again, and show the table; returns what is wrong, and the plans that were applied."""
    with step("sample data", "plant") as note:
        planted = replant(os.environ[VARIABLE], now=datetime.now(UTC))
        note(f"{planted.sessions:,} sessions, {planted.logins:,} log-ins, {planted.events:,} events")
    web, fold, orphans = (runner.target(name) for name in (SLICE, f"{SLICE}/duplicates", f"{SLICE}/orphans"))
    faults: list[str] = []
    with step("verify web", "run") as note:
        before = worked("verify web", runner.verify(web, (), ()))
        note(f"{before.body['read']:,} documents read, {sum(before.body['reasons'].values()):,} findings in sessions")
    plan_ids: dict[str, str] = {}
    for target in (web, fold):
        with step(f"plan {target.name}", "run") as note:
            plan = worked(f"plan {target.name}", runner.plan(target, (), ()))
            note(f"plan {plan.body['plan_id']}: {plan.body['planned']:,} changes")
        with step(f"apply {target.name}", "run") as note:
            config = {"plan_id": plan.body["plan_id"], "force": False, "batch_size": 5000}
            outcomes = worked(f"apply {target.name}", runner.apply(target, (), (), config)).body["outcomes"]
            note(", ".join(f"{count:,} {name}" for name, count in outcomes.items() if count) or "nothing to do")
        plan_ids[target.name] = plan.body["plan_id"]
        if outcomes["applied"] != plan.body["planned"]:
            faults.append(f"apply {target.name}: {plan.body['planned']:,} planned, {outcomes['applied']:,} applied")
    with step("plan web/orphans", "run") as note:
        deletable = worked("plan web/orphans", runner.plan(orphans, (), ())).body["planned"]
        note(f"{deletable:,} older than {GRACE_DAYS} days; not applied, they stay")
    with step("verify web", "run again"):
        after = worked("verify web", runner.verify(web, (), ()))
    defects = compare(planted, found(before), found(after))
    _show(defects)
    for defect in defects:
        faults.extend(f"{defect.name}: {fault}" for fault in defect.faults)
    return [*faults, *_account(planted, before, after, deletable)], [*plan_ids.values()]


def found(verified: Result) -> dict[str, list[str]]:
    """The ids of each reason, from the full lists that the checks name."""
    lists = {reason: path for check in verified.body["checks"] for reason, path in check["full_list"].items()}
    return {
        reason: sorted(pl.concat(pl.read_parquet(file, columns=["id"]) for file in Path(path).iterdir())["id"])
        for reason, path in lists.items()
    }


def compare(planted: Planted, before: Found, after: Found) -> list[Defect]:
    """Each kind of defect, planted or found: exact ids before; afterwards none where repairable, the same ones else."""
    result: list[Defect] = []
    for name in dict.fromkeys([*planted.ids, *before, *after]):
        reason = REASON.get(name)
        fix = reason.fix if reason else Fix.LISTED
        ids = planted.ids.get(name, [])
        left = [] if fix in (Fix.REPAIR, Fix.FOLD) else ids
        times = (("before", ids, before.get(name, [])), ("after", left, after.get(name, [])))
        faults = tuple(text for when, wanted, got in times if (text := _difference(when, wanted, got)))
        counts = len(ids), len(before.get(name, [])), len(after.get(name, []))
        result.append(Defect(name, fix.value, *counts, faults))
    return result


def _difference(when: str, wanted: list[str], got: list[str]) -> str:
    missed, extra = Counter(wanted) - Counter(got), Counter(got) - Counter(wanted)
    parts = [
        f"{sum(some.values()):,} {what} (such as {safe_text(min(some))})"
        for what, some in (("missed", missed), ("not expected", extra))
        if some
    ]
    return f"{when} the repair {' and '.join(parts)}" if parts else ""


def _account(planted: Planted, before: Result, after: Result, deletable: int) -> list[str]:
    """What is wrong with the totals."""
    removed = len(planted.ids["duplicate_session"]) - len(set(planted.ids["duplicate_session"]))
    figures = {
        "documents read before the repair": (planted.documents, before.body["read"]),
        "documents read after it": (planted.documents - removed, after.body["read"]),
        "log-ins left out before the repair": (planted.logins, before.body["classes"].get("not_applicable", 0)),
        "log-ins left out after it": (planted.logins, after.body["classes"].get("not_applicable", 0)),
        "orphans old enough to delete": (planted.old_orphans, deletable),
    }
    return [f"{what}: {got:,}, planted {wanted:,}" for what, (wanted, got) in figures.items() if wanted != got]


def _show(defects: list[Defect]) -> None:
    table = Table("defect", "planted", "found before", "found after", "kind", "")
    for column in table.columns[1:4]:
        column.justify = "right"
    for one in defects:
        figures = (f"{one.planted:,}", f"{one.before:,}", f"{one.after:,}")
        style, mark = ("red", "wrong") if one.faults else ("green", "exact")
        table.add_row(one.name, *figures, one.kind, mark, style=style)
    Console().print(table)
    click.echo("repair: `apply web` · fold: `apply web/duplicates` · listed: a person decides · wait: the next run")
