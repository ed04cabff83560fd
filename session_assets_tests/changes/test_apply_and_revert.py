"""What apply and revert promise together, for any change set on a real server."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import bson
from hypothesis import given
from hypothesis import strategies as st
from pymongo import ReadPreference
from pymongo.collection import Collection

from session_assets.stores.mongo import database
from session_assets_tests.changes.scenario import (
    PARTITIONS,
    Change,
    Loop,
    after_all,
    by_key,
    doc,
    outcomes,
    plans,
    rows_of,
    with_field,
)
from session_assets_tests.counts import examples

Plans = tuple[list[bytes], list[Change]]


@examples(20)
@given(plans())
def test_revert_restores_every_byte(collection: Collection[Any], tmp_path: Path, drawn: Plans) -> None:
    whole, changes = drawn
    loop = Loop.new(collection, tmp_path)
    loop.fill(whole)
    before = loop.now()
    plan = loop.plan(rows_of(changes))
    assert loop.now() == before
    assert outcomes(loop.apply(plan)).get("applied", 0) == len(changes) == plan.rows
    assert loop.now() == after_all(before, changes)
    files = loop.ledger_files()
    foreseen = loop.preview(plan)
    assert (foreseen.undoable, foreseen.refused) == (len(changes), [])
    assert loop.now() == after_all(before, changes)
    assert loop.ledger_files() == files
    report = loop.revert(plan)
    assert (report.undoable, report.refused_count) == (len(changes), 0)
    assert loop.now() == before
    assert loop.revert(plan).partitions == []


@examples(8)
@given(plans())
def test_applying_twice_is_applying_once(collection: Collection[Any], tmp_path: Path, drawn: Plans) -> None:
    whole, changes = drawn
    loop = Loop.new(collection, tmp_path)
    loop.fill(whole)
    before = loop.now()
    plan = loop.plan(rows_of(changes))
    loop.apply(plan)
    once = loop.now()
    assert outcomes(loop.apply(plan)).get("applied", 0) == len(changes)  # by us: the first time
    assert loop.now() == once
    loop.revert(plan)
    assert loop.now() == before


@examples(8)
@given(drawn=plans(), seed=st.integers(0, 99), parts=st.integers(1, 3))
def test_the_order_of_rows_changes_nothing(
    collection: Collection[Any], tmp_path: Path, drawn: Plans, seed: int, parts: int
) -> None:
    whole, changes = drawn
    results = []
    for shuffled in (changes, random.Random(seed).sample(changes, len(changes))):
        loop = Loop.new(collection, tmp_path)
        loop.fill(whole)
        plan = loop.plan(rows_of(shuffled), parts=1 if shuffled is changes else parts)
        results.append((plan.plan_id, outcomes(loop.apply(plan)), loop.now()))
    assert results[0] == results[1]


EDITS = ("none", "none", "field", "gone", "already", "refused")


@examples(20)
@given(
    drawn=plans(), edits=st.lists(st.sampled_from(EDITS), min_size=12, max_size=12), later=st.sets(st.integers(0, 11))
)
def test_every_row_ends_in_one_class_and_live_edits_survive(
    collection: Collection[Any], tmp_path: Path, drawn: Plans, edits: list[str], later: set[int]
) -> None:
    whole, changes = drawn
    collection.drop()
    loop = Loop.new(collection, tmp_path)
    loop.fill(whole)
    pairs = [_edited(change, edit) for change, edit in zip(changes, edits, strict=False)]
    changes = [change for change, _ in pairs]
    plan = loop.plan(rows_of(changes))
    live = by_key(whole) | {}
    for change, document in pairs:
        live.pop(change.key, None)
        if document is not None:
            live[change.key] = document
    loop.fill(live.values())
    refusing = {"$nor": [{"refused": {"$exists": True}}]}
    collection.database.command("collMod", collection.name, validator=refusing)

    expected = dict(live)
    classes: dict[str, int] = {}
    applied: list[Change] = []
    for change, document in pairs:
        outcome = _outcome(change, document)
        classes[outcome] = classes.get(outcome, 0) + 1
        if outcome == "applied":
            applied.append(change)
            expected = after_all(expected, [change])
    report = loop.apply(plan)
    assert outcomes(report) == classes
    assert sum(report.planned.values()) == sum(classes.values())
    assert loop.now() == expected

    edited = [change for number, change in enumerate(applied) if number in later]
    for change in edited:  # edited after we wrote: not ours any more
        expected[change.key] = with_field(change.left or change.before or b"", "later", 1)
    loop.fill(expected.values())
    foreseen, files = loop.preview(plan), loop.ledger_files()
    assert loop.now() == expected
    assert loop.ledger_files() == files
    undone = loop.revert(plan)
    assert (foreseen.undoable, foreseen.refused_count, set(foreseen.refused)) == (
        undone.undoable,
        undone.refused_count,
        set(undone.refused),
    )
    assert set(undone.refused) == {change.key for change in edited}
    assert undone.undoable == len(applied) - len(edited)
    for change in applied:
        if change not in edited:
            expected.pop(change.key, None)
            if change.before is not None:
                expected[change.key] = change.before
    assert loop.now() == expected


def _edited(change: Change, edit: str) -> tuple[Change, bytes | None]:
    """The change, and the document that stands there when it is applied."""
    if edit == "field":
        return change, with_field(change.before or change.after or b"", "live", 1)
    if edit == "already":
        return change, change.left
    if edit == "gone":
        return change, None
    if edit == "refused" and change.op in ("replace", "insert"):
        assert change.after is not None
        refused = Change(change.op, change.before, with_field(change.after, "refused", 1), (), change.partition)
        return refused, change.before
    return change, change.before


def _outcome(change: Change, document: bytes | None) -> str:
    if document == change.before:
        return "failed" if change.left is not None and b"\x10refused\0" in change.left else "applied"
    return "already_applied" if document == change.left else "conflicted"


def test_what_was_applied_already_is_left_by_revert(loop: Loop) -> None:
    change = Change("update", doc(1, a=1), doc_fields(a=2))
    other = Change("update", doc(2, a=1), doc_fields(a=2))
    loop.fill([change.left or b"", other.before or b""])
    plan = loop.plan(rows_of([change, other]))
    assert outcomes(loop.apply(plan)) == {"applied": 1, "already_applied": 1}
    loop.revert(plan)
    assert loop.now() == by_key([doc(1, a=2), doc(2, a=1)])


def test_a_plan_without_changes_leaves_nothing_to_apply(loop: Loop) -> None:
    loop.plan(rows_of([]), [PARTITIONS[1]])
    assert loop.ledger.pending() == {}
    assert outcomes(loop.apply()) == {}


def doc_fields(**fields: Any) -> bytes:
    """Touched fields of an update."""
    import bson

    return bson.encode(fields)


def test_a_uri_that_prefers_secondaries_reads_and_writes_the_primary(mongo_uri: str, tmp_path: Path) -> None:
    db = database("WEB_MONGO_URI", "web", {"WEB_MONGO_URI": f"{mongo_uri}&readPreference=secondaryPreferred"})
    assert db.read_preference == ReadPreference.PRIMARY
    loop = Loop.new(db["documents"], tmp_path)
    before = [doc(1, a=1), doc(2, a=1)]
    loop.fill(before)
    plan = loop.plan(rows_of([Change("update", before[0], bson.encode({"a": 2})), Change("delete", before[1])]))
    assert outcomes(loop.apply(plan)) == {"applied": 2}
    loop.revert(plan)
    assert loop.now() == by_key(before)


def test_documents_with_long_ids_are_looked_at_in_queries_that_a_server_takes(loop: Loop) -> None:
    loop.batch_size = 5000
    names = [f"{number}{'y' * 4000}" for number in range(4500)]
    documents = [bson.encode({"_id": name, "n": 1}) for name in names]
    loop.fill(documents)
    plan = loop.plan(rows_of([Change("update", document, bson.encode({"n": 2})) for document in documents]))
    assert outcomes(loop.apply()) == {"applied": len(names)}
    assert outcomes(loop.revert(plan)) == {"applied": len(names)}
    assert loop.now() == by_key(documents)
