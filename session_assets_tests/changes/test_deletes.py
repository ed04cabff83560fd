"""Changes that involve several documents: the survivor first, a recount before each delete, and an undo in a free place."""

from __future__ import annotations

from typing import Any

import bson
import polars as pl
import pytest

from session_assets.stores.mongo_recounts import stays_if_found, stays_if_last
from session_assets_tests.changes.scenario import PARTITIONS, Change, Loop, by_key, doc, outcomes, rows_of

SURVIVOR, TWIN, THIRD = doc(1, session_id="s", n=1), doc(2, session_id="s", n=2), doc(3, session_id="s", n=3)


def fold(*twins: bytes) -> list[Change]:
    kept = Change("update", SURVIVOR, bson.encode({"n": 9}))
    return [*(Change("delete", twin, requires=(kept.key,)) for twin in twins), kept]


def test_a_duplicate_is_deleted_after_its_survivor_is_written(loop: Loop) -> None:
    loop.options["place"] = ("session_id",)
    loop.fill([SURVIVOR, TWIN])
    plan = loop.plan(rows_of(fold(TWIN)))
    assert outcomes(loop.apply()) == {"applied": 2}
    assert loop.now() == by_key([doc(1, session_id="s", n=9)])
    assert loop.preview(plan).undoable == 2
    assert outcomes(loop.revert(plan)) == {"applied": 2}
    assert loop.now() == by_key([SURVIVOR, TWIN])


def test_a_duplicate_stays_when_its_survivor_conflicts(loop: Loop) -> None:
    live = doc(1, session_id="s", n=5)
    loop.fill([live, TWIN])
    loop.plan(rows_of(fold(TWIN)))
    report = loop.apply()
    assert outcomes(report) == {"conflicted": 2}
    assert "does not show its change" in report.totals().errors['{"$numberInt":"2"}']
    assert loop.now() == by_key([live, TWIN])


def test_duplicates_of_one_survivor_come_back_beside_each_other(loop: Loop) -> None:
    loop.options["place"] = ("session_id",)
    loop.fill([SURVIVOR, TWIN, THIRD])
    plan = loop.plan(rows_of(fold(TWIN, THIRD)))
    loop.apply()
    assert loop.preview(plan).undoable == 3
    loop.revert(plan)
    assert loop.now() == by_key([SURVIVOR, TWIN, THIRD])


def test_a_duplicate_comes_back_beside_one_that_was_never_deleted(loop: Loop) -> None:
    loop.options["place"] = ("session_id",)
    live = doc(3, session_id="s", n=30)
    loop.fill([SURVIVOR, TWIN, live])
    plan = loop.plan(rows_of(fold(TWIN, THIRD)))
    assert outcomes(loop.apply()) == {"applied": 2, "conflicted": 1}
    loop.revert(plan)
    assert loop.now() == by_key([SURVIVOR, TWIN, live])


def test_a_duplicate_of_an_unchanged_survivor_comes_back_beside_it(loop: Loop) -> None:
    loop.options["place"] = ("session_id",)
    loop.fill([SURVIVOR, TWIN])
    rows = rows_of([Change("delete", TWIN)])
    plan = loop.plan(rows.with_columns(beside=pl.concat_list(pl.lit('{"$numberInt":"1"}'))))
    loop.apply()
    assert outcomes(loop.revert(plan)) == {"applied": 1}
    assert loop.now() == by_key([SURVIVOR, TWIN])


def test_a_deleted_document_does_not_come_back_where_another_took_its_place(loop: Loop) -> None:
    loop.options["place"] = ("session_id",)
    newcomer = doc(7, session_id="s")
    loop.fill([SURVIVOR, TWIN])
    plan = loop.plan(rows_of(fold(TWIN)))
    loop.apply()
    loop.fill([doc(1, session_id="s", n=9), newcomer])
    foreseen = loop.preview(plan)
    report = loop.revert(plan)
    # neither the duplicate nor, since that depends on it, the survivor
    assert set(foreseen.refused) == set(report.refused) == {'{"$numberInt":"1"}', '{"$numberInt":"2"}'}
    assert foreseen.refused_count == report.refused_count == 2
    assert loop.now() == by_key([doc(1, session_id="s", n=9), newcomer])


