"""Where the fields of many BSON documents stand in one wire batch, found for all documents at a time.

A batch mostly holds documents of few shapes (the same names in the same order). So the names of the first document are
looked for in all of them, element by element, with NumPy; those that differ go into the next round, and the few that are
left are walked one by one. Nothing is decoded here, and nothing is guessed: an element counts only where its type and its
whole name are at its place. Layout: https://bsonspec.org/spec.html (version 1.1). Why: docs/decisions/0008.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Sequence
from copy import copy
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import as_strided

from session_assets.stores.bson_documents import named_elements

Integers = npt.NDArray[np.int64]
Bytes = npt.NDArray[np.uint8]

_PAD = 128  # windows of 8 bytes, and names, may reach past the last document
_LONGEST_NAME = 100
_SHAPES, _FEW = 48, 24  # rounds, and how few documents are rather walked one by one
_INT = struct.Struct("<i")
_BAD = -1
_SIZE = np.full(256, _BAD, np.int64)  # of a value; for those that begin with their length: what is added to it
for _kind, _bytes in {1: 8, 6: 0, 7: 12, 8: 1, 9: 8, 10: 0, 16: 4, 17: 8, 18: 8, 19: 16, 127: 0, 255: 0}.items():
    _SIZE[_kind] = _bytes
_HAS_LENGTH = np.zeros(256, bool)
for _kind, _bytes in {2: 4, 3: 0, 4: 0, 5: 5, 12: 16, 13: 4, 14: 4, 15: 0}.items():
    _SIZE[_kind] = _bytes
    _HAS_LENGTH[_kind] = True


class Batch:
    """The bytes of some documents, and where each begins. `u8`, `i32`, `u32`, `u64`, `i64`, `f64` read at any byte."""

    def __init__(self, data: bytes) -> None:
        self.data = data + bytes(_PAD)
        self.starts = np.array(list(_starts(data)), np.int64)
        self.u8: Bytes = np.frombuffer(self.data, np.uint8)
        self.i32, self.u32 = self._window("<i4"), self._window("<u4")
        self.i64, self.u64, self.f64 = self._window("<i8"), self._window("<u8"), self._window("<f8")
        self.sizes: Integers = self.i32[self.starts].astype(np.int64)

    def __len__(self) -> int:
        return len(self.starts)

    def inside(self, starts: Integers) -> Batch:
        """Documents that are embedded at some places, as a batch over the same bytes."""
        batch = copy(self)
        batch.starts, batch.sizes = starts, self.i32[starts].astype(np.int64)
        return batch

    def document(self, row: int) -> bytes:
        """The bytes of one document."""
        return self.at(int(self.starts[row]))

    def at(self, place: int) -> bytes:
        """The bytes of the document or array that begins at a place."""
        return self.data[place : place + int(self.i32[place])]

    def stands(self, text: bytes, at: Integers) -> npt.NDArray[np.bool_]:
        """Whether some bytes stand at each of the places."""
        result = np.ones(len(at), bool)
        for offset in range(0, len(text), 8):
            part = text[offset : offset + 8]
            found = self.u64[at + offset]
            if len(part) < 8:
                found = found & np.uint64((1 << 8 * len(part)) - 1)
            result &= found == np.uint64(int.from_bytes(part, "little"))
        return result

    def elements(self, at: Integers, name: bytes) -> npt.NDArray[np.void]:
        """What stands at some places, as an element of a name (with its zero): `kind`, `name`, and `size`, the first four bytes
        of its value. One gather, since those of bytes that are not aligned cost the same for any number."""
        record = np.dtype([("kind", "u1"), ("name", f"V{len(name)}"), ("size", "<i4")])
        return np.ndarray((len(self.data) - record.itemsize + 1,), record, self.data, strides=(1,))[at]

    def _window(self, kind: str) -> npt.NDArray[Any]:
        size = np.dtype(kind).itemsize
        aligned = np.frombuffer(self.data, kind, len(self.data) // size)
        return as_strided(aligned, (len(self.data) - size + 1,), (1,), writeable=False)


@dataclass(frozen=True)
class Places:
    """Of one field: the BSON type in each document, 0 where it is absent, and the place of its value in the batch."""

    kinds: Bytes
    values: Integers

    def rows(self, kind: int) -> Integers:
        """The documents in which the field has a type."""
        return np.flatnonzero(self.kinds == kind)


def locate(batch: Batch, names: Iterable[str]) -> dict[str, Places]:
    """The top-level fields of some names; where a document repeats a name, its first, as servers do."""
    return locate_in_order(batch, names, ())[0]


def locate_in_order(
    batch: Batch, names: Iterable[str], order: Sequence[str]
) -> tuple[dict[str, Places], npt.NDArray[np.bool_]]:
    """As `locate`, and whether those fields of `order` that a document has stand in this order, before all others."""
    places = {name: Places(np.zeros(len(batch), np.uint8), np.zeros(len(batch), np.int64)) for name in names}
    ordered = np.ones(len(batch), bool)
    rest = np.arange(len(batch))
    for _ in range(_SHAPES):
        if len(rest) <= _FEW:
            break
        rest = _like_the_first(batch, rest, places, ordered, order)
    for row in rest.tolist():
        _walk(batch, row, places, ordered, order)
    return places, ordered


def _stand_in_order(names: Sequence[str], order: Sequence[str]) -> bool:
    present = [name for name in order if name in names]
    return list(names[: len(present)]) == present


def value_size(batch: Batch, kinds: Bytes, at: Integers) -> Integers:
    """How many bytes the values of some types at some places take; negative where only a walk can tell."""
    return _sizes(kinds, batch.i32[at])


def _sizes(kinds: Bytes, firsts: npt.NDArray[np.int32]) -> Integers:
    """As `value_size`, from the first four bytes of the values."""
    if len(kinds) and (kinds == kinds[0]).all():  # as it mostly is
        size = _SIZE[kinds[0]]
        return firsts + size if _HAS_LENGTH[kinds[0]] else np.full(len(kinds), size)
    return _SIZE[kinds] + np.where(_HAS_LENGTH[kinds], firsts, 0)


def _like_the_first(
    batch: Batch, rows: Integers, places: dict[str, Places], ordered: npt.NDArray[np.bool_], order: Sequence[str]
) -> Integers:
    """Place the fields of the documents that have the shape of the first; returns the other rows."""
    shape = list(walk(batch.document(int(rows[0]))))
    fitting, at = rows, batch.starts[rows] + 4
    ends = batch.starts[rows] + batch.sizes[rows]
    seen: set[str] = set()
    for name, _, _ in shape:
        text = name.encode(errors="surrogateescape") + b"\0"
        if len(text) > _LONGEST_NAME:
            return _walked(batch, rows, places, ordered, order)
        found, values = batch.elements(at, text), at + (1 + len(text))
        kinds = found["kind"]
        sizes = _sizes(kinds, found["size"])
        fits = (found["name"] == np.void(text)) & (sizes >= 0) & (values + sizes < ends)
        if not fits.all():
            fitting, ends, kinds = fitting[fits], ends[fits], kinds[fits]
            values, sizes = values[fits], sizes[fits]
        if name in places and name not in seen:
            places[name].kinds[fitting] = kinds
            places[name].values[fitting] = values
        seen.add(name)
        at = values + sizes
    done = fitting[at == ends - 1]
    if not len(done):
        return _walked(batch, rows, places, ordered, order)
    left = np.ones(len(batch), bool)
    left[done] = False
    ordered[done] = _stand_in_order([name for name, _, _ in shape], order)
    return rows[left[rows]]


def _walked(
    batch: Batch, rows: Integers, places: dict[str, Places], ordered: npt.NDArray[np.bool_], order: Sequence[str]
) -> Integers:
    """Walk the first of some documents, whose shape NumPy cannot follow; returns the others."""
    _walk(batch, int(rows[0]), places, ordered, order)
    return rows[1:]


def _walk(
    batch: Batch, row: int, places: dict[str, Places], ordered: npt.NDArray[np.bool_], order: Sequence[str]
) -> None:
    start = int(batch.starts[row])
    for place in places.values():
        place.kinds[row] = 0
    elements = list(walk(batch.document(row)))
    ordered[row] = _stand_in_order([name for name, _, _ in elements], order)
    for name, kind, value in elements:
        if name in places and not places[name].kinds[row]:
            places[name].kinds[row] = kind
            places[name].values[row] = start + value


def walk(document: bytes) -> Iterator[tuple[str, int, int]]:
    """Name, type and place of the value of each top-level element."""
    at = 4
    for name, element in named_elements(document):
        yield name, element[0], at + element.index(0, 1) + 1
        at += len(element)


def _starts(data: bytes) -> Iterator[int]:
    position, end, size = 0, len(data), _INT.unpack_from
    while position < end:
        yield position
        position += size(data, position)[0]
