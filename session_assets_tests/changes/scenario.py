"""A collection, a random plan for it, and the loop that applies and undoes it, for all tests of the loop."""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import bson
import polars as pl
from hypothesis import strategies as st
from pymongo.collection import Collection

from session_assets.changes.change_set import Plan, conform
from session_assets.changes.ledger import Ledger
from session_assets.changes.parts import PlanWriter
from session_assets.changes.revert import RevertReport, preview, revert
from session_assets.changes.session import ApplyReport, apply_plans
from session_assets.changes.store import Store
from session_assets.changes.target import Known
from session_assets.storage import Storage
from session_assets.stores.bson_documents import elements, from_elements, key_of, patched
from session_assets.stores.mongo_changes import MongoStore
from session_assets_tests.stores.scenario import NAMES, VALUES, documents, fields_of, insert, stored

PARTITIONS = ("2025-01-01", "2025-01-02")


@dataclass
class Loop:
    """A ledger and a collection."""

    collection: Collection[Any]
    ledger: Ledger
    storage: Storage
    scratch: Path
    batch_size: int = 3
    options: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def new(cls, collection: Collection[Any], folder: Path, *, base: str | None = None, batch_size: int = 3) -> Self:
        """A loop with a ledger of its own: in memory, where `base` names no other place."""
        storage = Storage(base or f"memory://{secrets.token_hex(8)}", folder / "scratch")
        return cls(collection, Ledger(storage, "web", Known.named("test")), storage, folder, batch_size)

    @property
    def store(self) -> Store:
        return MongoStore(self.collection, "WEB_MONGO_URI", **self.options)

    def fill(self, whole: Iterable[bytes]) -> None:
        """Let the collection hold these documents and no other."""
        self.collection.delete_many({})
        insert(self.collection, whole)

    def now(self) -> dict[str, bytes]:
        """The collection as it stands, byte for byte."""
        return stored(self.collection)

    def plan(self, rows: pl.DataFrame, visited: Iterable[str] = PARTITIONS, *, parts: int = 1) -> Plan:
        """Plan rows, handed over in `parts` pieces."""
        with self.storage.scratch() as scratch:
            writer = PlanWriter(scratch)
            for number in range(parts):
                piece = rows.gather_every(parts, number)
                for (partition,), frame in piece.partition_by("partition", as_dict=True, maintain_order=True).items():
                    writer.add(str(partition), frame)
            return self.ledger.record(writer, "plan", visited, {})

    def apply(self, plan: Plan | None = None) -> ApplyReport:
        """Apply what is pending, or all of a plan."""
        todo = {plan.plan_id: [part.partition for part in plan.parts]} if plan else self.ledger.pending()
        report = apply_plans(self.ledger, todo, self.store, run_id="apply", batch_size=self.batch_size)
        assert report.failed == {}
        return report

    def preview(self, plan: Plan) -> RevertReport:
        return preview(self.ledger, plan, self.store)

    def revert(self, plan: Plan) -> RevertReport:
        return revert(self.ledger, plan, self.store, run_id="revert", batch_size=self.batch_size)

    def ledger_files(self) -> set[str]:
        """All files of the ledger."""
        return {str(file) for file in self.storage.path("ledger").rglob("*")}


def outcomes(report: ApplyReport | RevertReport) -> dict[str, int]:
    """The outcomes that occurred."""
    totals = report.totals() if isinstance(report, ApplyReport) else report.outcomes
    return {name: count for name, count in totals.as_dict().items() if count}


@dataclass(frozen=True)
class Change:
    """One planned change."""

    op: str
    before: bytes | None
    after: bytes | None = None
    removed: tuple[str, ...] = ()
    partition: str = PARTITIONS[0]
    requires: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        return key_of(self.before or self.after or b"")

    @property
    def left(self) -> bytes | None:
        """The document that the change leaves."""
        if self.op == "update":
            assert self.before is not None
            assert self.after is not None
            return patched(self.before, self.after, self.removed)
        return self.after


def rows_of(changes: Iterable[Change]) -> pl.DataFrame:
    """Rows of a change set."""
    names = ("partition", "key", "op", "before", "after", "removed", "requires")
    rows = [
        (one.partition, one.key, one.op, one.before, one.after, list(one.removed), list(one.requires))
        for one in changes
    ]
    return conform(
        pl.DataFrame(
            rows,
            schema={
                **dict.fromkeys(names[:3], pl.String),
                **dict.fromkeys(names[3:5], pl.Binary),
                **dict.fromkeys(names[5:], pl.List(pl.String)),
            },
            orient="row",
        )
    )


def after_all(before: dict[str, bytes], changes: Iterable[Change]) -> dict[str, bytes]:
    """The collection after all changes."""
    result = dict(before)
    for one in changes:
        result.pop(one.key, None)
        if one.left is not None:
            result[one.key] = one.left
    return result


def by_key(whole: Iterable[bytes]) -> dict[str, bytes]:
    return {key_of(document): document for document in whole}


def doc(number: int, **fields: Any) -> bytes:
    """A document of plain values."""
    return bson.encode({"_id": number, **fields})


def with_field(document: bytes, name: str, value: object) -> bytes:
    """A document with one more field at its end."""
    return from_elements([*elements(document).values(), bson.encode({name: value})[4:-1]])


@st.composite
def changes(draw: st.DrawFn, document: bytes) -> Change:
    """A change to a document."""
    op = draw(st.sampled_from(["update", "update", "replace", "delete"]))
    partition = draw(st.sampled_from(PARTITIONS))
    if op == "delete":
        return Change(op, document, partition=partition)
    identity = elements(document)["_id"]
    if op == "replace":
        body = [part for name, part in elements(draw(documents(0))).items() if name != "_id"]
        return Change(op, document, from_elements([identity, *body]), partition=partition)
    present = [name for name in elements(document) if name not in ("_id", "") and "." not in name]
    old = st.sampled_from(present) if present else st.nothing()
    names = draw(st.lists(st.one_of(old, NAMES), unique=True, min_size=1, max_size=4))
    kept = draw(st.integers(0, len(names)))
    after = fields_of((name, draw(VALUES)) for name in names[:kept])
    return Change(op, document, after, tuple(names[kept:]), partition)


@st.composite
def plans(draw: st.DrawFn, most: int = 8) -> tuple[list[bytes], list[Change]]:
    """Documents of a collection and changes to some of them."""
    count = draw(st.integers(1, most))
    whole = [draw(documents(number)) for number in range(count)]
    chosen = [draw(changes(document)) for document in whole if draw(st.integers(0, 3))]
    born = [
        Change("insert", None, draw(documents(100 + number)), partition=draw(st.sampled_from(PARTITIONS)))
        for number in range(draw(st.integers(0, 2)))
    ]
    return whole, [one for one in [*chosen, *born] if one.left != one.before]
