"""Raw BSON batches to typed Polars frames, without silently losing a value of another type.

Each element's own type decides: what a field's kind does not cover is null, and marks the row in `malformed` where the field
is strict. Text is not copied: columns are views of the batch, which lives as long as they do.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
from polars.exceptions import ComputeError

from session_assets.stores.bson_batch import Batch, Bytes, Integers, Places, locate, value_size, walk
from session_assets.stores.bson_documents import OBJECT_ID_FIRST, key_of
from session_assets.stores.bson_order import KEY_KINDS, KIND_CODES, order_keys


class Kind(Enum):
    """What a field holds. All become nullable columns."""

    TEXT = auto()  # str → String
    TEXTS = auto()  # list of str → List(String), other elements null, and malformed unless they are null there too
    NUMBER = auto()  # int32, int64, double → Float64
    DATE = auto()  # date → Datetime(ms, UTC)
    MOMENT = auto()  # date, or numeric epoch seconds → Datetime(ms, UTC)
    ID = auto()  # ObjectId (24 hex) or str → String, and `{name}_kind`: objectid, string, null
    KEY = auto()  # an `_id` → Binary that sorts as servers sort it within its type, and `{name}_kind` of `KEY_KINDS`


@dataclass(frozen=True)
class Field:
    """A field to read; where `strict`, a value of any other type marks the row as malformed."""

    name: str
    kind: Kind
    strict: bool = False


ID_KINDS = pl.Enum(["objectid", "string", "null"])
_DOUBLE, _STRING, _ARRAY, _OBJECT_ID, _DATE, _INT32, _INT64 = 1, 2, 4, 7, 9, 16, 18
_SAYS_NOTHING = (0, 6, 10)  # absent, undefined, null
_INLINE = 12  # bytes of text that a view holds itself
_MASKS = np.array(
    [[(1 << 8 * min(max(size - 4 * word, 0), 4)) - 1 for size in range(_INLINE + 1)] for word in range(3)], np.uint32
)
_HEX = np.frombuffer(bytes.fromhex("".join(f"{byte:02x}".encode().hex() for byte in range(256))), "<u2")
_LAST_MS = 253402300799999  # 9999-12-31, the last date that all readers of the results can hold
_EMPTY = 5  # bytes of an array without items
_ALONE = 16  # lists longer than all but so few others are walked alone


def read_frame(data: bytes, fields: tuple[Field, ...]) -> pl.DataFrame:
    """One row a document, in order: the fields' columns and `malformed` (Boolean)."""
    return frame_of(Batch(data), fields)


def frame_of(batch: Batch, fields: tuple[Field, ...]) -> pl.DataFrame:
    """As `read_frame`, of a batch that is at hand."""
    return frame_at(batch, locate(batch, [field.name for field in fields]), fields)


def frame_at(batch: Batch, found: dict[str, Places], fields: tuple[Field, ...]) -> pl.DataFrame:
    """As `frame_of`, of fields that are located."""
    columns: list[pl.Series] = []
    malformed = np.zeros(len(batch), bool)
    for field in fields:
        place = found[field.name]
        read = _READERS[field.kind](batch, place, field.name)
        if field.kind is Kind.TEXTS:
            odd = read.pop().to_numpy()
            malformed |= odd & field.strict
        columns.extend(read)
        if field.strict:
            malformed |= read[0].is_null().to_numpy() & ~np.isin(place.kinds, _SAYS_NOTHING)
    return pl.DataFrame([*columns, pl.Series("malformed", malformed)])


def documents_of(batch: Batch) -> pl.Series:
    """The documents themselves, `document` (Binary), as views of the batch."""
    return _views(batch, batch.starts, batch.sizes).rename("document")


def keys_of(batch: Batch) -> pl.Series:
    """The keys of change rows, `key` (String): each `_id` as canonical Extended JSON."""
    at = batch.starts + 4
    usual = batch.stands(OBJECT_ID_FIRST, at)
    rows = np.flatnonzero(usual)
    column = _string("key", *_hexed(batch, rows, at[rows] + len(OBJECT_ID_FIRST)))
    keys = pl.select(pl.format('{{"$oid":"{}"}}', column).alias("key")).to_series()
    if len(rows) == len(batch):
        return keys
    others = np.flatnonzero(~usual)
    return keys.scatter(others, [key_of(batch.document(row)) for row in others.tolist()])


def _texts(batch: Batch, place: Places, name: str) -> list[pl.Series]:
    return [_string(name, _text_views(batch, place.rows(_STRING), place, len(batch)))]


def _ids(batch: Batch, place: Places, name: str) -> list[pl.Series]:
    ids = place.rows(_OBJECT_ID)
    views, hexed = _hexed(batch, ids, place.values[ids], _text_views(batch, place.rows(_STRING), place, len(batch)))
    column = _string(name, views, hexed)
    codes = np.where(place.kinds == _OBJECT_ID, 0, 1).astype(np.uint8)
    codes[column.is_null().to_numpy()] = 2
    return [column, pl.Series(f"{name}_kind", codes).cat.to(ID_KINDS)]


