"""kill -9 anywhere in apply or revert: running again ends where an uninterrupted run ends, and revert restores all."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import bson
import pytest
from pymongo import MongoClient
from pymongo.collection import Collection
from pymongo.errors import OperationFailure

from session_assets.changes.change_set import Plan
from session_assets_tests.changes.killed import Work, run
from session_assets_tests.changes.scenario import PARTITIONS, Change, Loop, after_all, by_key, doc, outcomes, rows_of
from session_assets_tests.counts import times

POINTS = ["after_look", "after_intent", "after_write", "after_outcome", "before_finish"]
PLACES = [f"apply.{point}{nth}=kill" for point in POINTS for nth in ("", "@2")]
IN_THE_MIDDLE = [
    "half@1",
    "half@2",
    "mongo.after_snapshot=kill",
    "mongo.before_commit@2=kill",
    "mongo.before_delete=kill",
]
ROWS = 24


def scenario() -> tuple[list[bytes], list[Change]]:
    """Two partitions; rows of every kind, and duplicates that are deleted after their survivor is written."""
    whole, changes = [], []
    for number in range(ROWS):
        before, partition = doc(number, a=number, pages=[]), PARTITIONS[number % 2]
        whole.append(before)
        match number % 4:
            case 0 | 1:
                after = bson.encode({"pages": [str(number)], "z": 1, "b": None})
                changes.append(Change("update", before, after, ("a",), partition))
            case 2:
                changes.append(Change("replace", before, doc(number, new=number), (), partition))
            case _:
                twin = doc(1000 + number, a=number)
                whole.append(twin)
                changes.append(Change("update", before, bson.encode({"a": -1}), (), partition))
                changes.append(Change("delete", twin, None, (), partition, (changes[-1].key,)))
    changes.append(Change("insert", None, doc(2000, born=1), (), PARTITIONS[0]))
    return whole, changes


class Setting:
    """A planned scenario with a ledger on disk."""

    def __init__(self, collection: Collection[Any], uri: str, folder: Path) -> None:
        self.loop = Loop.new(collection, folder, base=str(folder / "storage"))
        self.whole, self.changes = scenario()
        self.loop.fill(self.whole)
        self.before = by_key(self.whole)
        self.after = after_all(self.before, self.changes)
        self.plan: Plan = self.loop.plan(rows_of(self.changes))
        self.work = {"uri": uri, "base": str(folder / "storage"), "folder": folder, "plan_id": self.plan.plan_id}

    def run(self, action: str, place: str, workers: int = 2) -> bool:
        half = int(place[-1]) if place.startswith("half") else 0
        failpoints = "" if half else place
        return run(Work(**self.work, action=action, workers=workers, failpoints=failpoints, half_write=half))

    def attempts(self) -> int:
        return len(self.loop.ledger.attempts(self.plan.plan_id))

    def finish_apply(self) -> None:
        """Run again; the end state and the account are those of one run."""
        assert self.loop.ledger.pending()
        report = self.loop.apply()
        assert self.loop.now() == self.after
        recounted: dict[str, int] = {}
        (attempt,) = self.loop.ledger.attempts(self.plan.plan_id)
        for partition in PARTITIONS:
            for name, count in attempt.summary(partition)["outcomes"].items():
                recounted[name] = recounted.get(name, 0) + count
        assert recounted == {"applied": len(self.changes), "already_applied": 0, "conflicted": 0, "failed": 0}
        assert outcomes(report).keys() == {"applied"}
        assert self.loop.ledger.pending() == {}

    def finish_revert(self) -> None:
        report = self.loop.revert(self.plan)
        assert report.refused == []
        assert self.loop.now() == self.before
        assert self.loop.revert(self.plan).partitions == []


@pytest.fixture(autouse=True)
def _short_transactions(mongo_server: str) -> Iterator[None]:
    """A transaction of a killed process holds its documents until the server gives it up: after 60 s, here sooner."""
    with MongoClient[dict[str, Any]](mongo_server) as client:
        usual = _limit_transactions(client, 4)
        yield
        if usual is not None:
            _limit_transactions(client, usual)


def _limit_transactions(client: MongoClient[dict[str, Any]], seconds: int) -> int | None:
    """The limit so far, in seconds; None where a tester's own server does not let us set it."""
    with suppress(OperationFailure):
        usual = client.admin.command("getParameter", 1, transactionLifetimeLimitSeconds=1)
        client.admin.command("setParameter", 1, transactionLifetimeLimitSeconds=seconds)
        return usual["transactionLifetimeLimitSeconds"]
    return None


@pytest.fixture
def setting(collection: Collection[Any], mongo_uri: str, tmp_path: Path) -> Setting:
    return Setting(collection, mongo_uri, tmp_path)


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("place", [*PLACES, *IN_THE_MIDDLE])
def test_a_killed_apply_is_finished_by_running_again(setting: Setting, place: str, workers: int) -> None:
    assert setting.run("apply", place, workers)
    assert setting.attempts() == 1
    setting.finish_apply()
    setting.finish_revert()


@pytest.mark.parametrize("place", [*PLACES, *IN_THE_MIDDLE])
def test_a_killed_revert_is_finished_by_running_again(setting: Setting, place: str) -> None:
    setting.loop.apply()
    assert setting.run("revert", place)
    assert setting.loop.ledger.pending() == {}
    setting.finish_revert()


@pytest.mark.parametrize("place", [*PLACES, *IN_THE_MIDDLE])
def test_a_killed_apply_can_be_reverted_at_once(setting: Setting, place: str) -> None:
    assert setting.run("apply", place)
    foreseen, files = setting.loop.preview(setting.plan), setting.loop.ledger_files()
    assert setting.loop.ledger_files() == files
    written = setting.loop.now() != setting.before
    assert bool(foreseen.undoable) == written
    report = setting.loop.revert(setting.plan)
    assert (report.undoable, report.refused) == (foreseen.undoable, [])
    assert setting.loop.now() == setting.before
    assert setting.loop.ledger.pending() == {}
    setting.loop.plan(rows_of(setting.changes))
    assert outcomes(setting.loop.apply()) == {"applied": len(setting.changes)}
    assert setting.loop.now() == setting.after
    setting.finish_revert()


def test_a_second_kill_changes_nothing(setting: Setting) -> None:
    for place in ("half@1", "apply.after_intent=kill", "half@2", "apply.after_write=kill"):
        assert setting.run("apply", place)
    setting.finish_apply()
    for place in ("half@1", "apply.after_intent=kill", "half@1", "apply.after_write=kill"):
        assert setting.run("revert", place)
    setting.finish_revert()


def test_kills_at_any_moment_lose_nothing(setting: Setting) -> None:
    started = time.monotonic()
    assert not setting.run("apply", "")
    whole = time.monotonic() - started
    setting.finish_revert()
    chance = random.Random(7)
    for _ in range(times(3, 20)):
        setting.loop.plan(rows_of(setting.changes))
        for _ in range(3):
            run(Work(**setting.work, action="apply"), kill_after=chance.uniform(0, whole))
        setting.loop.apply()
        assert setting.loop.now() == setting.after
        for _ in range(2):
            run(Work(**setting.work, action="revert"), kill_after=chance.uniform(0, whole))
        setting.loop.revert(setting.plan)
        assert setting.loop.now() == setting.before
