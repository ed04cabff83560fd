"""kill -9 after any step of a move, in apply and in revert: running again leaves each session once, and as it should be."""

from __future__ import annotations

import random
from collections.abc import Mapping
from pathlib import Path

import polars as pl
import pytest

from session_assets.stores.cosmos_documents import Document
from session_assets_tests.changes.scenario import PARTITIONS, outcomes
from session_assets_tests.counts import times
from session_assets_tests.stores.cosmos_loop import Work, loop_of, run
from session_assets_tests.stores.cosmos_scenario import (
    Stored,
    by_place,
    put,
    repaired,
    row,
    rows,
    session,
    sessions_of,
    stored,
)

STEPS = [
    "apply.after_intent",
    "cosmos.before_create",
    "cosmos.after_create",
    "cosmos.after_read_back",
    "cosmos.before_delete",
    "cosmos.after_delete",
    "apply.after_write",
    "apply.after_outcome",
]
ROWS = 12


def scenario() -> tuple[list[Document], list[Document], pl.DataFrame]:
    """Documents before and after, and the rows that lead there: moves, and documents that were made again beside their copy."""
    before, after, changes = [], [], []
    for number in range(ROWS):
        one = session(number)
        made_again = number % 4 == 3
        old = [one | {"activity_count": 50}, repaired(one)] if made_again else [one]
        new = [repaired(old[0], at="2025-09-01T00:00:00+00:00")]
        before += old
        after += new
        changes.append(row(old, new))
    frame = rows(*changes).with_columns(partition=pl.Series([PARTITIONS[number % 2] for number in range(ROWS)]))
    return before, after, frame


class Setting:
    """A planned scenario."""

    def __init__(self, settings: Mapping[str, str], folder: Path) -> None:
        before, after, changes = scenario()
        self.sessions = sessions_of(settings)
        put(self.sessions, *before)
        self.before, self.after = by_place(before), by_place(after)
        self.loop = loop_of(settings, folder)
        self.plan = self.loop.plan(changes)
        self.work = {"settings": dict(settings), "folder": folder, "plan_id": self.plan.plan_id}

    def now(self) -> Stored:
        return stored(self.sessions)

    def run(self, action: str, place: str) -> bool:
        return run(Work(**self.work, action=action, failpoints=f"{place}=kill"))

    def finish_apply(self) -> None:
        self.loop.apply(self.plan)
        assert self.now() == self.after
        assert self.loop.ledger.pending() == {}

    def finish_revert(self) -> None:
        report = self.loop.revert(self.plan)
        assert report.refused == []
        assert self.now() == self.before


@pytest.fixture
def setting(cosmos: dict[str, str], tmp_path: Path) -> Setting:
    return Setting(cosmos, tmp_path)


@pytest.mark.parametrize("step", STEPS)
def test_a_killed_apply_is_finished_by_running_again(setting: Setting, step: str) -> None:
    assert setting.run("apply", f"{step}@2")
    setting.finish_apply()
    (attempt,) = setting.loop.ledger.attempts(setting.plan.plan_id)
    counts = [attempt.summary(partition)["outcomes"]["applied"] for partition in PARTITIONS]
    assert sum(counts) == ROWS
    assert setting.run("revert", f"{step}@2")
    setting.finish_revert()


@pytest.mark.parametrize("step", STEPS)
def test_a_killed_apply_can_be_reverted_at_once(setting: Setting, step: str) -> None:
    assert setting.run("apply", f"{step}@3" if step.startswith("cosmos") else step)
    foreseen = setting.loop.preview(setting.plan)
    report = setting.loop.revert(setting.plan)
    assert (report.undoable, report.refused) == (foreseen.undoable, [])
    assert setting.now() == setting.before


def test_kills_at_random_steps_leave_each_session_once(setting: Setting) -> None:
    chance = random.Random(11)
    for _ in range(times(2, 20)):
        setting.loop.plan(scenario()[2])
        for _ in range(2):
            setting.run("apply", f"{chance.choice(STEPS)}@{chance.randint(1, ROWS)}")
        setting.finish_apply()
        for _ in range(2):
            setting.run("revert", f"{chance.choice(STEPS)}@{chance.randint(1, ROWS)}")
        setting.finish_revert()
    assert outcomes(setting.loop.apply(setting.loop.plan(scenario()[2]))) == {"applied": ROWS}
