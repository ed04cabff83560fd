"""kill -9 at every boundary of a step and at random times, up and down: running again ends in the same state."""

from __future__ import annotations

import random
import re
import time
from itertools import zip_longest
from pathlib import Path
from typing import Any

import pytest

import session_assets.stores
from session_assets.flow.model import MIGRATION
from session_assets_tests.counts import times
from session_assets_tests.flow.killed import Work, run
from session_assets_tests.flow.scenario import Guide
from session_assets_tests.random_kills import RandomKills

_UP = (
    "flow.begun.expand", "flow.expand.tables", "flow.expand.assets", "flow.index.built", "flow.expand.indexes",
    "flow.ended.expand", "flow.completed.expand", "flow.begun.backfill", "flow.made", "flow.backfill.made",
    "flow.backfill.before_commit@2", "flow.backfill.batch@4", "flow.backfill.assets", "flow.ended.backfill",
    "flow.completed.backfill", "flow.completed.rehearsal", "flow.begun.contract", "flow.contract.key_added",
    "flow.contract.keys", "flow.contract.before_commit@2", "flow.contract.assets", "flow.contract.discovery_flows",
    "flow.ended.contract", "flow.completed.contract",
)  # fmt: skip
_DOWN = (
    "flow.begun.undo of contract", "flow.restore.column.discovery_flows", "flow.restore.batch@2", "flow.restore.values.assets",
    "flow.restore.assets", "flow.ended.undo of contract", "flow.completed.undo of contract", "flow.begun.undo of backfill",
    "flow.undo_backfill.batch@2", "flow.undo_backfill.assets", "flow.undo_backfill.removed",
    "flow.completed.undo of backfill", "flow.begun.undo of expand",
    "flow.undo_expand.assets", "flow.undo_expand.tables", "flow.completed.undo of expand",
)  # fmt: skip
_FEW = 2


def chosen(names: tuple[str, ...]) -> list[str]:
    """All boundaries in the full run, else some: another choice each day."""
    return random.Random(int(time.time()) // 86_400).sample(names, times(_FEW, len(names)))


def state(guide: Guide) -> tuple[Any, ...]:
    """All that must be the same, however often the work was killed."""
    rows = guide.rows()
    for (row,) in rows["discovery_flows"]:
        if row["status"] == "migrated":
            del row["created_at"]  # the moment when it was made
    is_migrated = guide.one("SELECT to_regclass('session_assets_flow_made')") is not None
    return rows, guide.catalogue(), guide.archive() if is_migrated else {}


@pytest.fixture
def ends(guide: Guide) -> tuple[Any, Any]:
    """The state before, and the one after an uninterrupted migration; the database is back where it was."""
    before = state(guide)
    assert not run(Work(guide.url, "up"))
    after = state(guide)
    assert not run(Work(guide.url, "down"))
    assert state(guide) == before
    return before, after


def test_killed_at_a_boundary_and_run_again_it_ends_in_the_same_state(guide: Guide, ends: tuple[Any, Any]) -> None:
    before, after = ends
    for up, down in zip_longest(chosen(_UP), chosen(_DOWN)):
        if up is not None:
            assert run(Work(guide.url, "up", f"{up}=kill")), f"{up} was not reached"
        assert not run(Work(guide.url, "up"))
        assert state(guide) == after, up
        if down is not None:
            assert run(Work(guide.url, "down", f"{down}=kill")), f"{down} was not reached"
        assert not run(Work(guide.url, "down"))
        assert state(guide) == before, down


def test_killed_at_random_times_it_ends_in_the_same_state(guide: Guide, ends: tuple[Any, Any]) -> None:
    before, after = ends
    kills = RandomKills(times(1, 20), 1.2)
    for killed_at in kills:
        met = run(Work(guide.url, "up"), kill_after=killed_at)
        assert not run(Work(guide.url, "up"))
        assert state(guide) == after
        kills.count(run(Work(guide.url, "down"), kill_after=killed_at) and met)
        assert not run(Work(guide.url, "down"))
        assert state(guide) == before


def test_every_boundary_of_the_code_is_known_here() -> None:
    found = set[str]()
    for path in Path(session_assets.stores.__file__).parent.glob("flow_*.py"):
        found |= set(re.findall(r'failpoint\(f?"(flow\.[^"]*)"\)', path.read_text()))
    kinds, tables = ("expand", "backfill", "rehearsal", "contract"), [one.name for one in MIGRATION.tables]
    known = {name.partition("@")[0] for name in (*_UP, *_DOWN)}
    for name in found:
        names = {name.replace("{kind}", kind) for kind in (*kinds, *(f"undo of {kind}" for kind in kinds))}
        names |= {name.replace("{place.name}", table) for table in tables}
        assert names & known, name
