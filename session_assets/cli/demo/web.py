"""Web sessions in the demo: sample data with known defects, verify → plan → apply → verify."""

from __future__ import annotations

import os
from datetime import UTC, datetime

from session_assets.cli.demo.defects import compare, found, show
from session_assets.cli.demo.steps import applied, step, verified, worked
from session_assets.cli.runner import Result, Runner
from session_assets.embedded.web_sample import GRACE_DAYS, Planted, replant
from session_assets.web.model import REASON, SLICE, VARIABLE, Fix

LOOK = (
    ("/asset-groups/web", "the graph: events → facts → changes → sessions"),
    ("/assets/web/session_changes", "the dry run, with a preview of before and after for each day"),
    ("/assets/web/sessions?view=checks", "the checks, their counts, ids, full lists and next steps"),
)


LEGEND = "repair: `apply web` · fold: `apply web/duplicates` · listed: a person decides · wait: the next run"


def run(runner: Runner) -> tuple[list[str], list[str]]:
    """Plant, find, repair, count again, and show the table; returns what is wrong, and the plans that were applied."""
    with step("sample data", "plant") as note:
        planted = replant(os.environ[VARIABLE], now=datetime.now(UTC))
        note(f"{planted.sessions:,} sessions, {planted.logins:,} log-ins, {planted.events:,} events")
    web, fold, orphans = (runner.target(name) for name in (SLICE, f"{SLICE}/duplicates", f"{SLICE}/orphans"))
    faults: list[str] = []
    before = verified(runner, web)
    plan_ids: dict[str, str] = {}
    for target in (web, fold):
        plan, outcomes = applied(runner, target)
        plan_ids[target.name] = plan["plan_id"]
        if outcomes["applied"] != plan["planned"]:
            faults.append(f"apply {target.name}: {plan['planned']:,} planned, {outcomes['applied']:,} applied")
    with step("plan web/orphans", "run") as note:
        deletable = worked("plan web/orphans", runner.plan(orphans, (), ())).body["planned"]
        note(f"{deletable:,} older than {GRACE_DAYS} days; not applied, they stay")
    after = verified(runner, web, "run again")
    faults += show(compare(planted.ids, kind_of, found(before), found(after)), LEGEND)
    return [*faults, *_account(planted, before, after, deletable)], [*plan_ids.values()]


def kind_of(reason: str) -> str:
    """What can be done about a reason."""
    return (REASON[reason].fix if reason in REASON else Fix.LISTED).value


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
