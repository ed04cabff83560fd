"""The same plan applied or reverted again: what counts as ours, and what one revert takes back."""

from __future__ import annotations

import bson

from session_assets_tests.changes.scenario import Change, Loop, by_key, doc, outcomes, rows_of

CHANGES = [Change("update", doc(number, a=1), bson.encode({"a": 2})) for number in (1, 2, 3)]
BEFORE = [doc(number, a=1) for number in (1, 2, 3)]
AFTER = [doc(number, a=2) for number in (1, 2, 3)]
FIRST, THIRD = '{"$numberInt":"1"}', '{"$numberInt":"3"}'


def test_rows_of_an_earlier_apply_of_ours_count_as_applied(loop: Loop) -> None:
    loop.fill(BEFORE)
    plan = loop.plan(rows_of(CHANGES))
    loop.apply()
    assert outcomes(loop.apply(plan)) == {"applied": 3}


def test_one_revert_takes_back_what_all_applies_since_the_plan_wrote(loop: Loop) -> None:
    loop.fill([*BEFORE[:2], doc(3, a=9)])
    plan = loop.plan(rows_of(CHANGES))
    assert outcomes(loop.apply()) == {"applied": 2, "conflicted": 1}
    loop.fill([*AFTER[:2], BEFORE[2]])
    assert outcomes(loop.apply(plan)) == {"applied": 3}
    assert loop.preview(plan).undoable == 3
    assert outcomes(loop.revert(plan)) == {"applied": 3}
    assert loop.now() == by_key(BEFORE)
    assert loop.revert(plan).partitions == []


def test_rows_that_others_wrote_after_a_revert_are_not_ours(loop: Loop) -> None:
    loop.fill(BEFORE)
    plan = loop.plan(rows_of(CHANGES))
    loop.apply()
    loop.revert(plan)
    loop.fill([AFTER[0], *BEFORE[1:]])
    assert outcomes(loop.apply(plan)) == {"already_applied": 1, "applied": 2}
    loop.revert(plan)
    assert loop.now() == by_key([AFTER[0], *BEFORE[1:]])


def test_rows_that_others_wrote_since_the_plan_was_made_again_are_not_ours(loop: Loop) -> None:
    loop.fill(BEFORE)
    plan = loop.plan(rows_of(CHANGES))
    loop.apply()
    loop.fill(BEFORE)
    assert loop.plan(rows_of(CHANGES)).plan_id == plan.plan_id
    loop.fill([AFTER[0], *BEFORE[1:]])
    assert outcomes(loop.apply()) == {"already_applied": 1, "applied": 2}


def test_plan_apply_revert_and_plan_again_applies_again(loop: Loop) -> None:
    loop.fill(BEFORE)
    plan = loop.plan(rows_of(CHANGES))
    for _ in range(2):
        assert loop.plan(rows_of(CHANGES)).plan_id == plan.plan_id
        assert outcomes(loop.apply()) == {"applied": 3}
        assert outcomes(loop.revert(plan)) == {"applied": 3}
    assert loop.now() == by_key(BEFORE)


def test_a_revert_that_left_rows_goes_on_with_these_alone(loop: Loop) -> None:
    loop.fill(BEFORE)
    plan = loop.plan(rows_of(CHANGES))
    loop.apply()
    loop.fill([*AFTER[:2], doc(3, a="edited")])
    assert loop.revert(plan).refused == [THIRD]
    loop.fill(AFTER)  # the first two are somebody else's work by now
    assert loop.preview(plan).undoable == 1
    assert outcomes(loop.revert(plan)) == {"applied": 1}
    assert loop.now() == by_key([*AFTER[:2], BEFORE[2]])
    assert loop.revert(plan).partitions == []


def test_a_deleted_document_comes_back_once_its_place_is_free(loop: Loop) -> None:
    loop.options["place"] = ("session_id",)
    gone, newcomer = doc(1, session_id="s"), doc(7, session_id="s")
    loop.fill([gone])
    plan = loop.plan(rows_of([Change("delete", gone)]))
    loop.apply()
    loop.fill([newcomer])
    assert loop.revert(plan).left == {"place_taken": 1}
    loop.fill([])
    assert outcomes(loop.revert(plan)) == {"applied": 1}
    assert loop.now() == by_key([gone])


def test_each_row_that_is_left_has_a_word(loop: Loop) -> None:
    loop.options["place"] = ("session_id",)
    kept, twin = doc(5, session_id="t", n=1), doc(6, session_id="t")
    alone = doc(4, session_id="s")
    fold = Change("update", kept, bson.encode({"n": 2}))
    changes = [*CHANGES, Change("delete", alone), fold, Change("delete", twin, requires=(fold.key,))]
    loop.fill([*BEFORE, alone, kept, twin])
    plan = loop.plan(rows_of(changes))
    loop.apply()
    others = [doc(7, session_id="s"), doc(8, session_id="t")]
    loop.fill([doc(1, a="edited"), AFTER[2], doc(5, session_id="t", n=2), *others])
    words = {"edited": 1, "gone": 1, "place_taken": 2, "blocked": 1}
    assert loop.preview(plan).left == words
    report = loop.revert(plan)
    assert (report.undoable, report.left) == (1, words)
    assert (FIRST, "edited", "") in report.left_rows


def test_a_row_that_the_store_refuses_has_its_reason(loop: Loop) -> None:
    loop.fill(BEFORE)
    plan = loop.plan(rows_of(CHANGES))
    loop.apply()
    loop.collection.database.command("collMod", loop.collection.name, validator={"a": {"$ne": 1}})
    report = loop.revert(plan)
    assert report.left == {"failed": 3}
    assert all(word == "failed" and "validation" in reason for _, word, reason in report.left_rows)


def test_nothing_to_undo_is_said_after_looking(loop: Loop) -> None:
    loop.fill(BEFORE)
    plan = loop.plan(rows_of(CHANGES))
    assert _looked(loop, plan) == ("never_applied", 3, 0, 0, False)
    loop.fill(AFTER)
    assert _looked(loop, plan) == ("never_applied", 0, 3, 0, True)
    assert outcomes(loop.apply()) == {"already_applied": 3}
    assert _looked(loop, plan) == ("nothing_written", 0, 3, 0, False)
    loop.fill(BEFORE)
    loop.plan(rows_of(CHANGES))
    loop.apply()
    loop.revert(plan)
    assert _looked(loop, plan) == ("undone_already", 3, 0, 0, False)
    loop.fill([*AFTER[:2], doc(3)])  # a backup was put back
    assert _looked(loop, plan) == ("undone_already", 0, 2, 1, True)


def _looked(loop: Loop, plan: object) -> tuple[str, int, int, int, bool]:
    previewed, looked = loop.preview(plan).looked, loop.revert(plan).looked  # type: ignore[arg-type]
    assert looked is not None
    assert previewed == looked
    return looked.nothing.value, looked.before, looked.after, looked.other, looked.disagrees
