"""Attempts of version 0.1 name no target: they belong to the targets on which their plan was recorded before they began."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import bson
import pytest
from pymongo.collection import Collection

from session_assets.changes.change_set import Plan
from session_assets.changes.ledger import Ledger
from session_assets.changes.target import Known
from session_assets.sealed import read_sealed
from session_assets_tests.changes.scenario import Change, Loop, doc, outcomes, rows_of

_A, _B = "mongodb://host:1/a", "mongodb://host:1/b"
_ROWS = rows_of([Change("update", doc(number, a=1), bson.encode({"a": 2})) for number in range(4)])


@pytest.fixture
def old(collection: Collection[Any], tmp_path: Path) -> Loop:
    """A loop whose ledger is made as that of version 0.1 by `as_of_0_1`."""
    loop = Loop.new(collection, tmp_path)
    loop.fill([doc(number, a=1) for number in range(4)])
    return loop


def as_of_0_1(loop: Loop, source: str) -> None:
    """Take targets, digests and announcements out of the ledger; recordings without a target are of the database `source`."""
    recorded, attempts = (f"{loop.ledger.base}/{name}" for name in ("recorded", "attempts"))
    names = [f"{recorded}/{one}" for one in loop.storage.names(recorded)]
    for plan_id in loop.storage.names(attempts):
        folder = f"{attempts}/{plan_id}"
        names += [f"{folder}/{one}/started.json" for one in loop.storage.names(folder)]
    for name in loop.storage.names(f"{loop.ledger.base}/announced"):
        loop.storage.remove_file(f"{loop.ledger.base}/announced/{name}")
    for name in names:
        stored = read_sealed(loop.storage, name).body
        if stored.pop("target", None) is not None and name.startswith(recorded):
            stored["source"] = source
        loop.storage.write_json(name, stored)


def ledger_of(loop: Loop, source: str) -> Ledger:
    return Ledger(loop.storage, "web", Known.named(f"target of {source}", [source]))


def applied(loop: Loop) -> Plan:
    plan = loop.plan(_ROWS)
    assert outcomes(loop.apply()) == {"applied": 4}
    return plan


def applied_on_a(loop: Loop) -> Plan:
    plan = applied(loop)
    as_of_0_1(loop, _A)
    return plan


def test_an_attempt_is_of_the_target_that_its_plan_was_made_on(old: Loop) -> None:
    plan = applied_on_a(old)
    assert [one.number for one in ledger_of(old, _A).attempts(plan.plan_id)] == [1]
    assert ledger_of(old, _B).attempts(plan.plan_id) == []


def test_an_attempt_is_not_of_a_target_on_which_the_plan_was_made_later(old: Loop) -> None:
    plan = applied_on_a(old)
    old.plan(_ROWS)
    as_of_0_1(old, _B)
    assert [one.number for one in ledger_of(old, _A).attempts(plan.plan_id)] == [1]
    b = ledger_of(old, _B)
    assert b.attempts(plan.plan_id) == []
    assert list(b.pending()) == [plan.plan_id]


def test_a_revert_that_looked_at_a_copy_does_not_take_the_way_back(old: Loop) -> None:
    """What version 0.1 did with the URI of a copy that was never repaired: "4 undone", and nothing was."""
    before = old.now()
    plan = applied(old)
    repaired = old.now()
    old.fill(before.values())
    assert outcomes(old.revert(plan)) == {"already_applied": 4}
    as_of_0_1(old, _A)
    old.fill(repaired.values())
    old.ledger = ledger_of(old, _A)
    assert old.preview(plan).undoable == 4
    assert outcomes(old.revert(plan)) == {"applied": 4}
    assert old.now() == before


def test_a_plan_that_version_0_1_reverted_is_undone_already(old: Loop) -> None:
    before = old.now()
    plan = applied(old)
    old.revert(plan)
    as_of_0_1(old, _A)
    old.ledger = ledger_of(old, _A)
    report = old.revert(plan)
    assert (report.undoable, report.looked is not None and not report.looked.disagrees) == (0, True)
    assert old.now() == before
