"""A purge takes plans that nothing stands on, leaves what can be applied or undone, and may be killed anywhere."""

from __future__ import annotations

import os
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import bson
import pytest
from pymongo.collection import Collection

from session_assets.changes.change_set import Plan
from session_assets.changes.ledger import Ledger
from session_assets.changes.purge import Purge
from session_assets.changes.target import Known
from session_assets.errors import PlanRefused
from session_assets.failpoints import FailpointRaised
from session_assets_tests.changes.killed import Work, run
from session_assets_tests.changes.scenario import PARTITIONS, Change, Loop, doc, outcomes, rows_of

FIRST, SECOND = PARTITIONS
LATER = datetime.now(UTC) + timedelta(days=1)  # whatever is there by then was not touched since


@pytest.fixture
def loop(collection: Collection[Any], tmp_path: Path) -> Loop:
    loop = Loop.new(collection, tmp_path, base=str(tmp_path / "storage"))
    loop.fill([doc(number, a=1) for number in range(4)])
    return loop


def planned(loop: Loop, value: int, **others: int) -> Plan:
    """A plan that takes document 0 from `value` - 1 on, and beside it documents of the second partition."""
    first = [Change("update", doc(0, a=value - 1), bson.encode({"a": value}))]
    second = [
        Change("update", doc(int(name[1:]), a=1), bson.encode({"a": one}), partition=SECOND)
        for name, one in others.items()
    ]
    return loop.plan(rows_of([*first, *second]), PARTITIONS if others else [FIRST])


def applied(loop: Loop, value: int, **others: int) -> Plan:
    plan = planned(loop, value, **others)
    assert set(outcomes(loop.apply(plan))) == {"applied"}
    return plan


def old(loop: Loop, before: datetime = LATER) -> set[str]:
    return {one.plan_id for one in Purge(loop.storage, "web", before).old_plans()}


def purge(loop: Loop) -> set[str]:
    return {one.plan_id for one in Purge(loop.storage, "web", LATER).remove()[0]}


def parts(loop: Loop) -> int:
    return sum(name.endswith("done.json") for name in loop.ledger_files())


def test_what_was_superseded_goes_and_the_newest_can_be_undone(loop: Loop) -> None:
    first, second = applied(loop, 2), applied(loop, 3)
    assert purge(loop) == {first.plan_id}
    assert parts(loop) == 1 and not [
        name for name in loop.ledger_files() if first.plan_id in name and "purged" not in name
    ]
    for call in (loop.ledger.plan, lambda _: loop.apply(first)):
        with pytest.raises(PlanRefused, match=rf"plan {first.plan_id} of web was removed by the purge of 20\d\d-"):
            call(first.plan_id)
    assert outcomes(loop.revert(second)) == {"applied": 1}
    assert purge(loop) == set()


def test_the_newest_plan_and_the_newest_apply_stay(loop: Loop) -> None:
    first, second = applied(loop, 2), planned(loop, 3)
    third = planned(loop, 4)
    assert purge(loop) == {second.plan_id}
    assert loop.ledger.pending() == {third.plan_id: [FIRST]}
    assert outcomes(loop.revert(first)) == {"applied": 1}


def test_an_apply_stays_while_those_after_it_are_undone(loop: Loop) -> None:
    first, second = applied(loop, 2), applied(loop, 3)
    loop.revert(second)
    planned(loop, 4)
    assert old(loop) == set()
    assert outcomes(loop.revert(first)) == {"applied": 1}


def test_a_stopped_attempt_keeps_its_plan(loop: Loop) -> None:
    first = planned(loop, 2)
    attempt = loop.ledger.start_attempt(first, [FIRST], batch_size=3, run_id="killed")
    second = applied(loop, 2, d1=5)
    third = applied(loop, 3)
    assert (attempt.is_finished(FIRST), purge(loop)) == (False, set())
    loop.apply(first)
    assert purge(loop) == {first.plan_id} and {second.plan_id, third.plan_id}.isdisjoint(old(loop))


@pytest.mark.parametrize("folder", ["plans", "attempts", "parts", "recorded"])
def test_what_was_touched_since_stays(loop: Loop, folder: str) -> None:
    first = applied(loop, 2)
    applied(loop, 3)
    part = loop.ledger.part_folder(first.parts[0])
    long_ago, now = LATER - timedelta(days=11), datetime.now(UTC)
    for name in loop.ledger_files():
        if Path(name).is_file():
            is_touched = f"/{folder}/" in name and (first.plan_id in name or part in name)
            at = (now if is_touched else long_ago).timestamp()
            os.utime(name, (at, at))
    assert old(loop, now - timedelta(days=1)) == set()  # the name of a recording says when
    assert old(loop) == {first.plan_id}