def _keys(batch: Batch, place: Places, name: str) -> list[pl.Series]:
    ids = place.rows(_OBJECT_ID)
    views = _text_views(batch, place.rows(_STRING), place, len(batch))
    views.words[ids] = _words(batch, place.values[ids], np.full(len(ids), _INLINE))
    views.valid[ids] = True
    column = _binary(views).rename(name)
    codes = np.where(place.kinds == _OBJECT_ID, KIND_CODES["objectid"], KIND_CODES["string"]).astype(np.uint8)
    odd = np.flatnonzero(~views.valid)
    if len(odd):
        keys, codes[odd] = order_keys(batch, place, odd)
        column = column.scatter(odd, pl.Series(keys, dtype=pl.Binary))
    return [column, pl.Series(f"{name}_kind", codes).cat.to(KEY_KINDS)]


def _hexed(batch: Batch, rows: Integers, at: Integers, views: _Views | None = None) -> tuple[_Views, bytes]:
    """Views in which some rows are the 12 bytes at some places as hex digits, and the buffer of those digits."""
    views = views or _Views(batch, np.zeros((len(batch), 4), np.uint32), np.zeros(len(batch), bool))
    words = np.stack([batch.u32[at], batch.u32[at + 4], batch.u32[at + 8]], axis=1)
    digits = _HEX[words.view(np.uint8)].view(np.uint32)
    views.words[rows] = np.stack(
        [np.full(len(at), 24), digits[:, 0], np.ones(len(at)), np.arange(len(at)) * 24], axis=1
    ).astype(np.uint32)
    views.valid[rows] = True
    return views, digits.tobytes()


def _numbers(batch: Batch, place: Places, name: str) -> list[pl.Series]:
    return [pl.Series(name, _floats(batch, place)).fill_nan(None)]


def _floats(batch: Batch, place: Places) -> npt.NDArray[np.float64]:
    """Numbers of any type as doubles, NaN where there is none."""
    values = np.full(len(batch), np.nan)
    for kind, window in ((_DOUBLE, batch.f64), (_INT32, batch.i32), (_INT64, batch.i64)):
        rows = place.rows(kind)
        values[rows] = window[place.values[rows]]
    return values


def _dates(batch: Batch, place: Places, name: str) -> list[pl.Series]:
    millis, rows = np.zeros(len(batch), np.int64), place.rows(_DATE)
    millis[rows] = batch.i64[place.values[rows]]
    frame = pl.DataFrame({"ms": millis, "is_date": place.kinds == _DATE})
    date = pl.when(pl.col("is_date") & pl.col("ms").is_between(-62135596800000, _LAST_MS)).then("ms")
    return [frame.select(_utc(date).alias(name)).to_series()]


def _moments(batch: Batch, place: Places, name: str) -> list[pl.Series]:
    [dates] = _dates(batch, place, name)
    if dates.null_count() == 0:
        return [dates]
    frame = pl.DataFrame({name: dates, "seconds": _floats(batch, place)})
    return [frame.select(pl.coalesce(name, _epoch_seconds(pl.col("seconds")))).to_series()]


def _utc(millis: pl.Expr) -> pl.Expr:
    return millis.cast(pl.Datetime("ms")).dt.replace_time_zone("UTC")


def _epoch_seconds(column: pl.Expr) -> pl.Expr:
    """Epoch seconds to milliseconds as Python and BSON do it: rounded to µs, then cut to ms."""
    usable = pl.when(column.is_finite() & (column.abs() < _LAST_MS / 1000 + 1)).then(column)
    whole = usable.floor()
    micros = ((usable - whole) * 1e6).round(0, mode="half_to_even").cast(pl.Int64)
    millis = whole.cast(pl.Int64) * 1000 + micros // 1000
    return _utc(pl.when(millis.is_between(-62135596800000, _LAST_MS)).then(millis))


# -- text --------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Views:
    """Arrow's binary views: length, first four bytes, buffer, place; texts of up to 12 bytes stand in the view itself."""

    batch: Batch
    words: npt.NDArray[np.uint32]
    valid: npt.NDArray[np.bool_]


def _text_views(batch: Batch, rows: Integers, place: Places, height: int) -> _Views:
    """Views of the strings in some rows; the other rows are null."""
    views = _Views(batch, np.zeros((height, 4), np.uint32), np.zeros(height, bool))
    at = place.values[rows]
    words = _words(batch, at + 4, batch.i32[at] - 1)
    if len(rows) == height:
        return _Views(batch, words, np.ones(height, bool))
    views.words[rows] = words
    views.valid[rows] = True
    return views


def _words(batch: Batch, at: Integers, sizes: Any) -> npt.NDArray[np.uint32]:
    words = np.empty((len(at), 4), np.uint32)
    words[:, 0] = sizes
    words[:, 1] = batch.u32[at]
    words[:, 2] = 0
    words[:, 3] = at
    short = np.flatnonzero(sizes <= _INLINE)
    if len(short):
        where, size = at[short], sizes[short]
        for word in range(3):
            words[short, 1 + word] = batch.u32[where + 4 * word] & _MASKS[word][size]
    return words


