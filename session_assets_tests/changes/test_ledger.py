"""Plans and attempts in the ledger: addressed by content, never overwritten, pending until applied."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Any

import bson
import polars as pl
import pytest
from pymongo.collection import Collection

from session_assets.changes.change_set import conform, plan_id_of
from session_assets.changes.parts import PlanWriter
from session_assets.errors import PlanRefused
from session_assets_tests.changes.scenario import PARTITIONS, Change, Loop, doc, outcomes, rows_of

FIRST, SECOND = PARTITIONS


def change(number: int, partition: str = FIRST, value: int = 2) -> Change:
    return Change("update", doc(number, a=1), bson.encode({"a": value}), partition=partition)


@pytest.fixture(params=["folder", "file URL", "memory URL"])
def stored(request: pytest.FixtureRequest, collection: Collection[Any], tmp_path: Path) -> Loop:
    """A loop on each kind of storage."""
    base = {"folder": str(tmp_path / "ledger base"), "file URL": f"file://{tmp_path}/url", "memory URL": None}
    loop = Loop.new(collection, tmp_path, base=base[request.param])
    loop.fill([doc(number, a=1) for number in range(4)])
    return loop


def _but_recordings(loop: Loop) -> set[str]:
    return {name for name in loop.ledger_files() if "recorded" not in name and "announced" not in name}


def test_the_same_rows_are_the_same_plan_in_the_same_files(stored: Loop) -> None:
    rows = rows_of([change(number) for number in range(4)])
    plan = stored.plan(rows)
    files = _but_recordings(stored)
    again = stored.plan(rows.reverse(), parts=2)
    assert again == plan == stored.ledger.plan(plan.plan_id)
    assert _but_recordings(stored) == files
    assert sum(frame.height for part in plan.parts for frame in stored.ledger.rows(part)) == 4
    assert [recording.plan_id for recording in stored.ledger.recordings()] == [plan.plan_id] * 2


def test_the_loop_goes_round_on_any_storage(stored: Loop) -> None:
    before = stored.now()
    plan = stored.plan(rows_of([change(0), change(1, SECOND)]))
    assert outcomes(stored.apply()) == {"applied": 2}
    assert outcomes(stored.revert(plan)) == {"applied": 2}
    assert stored.now() == before


@pytest.mark.parametrize(
    "other",
    [
        {"partition": SECOND},
        {"key": '{"$numberInt":"9"}'},
        {"op": "replace"},
        {"before": b"x"},
        {"before": None},
        {"after": b"x"},
        {"removed": ["a"]},
        {"requires": ["k"]},
    ],
    ids=str,
)
def test_other_rows_are_another_plan(loop: Loop, other: dict[str, Any]) -> None:
    rows = rows_of([change(1)])
    literals = [
        (pl.lit(pl.Series([value])).first() if isinstance(value, list) else pl.lit(value)).alias(name)
        for name, value in other.items()
    ]
    assert loop.plan(rows).plan_id != loop.plan(conform(rows.with_columns(literals))).plan_id


def test_values_fixed_at_plan_time_are_left_out_of_the_plan_id(loop: Loop) -> None:
    rows = rows_of([change(1)]).with_columns(identity=pl.lit(b"same"))
    later = rows.with_columns(after=pl.lit(bson.encode({"a": 2, "at": 5})))
    assert loop.plan(rows).plan_id == loop.plan(later).plan_id


def test_partitions_without_changes_do_not_count_in_the_plan_id(loop: Loop) -> None:
    rows = rows_of([change(1)])
    assert loop.plan(rows, [FIRST]).plan_id == loop.plan(rows, PARTITIONS).plan_id
    assert plan_id_of("web", [], "one") != plan_id_of("web/duplicates", [], "one")
    assert plan_id_of("web", [], "one") != plan_id_of("web", [], "two")


def test_a_plan_is_pending_until_it_is_applied(loop: Loop) -> None:
    loop.fill([doc(1, a=1)])
    plan = loop.plan(rows_of([change(1)]))
    assert loop.ledger.pending() == {
        plan.plan_id: [FIRST]
    }  # nothing changes in the second: nothing is left to do there
    assert loop.ledger.pending([SECOND]) == {}
    assert loop.ledger.pending(["2031-01-01"]) == {}
    loop.apply()
    assert loop.ledger.pending() == {}


def test_a_newer_plan_supersedes_an_older_one_per_partition(loop: Loop) -> None:
    old = loop.plan(rows_of([change(1), change(2, SECOND)]))
    new = loop.plan(rows_of([change(1, value=3)]), [FIRST])
    assert loop.ledger.pending() == {new.plan_id: [FIRST], old.plan_id: [SECOND]}
    loop.plan(rows_of([]))
    assert loop.ledger.pending() == {}


def test_a_reverted_plan_is_pending_again_only_once_it_is_planned_again(loop: Loop) -> None:
    loop.fill([doc(1, a=1)])
    plan = loop.plan(rows_of([change(1)]))
    loop.apply()
    loop.revert(plan)
    assert loop.ledger.pending() == {}
    again = loop.plan(rows_of([change(1)]))
    assert again.plan_id == plan.plan_id
    assert loop.ledger.pending() == {plan.plan_id: [FIRST]}
    assert outcomes(loop.apply()) == {"applied": 1}
    assert outcomes(loop.revert(plan)) == {"applied": 1}
    assert loop.revert(plan).partitions == []


def test_an_unfinished_apply_is_pending_and_an_unfinished_revert_is_not(loop: Loop) -> None:
    plan = loop.plan(rows_of([change(1)]), [FIRST])
    attempt = loop.ledger.start_attempt(plan, [FIRST], batch_size=3, run_id="a")
    assert loop.ledger.pending() == {plan.plan_id: [FIRST]}
    attempt.finish(FIRST, {})
    assert loop.ledger.pending() == {}
    loop.ledger.start_attempt(plan, [FIRST], batch_size=3, run_id="b", undoes={FIRST: attempt.number})
    assert loop.ledger.pending() == {}


def test_attempts_that_start_at_once_on_other_partitions_do_not_overwrite_each_other(
    loop: Loop, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = loop.plan(rows_of([change(1), change(2, SECOND)]))
    with monkeypatch.context() as patch:
        patch.setattr(loop.storage, "names", lambda _folder: [])  # neither sees the other yet
        for partition in PARTITIONS:
            loop.ledger.start_attempt(plan, [partition], batch_size=3, run_id=partition)
    assert {attempt.partitions for attempt in loop.ledger.attempts(plan.plan_id)} == {(FIRST,), (SECOND,)}


def test_an_unknown_plan_is_refused(loop: Loop) -> None:
    for plan_id in ("nope", "../../etc/passwd", "", "a/b"):
        with pytest.raises(PlanRefused, match="session-assets plan web"):
            loop.ledger.plan(plan_id)


def test_files_with_before_images_are_private_and_never_written_twice(
    collection: Collection[Any], tmp_path: Path
) -> None:
    base = tmp_path / "storage"
    loop = Loop.new(collection, tmp_path, base=str(base))
    loop.fill([doc(1, a=1), doc(2, a=1)])
    seen: dict[Path, tuple[int, int]] = {}

    def look() -> None:
        files = {file: file.stat() for file in base.rglob("*") if file.is_file()}
        assert all(stat.S_IMODE(info.st_mode) == 0o600 for info in files.values())
        now = {file: (info.st_ino, info.st_mtime_ns) for file, info in files.items()}
        assert seen.items() <= now.items()
        seen.update(now)

    plan = loop.plan(rows_of([change(1), change(2, SECOND)]))
    look()
    for step in (
        loop.apply,
        lambda: loop.apply(plan),
        lambda: loop.revert(plan),
        lambda: loop.plan(rows_of([change(1)])),
    ):
        step()
        look()
    loop.apply()
    look()
    assert not [file for file in (tmp_path / "scratch").rglob("*") if file.is_file()]


def test_a_partition_that_failed_half_way_is_left_out_of_the_plan(loop: Loop) -> None:
    with loop.storage.scratch() as scratch:
        writer = PlanWriter(scratch)
        writer.add(FIRST, rows_of([change(1)]))
        writer.add(SECOND, rows_of([change(2, SECOND)]))
        writer.drop(FIRST)
        plan = loop.ledger.record(writer, "plan", [SECOND], {})
    assert [part.partition for part in plan.parts] == [SECOND]
