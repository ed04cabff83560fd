"""A write whose answer is lost: looked at, written again where nothing came of it, and never counted as a conflict."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import bson
import polars as pl
import pytest
from pymongo.collection import Collection

from session_assets.changes.apply import UNSENT
from session_assets.changes.store import Written
from session_assets.stores.mongo_changes import MongoStore
from session_assets_tests.changes.scenario import Change, Loop, after_all, by_key, doc, outcomes, rows_of

CHANGES = [
    Change("update", doc(1, a=1), bson.encode({"a": 2})),
    Change("replace", doc(2), doc(2, b=1)),
    Change("delete", doc(3)),
    Change("insert", None, doc(4)),
]
BEFORE = [change.before for change in CHANGES if change.before is not None]


class Lossy(MongoStore):
    """Answers of writes are lost: `before` the server heard of them, `half` way, or `after` it did them."""

    def __init__(self, collection: Collection[Any], losses: Iterable[str]) -> None:
        super().__init__(collection, "WEB_MONGO_URI")
        self.losses = list(losses)

    def write(self, changes: pl.DataFrame) -> Written:
        loss = self.losses.pop(0) if self.losses else "none"
        if loss == "none":
            return super().write(changes)
        if loss != "before":
            super().write(changes if loss == "after" else changes.head(changes.height // 2))
        return Written(unknown=set(range(changes.height)))


class LossyLoop(Loop):
    losses: tuple[str, ...] = ()

    @property
    def store(self) -> Lossy:
        return Lossy(self.collection, self.losses)


@pytest.mark.parametrize("losses", [("before",), ("half",), ("after",), ("half", "half")], ids=str)
def test_a_lost_answer_costs_nothing(collection: Collection[Any], tmp_path: Path, losses: tuple[str, ...]) -> None:
    loop = LossyLoop.new(collection, tmp_path, batch_size=9)
    loop.losses = losses
    loop.fill(BEFORE)
    plan = loop.plan(rows_of(CHANGES))
    assert outcomes(loop.apply()) == {"applied": 4}
    assert loop.now() == after_all(by_key(BEFORE), CHANGES)
    assert outcomes(loop.revert(plan)) == {"applied": 4}
    assert loop.now() == by_key(BEFORE)


def test_writes_that_are_lost_each_time_fail_with_a_reason(collection: Collection[Any], tmp_path: Path) -> None:
    loop = LossyLoop.new(collection, tmp_path, batch_size=9)
    loop.losses = ("before",) * 9
    loop.fill(BEFORE)
    loop.plan(rows_of(CHANGES))
    report = loop.apply()
    assert outcomes(report) == {"failed": 4}
    assert set(report.totals().errors.values()) == {UNSENT}
    assert loop.now() == by_key(BEFORE)
