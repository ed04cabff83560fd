"""Contest sessions in the demo: sample data with known defects, verify → plan → apply → verify."""

from __future__ import annotations

import os
from datetime import UTC, datetime

from session_assets.cli.demo.defects import compare, found, show
from session_assets.cli.demo.steps import applied, finished, step, verified
from session_assets.cli.runner import Runner
from session_assets.contest.model import REASON, SLICE, VARIABLE
from session_assets.embedded.contest_sample import replant

DATABASE = "contest_demo"
LOOK = (
    ("/asset-groups/contest", "problems and users → facts → changes → sessions"),
    ("/assets/contest/session_changes", "the dry run, with a preview of before and after for each month"),
    ("/assets/contest/topic_performance", "accuracy by topic and by month, as plots"),
)
LEGEND = "repair: `apply contest` · quarantine: not written until a person has decided · listed: a person decides"

__all__ = ["DATABASE", "LOOK", "SLICE", "VARIABLE", "run"]


def run(runner: Runner) -> tuple[list[str], list[str]]:
    """Plant, find, repair, count again, and show the table; returns what is wrong, and the plan that was applied."""
    with step("sample data", "plant") as note:
        planted = replant(os.environ[VARIABLE], now=datetime.now(UTC))
        note(f"{planted.sessions:,} sessions, {planted.repairable:,} of them repairable")
    target = runner.target(SLICE)
    before = verified(runner, target)
    plan, outcomes = applied(runner, target)
    after = verified(runner, target, "run again")
    finished("contest/topic_performance", lambda: runner.run("contest_performance", target, (), {}))
    faults = show(compare(planted.ids, kind_of, found(before), found(after)), LEGEND)
    figures = {
        "documents read before the repair": (planted.sessions, before.body["read"]),
        "documents read after it": (planted.sessions, after.body["read"]),
        "documents repaired": (planted.repairable, outcomes["applied"]),
    }
    faults += [f"{what}: {got:,}, planted {wanted:,}" for what, (wanted, got) in figures.items() if wanted != got]
    return faults, [plan["plan_id"]]


def kind_of(reason: str) -> str:
    """What can be done about a reason."""
    return REASON[reason].fix.value if reason in REASON else "listed"