def _views(batch: Batch, at: Integers, sizes: Any) -> pl.Series:
    return _binary(_Views(batch, _words(batch, at, sizes), np.ones(len(at), bool)))


def _arrow(views: _Views, more: bytes = b"") -> pa.Array:
    height = len(views.valid)
    validity = None if views.valid.all() else pa.py_buffer(np.packbits(views.valid, bitorder="little"))
    buffers = [validity, pa.py_buffer(np.ascontiguousarray(views.words)), pa.py_buffer(views.batch.data)]
    return pa.Array.from_buffers(pa.binary_view(), height, [*buffers, pa.py_buffer(more)] if more else buffers)


def _binary(views: _Views, more: bytes = b"") -> pl.Series:
    return pl.Series(_arrow(views, more), dtype=pl.Binary)


def _string(name: str, views: _Views, more: bytes = b"") -> pl.Series:
    binary = _binary(views, more).rename(name)
    try:
        return binary.cast(pl.String)
    except ComputeError:  # some text is not UTF-8, which Polars cannot hold: it alone becomes null
        return pl.Series(name, [_text(value) for value in binary], dtype=pl.String)


def _text(value: bytes | None) -> str | None:
    try:
        return None if value is None else value.decode()
    except UnicodeDecodeError:
        return None


# -- lists of text -----------------------------------------------------------------------------------------------------


def _lists(batch: Batch, place: Places, name: str) -> list[pl.Series]:
    """Lists item by item, the first of all documents, then the second, …; and in which rows an item is no text."""
    owners, items = array_items(batch, place)
    texts = _string("", _text_views(batch, items.rows(_STRING), items, len(owners)))
    lengths = np.bincount(owners, minlength=len(batch))
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    lists = pl.Series(name, pa.LargeListArray.from_arrays(pa.array(offsets, pa.int64()), texts.to_arrow()))
    is_list = pl.Series(place.kinds == _ARRAY)
    odd = np.zeros(len(batch), bool)
    if texts.null_count():
        odd[owners[texts.is_null().to_numpy() & ~np.isin(items.kinds, _SAYS_NOTHING)]] = True
    return [pl.select(pl.when(is_list).then(lists).alias(name)).to_series(), pl.Series(odd)]


def array_items(batch: Batch, place: Places) -> tuple[Integers, Places]:
    """All elements of a field's arrays, document by document: the row of each, its type, and the place of its value."""
    arrays = place.rows(_ARRAY)
    filled = arrays[batch.i32[place.values[arrays]] > _EMPTY]
    owners, kinds, values = _items(batch, filled, place.values[filled])
    order = np.argsort(owners, kind="stable")
    return owners[order], Places(kinds[order], values[order])


def _items(batch: Batch, rows: Integers, at: Integers) -> tuple[Integers, Bytes, Integers]:
    """The elements of arrays: the row of each, its type, and the place of its value; in order within a row."""
    found = [(np.zeros(0, np.int64), np.zeros(0, np.uint8), np.zeros(0, np.int64))]
    arrays, ends, number = at, at + batch.i32[at] - 1, 0
    alone: list[tuple[int, int]] = []  # rows, with their arrays, that are walked: long ones, and those with odd names
    at = at + 4
    while len(rows):
        kinds, values = batch.u8[at], at + 2 + len(str(number))
        sizes = value_size(batch, kinds, np.minimum(values, ends))
        usual = batch.stands(f"{number}\0".encode(), at + 1) & (sizes >= 0) & (values + sizes <= ends)
        if len(rows) < _ALONE:
            usual[:] = False
        alone.extend(zip(rows[~usual].tolist(), arrays[~usual].tolist(), strict=True))
        found.append((rows[usual], kinds[usual], values[usual]))
        at = values + sizes
        more = usual & (at < ends)
        rows, arrays, at, ends = (one[more] for one in (rows, arrays, at, ends))
        number += 1
    owners, kinds, values = (np.concatenate(parts) for parts in zip(*found, strict=True))
    if not alone:
        return owners, kinds, values
    kept = ~np.isin(owners, [row for row, _ in alone])
    walked = [(row, kind, place + value) for row, place in alone for _, kind, value in walk(batch.at(place))]
    more_owners, more_kinds, more_values = np.array(walked, np.int64).reshape(-1, 3).T
    return (
        np.concatenate([owners[kept], more_owners]),
        np.concatenate([kinds[kept], more_kinds.astype(np.uint8)]),
        np.concatenate([values[kept], more_values]),
    )


_READERS = {
    Kind.TEXT: _texts,
    Kind.TEXTS: _lists,
    Kind.NUMBER: _numbers,
    Kind.DATE: _dates,
    Kind.MOMENT: _moments,
    Kind.ID: _ids,
    Kind.KEY: _keys,
}
