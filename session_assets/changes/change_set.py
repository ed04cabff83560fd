"""The change set: one row per document that is wrong, complete enough to apply and to undo.

Documents are opaque bytes in the store's own lossless encoding, so that this package needs no driver. A change set is
content-addressed: the same rows give the same `plan_id`, in whatever order and in however many files they were produced.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import polars as pl

OPS = ("update", "replace", "insert", "delete")

CHANGES = pl.Schema(
    {
        "partition": pl.String,  # where the stored document stood when read
        "key": pl.String,  # the store's primary key, as text that the store can read back
        "op": pl.Enum(OPS),
        "before": pl.Binary,  # the whole document as read; null for an insert
        "after": pl.Binary,  # update: the touched fields as they shall stand; replace, insert: the whole document
        "removed": pl.List(pl.String),  # update: touched fields that shall be missing
        "reasons": pl.List(pl.String),
        "requires": pl.List(pl.String),  # keys whose change must show before this one is written
        "beside": pl.List(
            pl.String
        ),  # insert, or delete that is undone: keys of documents that may stand in the same place
        "identity": pl.Binary,  # what `plan_id` hashes in place of `after`, where that holds values fixed at plan time
    }
)
"""Columns of a change set. `before` and `after` are documents in the store's encoding."""


def empty_changes() -> pl.DataFrame:
    return pl.DataFrame(schema=CHANGES)


def conform(rows: pl.DataFrame) -> pl.DataFrame:
    """The rows with all columns of `CHANGES`, in order; absent ones are null or empty lists, and no list is null."""
    missing = [pl.lit(None, dtype=dtype).alias(name) for name, dtype in CHANGES.items() if name not in rows.columns]
    return rows.with_columns(missing).select(_conformed(name, dtype) for name, dtype in CHANGES.items())


def _conformed(name: str, dtype: pl.DataType) -> pl.Expr:
    column = pl.col(name).cast(dtype)
    return column.fill_null(pl.lit([], dtype=dtype)) if isinstance(dtype, pl.List) else column


class Digest:
    """An order-independent digest of change rows: the sum of the rows' SHA-256 modulo 2^256.

    Order independent, so that a store may return documents in any order, and streaming, so that memory stays flat.
    """

    def __init__(self) -> None:
        self._sum = 0
        self.rows = 0

    def add(self, rows: pl.DataFrame) -> None:
        """Add rows of `CHANGES`."""
        lists = [name for name in ("removed", "requires") if rows[name].list.len().sum()]
        columns = rows.select("partition", "key", "op", "before", "after", "identity", *lists)
        for partition, key, op, before, after, identity, *some in columns.iter_rows():
            named = dict(zip(lists, some, strict=True))
            texts = (partition, key, op, *named.get("removed", ()), "\n", *sorted(named.get("requires", ())))
            values = (*(text.encode() for text in texts), before, identity if identity is not None else after)
            row = b"".join([b"-" if value is None else b"%d:%b" % (len(value), value) for value in values])
            self._sum += int.from_bytes(hashlib.sha256(row).digest())
        self._sum %= 1 << 256
        self.rows += rows.height

    def hex(self) -> str:
        return f"{self._sum:064x}"


@dataclass(frozen=True)
class Part:
    """The rows of one partition, in immutable files.

    `sha256` are the digests of the bytes of each file; none of versions without them. `copy` counts how often the same rows were
    stored again because those before are damaged.
    """

    partition: str
    digest: str
    rows: int
    files: int
    sha256: tuple[str, ...] = ()
    copy: int = 0

    @staticmethod
    def from_dict(stored: dict[str, Any]) -> Part:
        said: dict[str, Any] = {**stored, "sha256": tuple(stored.get("sha256", ()))}
        return Part(**said)


@dataclass(frozen=True)
class Plan:
    """A change set over one or more partitions; `loop` names the collection and the kind of change."""

    loop: str
    plan_id: str
    parts: tuple[Part, ...] = field(default_factory=tuple)

    @property
    def rows(self) -> int:
        return sum(part.rows for part in self.parts)

    def part(self, partition: str) -> Part | None:
        return next((part for part in self.parts if part.partition == partition), None)


def plan_id_of(loop: str, parts: Iterable[Part], target: str | None, mapping: str = "") -> str:
    """The content address of a plan on a target, made under a mapping file. Partitions without a change do not count.

    Plans of version 0.1 have no target.
    """
    total = hashlib.sha256((loop if target is None else f"{loop}\n{target}{mapping and f' {mapping}'}").encode())
    for part in sorted(parts, key=lambda part: part.partition):
        if part.rows:
            copy = f" copy {part.copy}" if part.copy else ""
            total.update(f"\n{part.partition} {part.digest} {part.rows}{copy}".encode())
    return total.hexdigest()[:20]
