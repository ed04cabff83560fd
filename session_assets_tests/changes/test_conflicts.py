"""A live writer between any two steps: its write survives, exactly compared, and the row is reported as conflicted."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import bson
import pytest
from bson import Decimal128, Int64

from session_assets.changes.session import ApplyReport
from session_assets.stores import mongo_changes
from session_assets.stores.mongo_snapshot import NoTransactions
from session_assets_tests.changes.scenario import Change, Loop, by_key, doc, outcomes, rows_of

ALIKE = [
    ({"a": None}, {}),
    ({}, {"a": None}),
    ({"a": None}, {"a": []}),
    ({"a": []}, {"a": [[]]}),
    ({"a": [[]]}, {"a": []}),
    ({"a": []}, {"a": None}),
    ({"a": 1, "b": 2}, {"b": 2, "a": 1}),
    ({"a": {"x": 1, "y": 2}}, {"a": {"y": 2, "x": 1}}),
    ({"a": 1}, {"a": 1.0}),
    ({"a": 1.0}, {"a": 1}),
    ({"a": 1}, {"a": Int64(1)}),
    ({"a": Int64(1)}, {"a": 1.0}),
    ({"a": 1.0}, {"a": Decimal128("1")}),
    ({"a": Decimal128("1.0")}, {"a": Decimal128("1.00")}),
    ({"a": 0.0}, {"a": -0.0}),
    ({"a": ""}, {"a": None}),
    ({"a": "x"}, {"a": ["x"]}),
]
"""What a plan read, and what stands there now: equal for a careless guard."""


@pytest.fixture(params=["in transactions", "by guards"], autouse=True)
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Servers without transactions get guards: each test takes both ways."""
    if request.param == "by guards":

        def none(*_: object) -> None:
            raise NoTransactions

        monkeypatch.setattr(mongo_changes, "write_together", none)
    return request.param


@pytest.mark.parametrize("op", ["update", "replace", "delete"])
@pytest.mark.parametrize(("planned", "live"), ALIKE, ids=str)
def test_a_document_that_only_looks_alike_is_a_conflict(
    loop: Loop, op: str, planned: dict[str, Any], live: dict[str, Any]
) -> None:
    loop.fill([doc(1, **live)])
    loop.plan(rows_of([_change(op, planned)]))
    assert outcomes(loop.apply()) == {"conflicted": 1}
    assert loop.now() == by_key([doc(1, **live)])


BETWEEN = [pair for pair in ALIKE if pair not in ALIKE[11:12] + ALIKE[13:15]]
"""Those that the guard of a write tells apart too; values of one size that servers call equal it cannot."""


@pytest.mark.parametrize("op", ["update", "replace", "delete"])
@pytest.mark.parametrize(("planned", "live"), BETWEEN, ids=str)
def test_an_edit_between_look_and_write_is_a_conflict(
    loop: Loop,
    monkeypatch: pytest.MonkeyPatch,
    op: str,
    planned: dict[str, Any],
    live: dict[str, Any],
) -> None:
    loop.fill([doc(1, **planned), doc(2, a=5)])
    loop.plan(rows_of([_change(op, planned), Change("update", doc(2, a=5), bson.encode({"a": 6}))]))
    report = _applied_beside(loop, monkeypatch, "apply.after_intent", lambda: loop.fill([doc(1, **live), doc(2, a=5)]))
    assert outcomes(report) == {"conflicted": 1, "applied": 1}
    assert report.totals().conflicts == ['{"$numberInt":"1"}']
    assert loop.now() == by_key([doc(1, **live), doc(2, a=6)])