def test_each_database_has_a_newest_plan_of_its_own(loop: Loop) -> None:
    plain = Ledger(loop.storage, "web")
    loop.ledger = Ledger(loop.storage, "web", Known.named("one"))
    first = applied(loop, 2)
    loop.ledger = Ledger(loop.storage, "web", Known.named("two"))
    applied(loop, 3)
    assert purge(loop) == set()
    loop.ledger = Ledger(loop.storage, "web", Known.named("one"))
    assert outcomes(loop.preview(first)) == {} and plain.plan(first.plan_id) == first


def test_rows_that_another_plan_names_stay(loop: Loop) -> None:
    first = planned(loop, 2, d1=5)
    second = planned(loop, 2, d2=6)  # the same rows of the first partition
    assert parts(loop) == 3
    assert purge(loop) == {first.plan_id}
    assert parts(loop) == 2 and outcomes(loop.apply(second)) == {"applied": 2}


@pytest.mark.parametrize(
    "where",
    [
        *("purge.recording", "purge.recording@2", "purge.attempt", "purge.attempt@2", "purge.plan", "purge.part"),
        *("remove.rest", "remove.rest@4"),
    ],
)
def test_a_killed_purge_leaves_a_plan_that_is_complete_or_gone(
    loop: Loop, mongo_uri: str, tmp_path: Path, where: str
) -> None:
    first = applied(loop, 2)
    loop.revert(first)
    planned(loop, 2)  # recorded twice
    loop.apply(first)
    second = applied(loop, 3)
    base = str(tmp_path / "storage")
    assert run(Work(mongo_uri, base, tmp_path, first.plan_id, "purge", failpoints=f"{where}=kill"))
    if where.startswith("purge.recording"):
        assert outcomes(loop.preview(first)) == {} and loop.ledger.plan(first.plan_id) == first
    else:
        with pytest.raises(PlanRefused, match="was removed by the purge"):
            loop.ledger.plan(first.plan_id)
    assert loop.ledger.pending() == {}
    assert loop.ledger.last_applies([FIRST])[FIRST][0] == second
    again = applied(loop, 4)
    purge(loop)
    left = [name for name in loop.ledger_files() if first.plan_id in name]
    assert [Path(name).parent.name for name in left] == ["purged"] and parts(loop) == 1
    assert outcomes(loop.revert(again)) == {"applied": 1}


def test_whoever_reads_meanwhile_is_not_in_the_way(loop: Loop) -> None:
    applied(loop, 2)
    second = applied(loop, 3)
    recordings = loop.ledger.recordings()
    assert next(recordings).plan_id == second.plan_id
    assert len(purge(loop)) == 1
    assert list(recordings) == []


def test_an_apply_that_counts_is_no_stopped_one(loop: Loop) -> None:
    first = applied(loop, 2)
    loop.revert(first)
    second = planned(loop, 5)
    loop.ledger.start_attempt(second, [FIRST], batch_size=3, run_id="killed")
    loop.revert(second)  # settles what was stopped
    planned(loop, 6)
    assert purge(loop) == {second.plan_id}
    assert loop.ledger.last_applies([FIRST])[FIRST][0] == first


def test_a_plan_that_is_made_again_is_as_new(loop: Loop, monkeypatch: pytest.MonkeyPatch) -> None:
    first = applied(loop, 2)
    loop.revert(first)
    loop.apply(first)
    applied(loop, 3)
    monkeypatch.setattr("session_assets.failpoints._seen", Counter[str]())
    monkeypatch.setenv("SESSION_ASSETS_FAILPOINTS", "purge.attempt@2=raise")
    with pytest.raises(FailpointRaised):
        purge(loop)
    monkeypatch.delenv("SESSION_ASSETS_FAILPOINTS")
    loop.fill([doc(0, a=1)])
    assert planned(loop, 2) == first and loop.ledger.pending() == {first.plan_id: [FIRST]}
    assert outcomes(loop.apply()) == {"applied": 1}
    numbers = [one.number for one in loop.ledger.attempts(first.plan_id)]
    assert len(numbers) == len(set(numbers))
    assert outcomes(loop.revert(first)) == {"applied": 1}