def test_a_delete_is_undone_whatever_odd_values_the_document_holds(loop: Loop) -> None:
    loop.options["place"] = ("session_id",)
    odd = doc(1, session_id="s", at=bson.DatetimeMS(2**60), inner={"at": bson.DatetimeMS(-(2**60))})
    loop.fill([odd])
    plan = loop.plan(rows_of([Change("delete", odd)]))
    assert outcomes(loop.apply()) == {"applied": 1}
    assert outcomes(loop.revert(plan)) == {"applied": 1}
    assert loop.now() == by_key([odd])


def test_a_document_whose_id_was_taken_is_refused(loop: Loop) -> None:
    loop.fill([TWIN])
    plan = loop.plan(rows_of([Change("delete", TWIN)]))
    loop.apply()
    loop.fill([doc(2, session_id="other")])
    assert loop.preview(plan).refused == ['{"$numberInt":"2"}']
    assert loop.revert(plan).refused == ['{"$numberInt":"2"}']
    assert loop.now() == by_key([doc(2, session_id="other")])


def test_a_unique_index_that_refuses_the_document_is_reported(loop: Loop) -> None:
    loop.fill([TWIN])
    plan = loop.plan(rows_of([Change("delete", TWIN)]))
    loop.apply()
    loop.fill([doc(5, session_id="s")])
    loop.collection.create_index("session_id", unique=True)
    report = loop.revert(plan)
    assert report.refused == ['{"$numberInt":"2"}']
    assert "duplicate key" in report.outcomes.errors['{"$numberInt":"2"}']


def test_a_recount_inside_the_transaction_refuses_a_delete(loop: Loop) -> None:
    events = loop.collection.database["events"]
    loop.options["recount"] = stays_if_found(events, "session_id", "events have arrived")
    odd = doc(1, session_id="a", at=bson.DatetimeMS(2**60))
    loop.fill([odd, doc(2, session_id="b")])
    events.insert_one({"session_id": "a"})
    loop.plan(rows_of([Change("delete", odd), Change("delete", doc(2, session_id="b"))]))
    report = loop.apply()
    assert outcomes(report) == {"applied": 1, "failed": 1}
    assert report.totals().errors == {'{"$numberInt":"1"}': "events have arrived"}
    assert loop.now() == by_key([odd])


def test_of_several_deletes_of_one_session_the_last_is_refused_also_when_they_run_at_once(loop: Loop) -> None:
    loop.options["recount"] = stays_if_last(loop.collection, "session_id", "the only one")
    loop.batch_size = 1
    twins = [doc(number, session_id=f"s{number // 2}") for number in range(60)]
    loop.fill(twins)
    loop.plan(rows_of([Change("delete", twin) for twin in twins]))
    assert outcomes(loop.apply()) == {"applied": 30, "failed": 30}
    assert len(loop.now()) == 30


@pytest.mark.parametrize("lists", [{"requires": None}, {"removed": None, "beside": None, "reasons": None}])
def test_a_row_whose_lists_are_null_is_not_lost(loop: Loop, lists: dict[str, Any]) -> None:
    rows = rows_of([Change("update", doc(1, a=1), bson.encode({"a": 2}), partition=PARTITIONS[1])])
    loop.fill([doc(1, a=1)])
    loop.plan(rows.with_columns(**lists))
    assert outcomes(loop.apply()) == {"applied": 1}


def test_an_undo_that_the_store_refused_can_be_made_again(loop: Loop) -> None:
    loop.options["place"] = ("session_id",)
    loop.fill([SURVIVOR, TWIN, doc(4, n=4)])
    plan = loop.plan(rows_of([*fold(TWIN), Change("update", doc(4, n=4), bson.encode({"n": 5}))]))
    loop.apply()
    loop.collection.create_index("session_id", unique=True, name="session_id_unique")
    refused = loop.revert(plan)
    assert outcomes(refused) == {"applied": 1, "failed": 1, "conflicted": 1}
    assert "E11000" in refused.outcomes.errors['{"$numberInt":"2"}']
    loop.collection.drop_index("session_id_unique")
    assert loop.preview(plan).undoable == 2
    assert outcomes(loop.revert(plan)) == {"applied": 2}
    assert loop.now() == by_key([SURVIVOR, TWIN, doc(4, n=4)])
    assert loop.revert(plan).partitions == []