def test_a_document_deleted_between_look_and_write_is_a_conflict(loop: Loop, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = rows_of([_change(op, {}, number) for number, op in enumerate(["update", "replace", "delete"])])
    loop.fill([doc(number) for number in range(3)])
    loop.plan(rows)
    report = _applied_beside(loop, monkeypatch, "apply.after_intent", lambda: loop.fill([]))
    assert outcomes(report) == {"conflicted": 3}
    assert loop.now() == {}


def test_an_insert_whose_id_was_taken_since_fails_with_a_reason(loop: Loop, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = loop.plan(rows_of([Change("insert", None, doc(1, a=1))]))
    report = _applied_beside(loop, monkeypatch, "apply.after_intent", lambda: loop.fill([doc(1, a=2)]))
    assert outcomes(report) == {"failed": 1}
    assert "duplicate key" in report.totals().errors['{"$numberInt":"1"}']
    assert loop.now() == by_key([doc(1, a=2)])
    assert loop.revert(plan).partitions == []


def test_an_edit_between_plan_and_look_is_healed_by_the_next_plan(loop: Loop) -> None:
    loop.plan(rows_of([_change("update", {"a": 1})]))
    loop.fill([doc(1, a=7)])
    assert outcomes(loop.apply()) == {"conflicted": 1}
    loop.plan(rows_of([_change("update", {"a": 7})]))
    assert outcomes(loop.apply()) == {"applied": 1}


def test_revert_leaves_a_document_that_only_looks_as_it_was_left(loop: Loop) -> None:
    loop.fill([doc(1, a=1)])
    plan = loop.plan(rows_of([Change("update", doc(1, a=1), bson.encode({"a": 2}))]))
    loop.apply()
    loop.fill([doc(1, a=2.0)])
    assert loop.preview(plan).refused == ['{"$numberInt":"1"}']
    report = loop.revert(plan)
    assert (report.undoable, report.refused) == (0, ['{"$numberInt":"1"}'])
    assert loop.now() == by_key([doc(1, a=2.0)])


@pytest.mark.parametrize("live", [{"a": 7}, {"a": 1.0}, None], ids=str)
def test_an_edit_inside_the_transaction_is_a_conflict(
    loop: Loop, monkeypatch: pytest.MonkeyPatch, way: str, live: dict[str, Any] | None
) -> None:
    if way == "by guards":
        pytest.skip("nothing lies between the guard and its write")
    loop.fill([doc(1, a=1), doc(2, a=5)])
    loop.plan(rows_of([_change("update", {"a": 1}), Change("update", doc(2, a=5), bson.encode({"a": 6}))]))
    left = [] if live is None else [doc(1, **live)]
    edit = loop.collection.delete_one if live is None else lambda one: loop.collection.replace_one(one, live)
    report = _applied_beside(loop, monkeypatch, "mongo.after_snapshot", lambda: edit({"_id": 1}))
    assert outcomes(report) == {"conflicted": 1, "applied": 1}
    assert loop.now() == by_key([*left, doc(2, a=6)])


BIG = "x" * (9 << 20)


def test_one_oversize_document_fails_and_the_others_finish(loop: Loop) -> None:
    rows = [
        Change("update", doc(1, a=BIG), bson.encode({"b": BIG})),
        Change("update", doc(2, a=1), bson.encode({"a": 2})),
    ]
    loop.fill([change.before or b"" for change in rows])
    plan = loop.plan(rows_of(rows))
    report = loop.apply()
    assert outcomes(report) == {"failed": 1, "applied": 1}
    assert "too large" in report.totals().errors['{"$numberInt":"1"}']
    loop.revert(plan)
    assert loop.now() == by_key(change.before or b"" for change in rows)


def test_a_large_document_is_changed_beside_one_that_is_refused(loop: Loop, way: str) -> None:
    if way == "by guards":
        pytest.skip("before and after do not fit into one statement")
    loop.collection.create_index("mail", unique=True, sparse=True)
    large, refused = doc(1, a=BIG), doc(2, a=1)
    loop.fill([large, refused, doc(3, mail="m")])
    loop.plan(rows_of([Change("replace", large, doc(1, b=BIG)), Change("update", refused, bson.encode({"mail": "m"}))]))
    assert outcomes(loop.apply()) == {"failed": 1, "applied": 1}
    assert loop.now() == by_key([doc(1, b=BIG), refused, doc(3, mail="m")])


def test_a_delete_of_a_document_of_full_size_works(loop: Loop) -> None:
    big = doc(1, a="x" * ((16 << 20) - 100))
    loop.fill([big])
    plan = loop.plan(rows_of([Change("delete", big)]))
    assert outcomes(loop.apply()) == {"applied": 1}
    loop.revert(plan)
    assert loop.now() == by_key([big])


def test_masked_reasons_of_refused_documents_are_reported(loop: Loop) -> None:
    loop.collection.create_index("mail", unique=True)
    rows = [Change("update", doc(1, mail="a"), bson.encode({"mail": "mary@example.com"}))]
    loop.fill([doc(1, mail="a"), doc(2, mail="mary@example.com")])
    loop.plan(rows_of(rows))
    report = loop.apply()
    assert outcomes(report) == {"failed": 1}
    assert "m***@example.com" in report.totals().errors['{"$numberInt":"1"}']


def _change(op: str, planned: dict[str, Any], number: int = 1) -> Change:
    after = {"update": bson.encode({"a": "new"}), "replace": doc(number, a="new"), "delete": None}[op]
    return Change(op, doc(number, **planned), after)


def _applied_beside(
    loop: Loop, monkeypatch: pytest.MonkeyPatch, failpoint: str, edit: Callable[[], object]
) -> ApplyReport:
    """Apply; `edit` while the apply waits at the failpoint."""
    marker: Path = loop.scratch / "paused"
    monkeypatch.setenv("SESSION_ASSETS_FAILPOINTS", f"{failpoint}=pause:{marker}")
    reports: list[ApplyReport] = []
    worker = threading.Thread(target=lambda: reports.append(loop.apply()))
    worker.start()
    while not marker.exists() and worker.is_alive():
        threading.Event().wait(0.005)
    monkeypatch.delenv("SESSION_ASSETS_FAILPOINTS")
    edit()
    marker.unlink()
    worker.join()
    return reports[0]


@pytest.mark.parametrize("op", ["update", "replace", "delete"])
def test_a_collection_that_ignores_case_is_guarded_exactly(
    loop: Loop, monkeypatch: pytest.MonkeyPatch, op: str
) -> None:
    loop.collection.drop()
    loop.collection.database.create_collection(loop.collection.name, collation={"locale": "en", "strength": 1})
    loop.fill([doc(1, a="é")])
    loop.plan(rows_of([_change(op, {"a": "é"})]))
    report = _applied_beside(loop, monkeypatch, "apply.after_intent", lambda: loop.fill([doc(1, a="É")]))
    assert outcomes(report) == {"conflicted": 1}
    assert loop.now() == by_key([doc(1, a="É")])


def test_an_update_too_large_to_send_fails_alone(loop: Loop) -> None:
    large = Change("update", doc(1, a=1), bson.encode({"pages": ["x" * (1 << 20)] * 17}))
    others = [Change("update", doc(number, a=1), bson.encode({"a": 2})) for number in (2, 3)]
    loop.fill([doc(number, a=1) for number in (1, 2, 3)])
    loop.plan(rows_of([large, *others]))
    report = loop.apply()
    assert outcomes(report) == {"failed": 1, "applied": 2}
    assert list(report.totals().errors) == ['{"$numberInt":"1"}']
    assert "too large" in report.totals().errors['{"$numberInt":"1"}']
    assert loop.now() == by_key([doc(1, a=1), doc(2, a=2), doc(3, a=2)])


RULES = {
    "bsonType": "object",
    "required": ["owner"],
    "properties": {"event_count": {"maximum": 5}, "owner": {"bsonType": "string"}, "inner": {"required": ["x"]}},
}


@pytest.mark.parametrize(
    ("validator", "fields", "says"),
    [
        ({"$jsonSchema": RULES}, {"event_count": 77, "owner": "mary"}, 'event_count must meet "maximum": 5'),
        ({"$jsonSchema": RULES}, {"owner": 4711}, 'owner must meet "bsonType": "string"'),
        ({"$jsonSchema": RULES}, {"a": 4711}, "the document must meet missingProperties owner"),
        ({"$jsonSchema": RULES}, {"owner": "m", "inner": {"y": 1}}, "inner must meet missingProperties x"),
        ({"$nor": [{"owner": "mary"}]}, {"owner": "mary"}, '"owner": "mary"'),
        ({"owner": {"$ne": 4711}}, {"owner": 4711}, '"owner": {"$ne": 4711}'),
        ({"$expr": {"$lt": ["$event_count", 5]}}, {"event_count": 77}, '"$lt": ["$event_count", 5]'),
    ],
    ids=str,
)
@pytest.mark.parametrize("op", ["replace", "insert"])
def test_the_rule_of_a_validator_is_named_without_values(
    loop: Loop, op: str, validator: dict[str, Any], fields: dict[str, Any], says: str
) -> None:
    before = [] if op == "insert" else [doc(1)]
    loop.collection.drop()
    loop.collection.database.create_collection(loop.collection.name)
    loop.fill(before)
    loop.collection.database.command("collMod", loop.collection.name, validator=validator)
    loop.plan(rows_of([Change(op, before[0] if before else None, doc(1, **fields))]))
    report = loop.apply()
    assert outcomes(report) == {"failed": 1}
    (reason,) = report.totals().errors.values()
    assert says in reason, reason
    assert "77" not in reason
