"""Raw BSON batches to typed Polars frames, without silently losing a value of another type.

Each element's own type decides: what a field's kind does not cover is null, and marks the row in `malformed` where the field
is strict. Text is not copied: columns are views of the batch, which lives as long as they do.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum, auto

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from session_assets.stores.bson_batch import Batch, Bytes, Integers, Places, locate, value_size, walk
from session_assets.stores.bson_documents import OBJECT_ID_FIRST, key_of
from session_assets.stores.bson_order import KEY_KINDS, KIND_CODES, order_keys
from session_assets.stores.bson_times import SECONDS, Times, dates, floats, moments
from session_assets.stores.bson_views import (
    STRING,
    binary_column,
    hexed,
    string_column,
    text_column,
    text_views,
    views_of,
    words_at,
)
from session_assets.templates import Value


class Kind(Enum):
    """What a field holds. All become nullable columns."""

    TEXT = auto()  # str → String
    TEXTS = auto()  # list of str → List(String), other elements null, and malformed unless they are null there too
    NUMBER = auto()  # int32, int64, double → Float64
    DATE = auto()  # date → Datetime(ms, UTC)
    MOMENT = auto()  # date, text with an offset, or as the field's `times` say → Datetime(ms, UTC)
    HEX = auto()  # str, or ObjectId as 24 hex: the same text is the same id → String
    ID = auto()  # ObjectId (24 hex) or str → String, and `{name}_kind`: objectid, string, null
    KEY = auto()  # an `_id` → Binary that sorts as servers sort it within its type, and `{name}_kind` of `KEY_KINDS`


@dataclass(frozen=True)
class Field:
    """A field to read; where `strict`, a value of any other type marks the row as malformed.

    `name` is that of the column. `stored` is the field of the documents, if its name is another one; `template` says how
    several fields make up the text of a TEXT or an ID.
    """

    name: str
    kind: Kind
    strict: bool = False
    stored: str = ""
    times: Times = SECONDS
    template: Value | None = None

    @property
    def sources(self) -> tuple[str, ...]:
        """The fields of the documents that it is read from."""
        return self.template.columns if self.template else (self.stored or self.name,)


ID_KINDS = pl.Enum(["objectid", "string", "null"])
_DOUBLE, _ARRAY, _OBJECT_ID, _DATE, _INT32, _INT64 = 1, 4, 7, 9, 16, 18
_SAYS_NOTHING = (0, 6, 10)  # absent, undefined, null
_ID_BYTES = 12
_EMPTY = 5  # bytes of an array without items
_ALONE = 16  # lists longer than all but so few others are walked alone


def read_frame(data: bytes, fields: tuple[Field, ...]) -> pl.DataFrame:
    """One row a document, in order: the fields' columns and `malformed` (Boolean)."""
    return frame_of(Batch(data), fields)


def frame_of(batch: Batch, fields: tuple[Field, ...]) -> pl.DataFrame:
    """As `read_frame`, of a batch that is at hand."""
    return frame_at(batch, locate(batch, [name for field in fields for name in field.sources]), fields)


def frame_at(batch: Batch, found: dict[str, Places], fields: tuple[Field, ...]) -> pl.DataFrame:
    """As `frame_of`, of fields that are located."""
    columns: list[pl.Series] = []
    malformed = np.zeros(len(batch), bool)
    for field in fields:
        if field.template is not None:
            read, odd = _templates(batch, found, field, field.template)
            malformed |= odd & field.strict
            columns.extend(read)
            continue
        place = found[field.sources[0]]
        if field.kind is Kind.MOMENT:
            read = [moments(batch, place, field.name, field.times)]
        else:
            read = _READERS[field.kind](batch, place, field.name)
        if field.kind is Kind.TEXTS:
            odd = read.pop().to_numpy()
            malformed |= odd & field.strict
        columns.extend(read)
        if field.strict:
            nothing = (*_SAYS_NOTHING, _DATE) if field.times.any_date else _SAYS_NOTHING
            malformed |= read[0].is_null().to_numpy() & ~np.isin(place.kinds, nothing)
    return pl.DataFrame([*columns, pl.Series("malformed", malformed)])


def documents_of(batch: Batch) -> pl.Series:
    """The documents themselves, `document` (Binary), as views of the batch."""
    return views_of(batch, batch.starts, batch.sizes).rename("document")


def keys_of(batch: Batch) -> pl.Series:
    """The keys of change rows, `key` (String): each `_id` as canonical Extended JSON."""
    at = batch.starts + 4
    usual = batch.stands(OBJECT_ID_FIRST, at)
    rows = np.flatnonzero(usual)
    column = string_column("key", *hexed(batch, rows, at[rows] + len(OBJECT_ID_FIRST)))
    keys = pl.select(pl.format('{{"$oid":"{}"}}', column).alias("key")).to_series()
    if len(rows) == len(batch):
        return keys
    others = np.flatnonzero(~usual)
    return keys.scatter(others, [key_of(batch.document(row)) for row in others.tolist()])


def _texts(batch: Batch, place: Places, name: str) -> list[pl.Series]:
    return [text_column(batch, place, name)]


def _hex_texts(batch: Batch, place: Places, name: str) -> list[pl.Series]:
    ids = place.rows(_OBJECT_ID)
    if not len(ids):  # the usual
        return [text_column(batch, place, name)]
    return [
        string_column(
            name, *hexed(batch, ids, place.values[ids], text_views(batch, place.rows(STRING), place, len(batch)))
        )
    ]


def _templates(
    batch: Batch, found: dict[str, Places], field: Field, template: Value
) -> tuple[list[pl.Series], npt.NDArray[np.bool_]]:
    """A text made of several fields, null where one of them says nothing; and in which rows one is no text or number."""
    odd = np.zeros(len(batch), bool)
    parts: list[pl.Series] = []
    for name in dict.fromkeys(template.columns):
        place = found[name]
        [ids] = _hex_texts(batch, place, name)
        parts.append(pl.select(pl.coalesce(ids, _number_texts(batch, place)).alias(name)).to_series())
        odd |= parts[-1].is_null().to_numpy() & ~np.isin(place.kinds, _SAYS_NOTHING)
    column = pl.DataFrame(parts).select(template.text().alias(field.name)).to_series()
    if field.kind is not Kind.ID:
        return [column], odd
    kinds = column.to_frame().select(
        pl.when(pl.col(field.name).is_null()).then(pl.lit("null")).otherwise(pl.lit("string"))
    )
    return [column, kinds.to_series().cast(ID_KINDS).rename(f"{field.name}_kind")], odd


def _number_texts(batch: Batch, place: Places) -> pl.Series:
    """Numbers as text, as event files have them: 3 and 3.0 are the same id. Null where there is none."""
    texts: list[str | None] = [None] * len(batch)
    for kind, window in ((_INT32, batch.i32), (_INT64, batch.i64), (_DOUBLE, batch.f64)):
        for row in place.rows(kind).tolist():
            value = window[place.values[row]].item()
            if math.isfinite(value):
                texts[row] = str(int(value)) if value == value // 1 else repr(value)
    return pl.Series(texts, dtype=pl.String)


def _ids(batch: Batch, place: Places, name: str) -> list[pl.Series]:
    ids = place.rows(_OBJECT_ID)
    views, digits = hexed(batch, ids, place.values[ids], text_views(batch, place.rows(STRING), place, len(batch)))
    column = string_column(name, views, digits)
    codes = np.where(place.kinds == _OBJECT_ID, 0, 1).astype(np.uint8)
    codes[column.is_null().to_numpy()] = 2
    return [column, pl.Series(f"{name}_kind", codes).cat.to(ID_KINDS)]


def _keys(batch: Batch, place: Places, name: str) -> list[pl.Series]:
    ids = place.rows(_OBJECT_ID)
    views = text_views(batch, place.rows(STRING), place, len(batch))
    views.words[ids] = words_at(batch, place.values[ids], np.full(len(ids), _ID_BYTES))
    views.valid[ids] = True
    column = binary_column(views).rename(name)
    codes = np.where(place.kinds == _OBJECT_ID, KIND_CODES["objectid"], KIND_CODES["string"]).astype(np.uint8)
    odd = np.flatnonzero(~views.valid)
    if len(odd):
        keys, codes[odd] = order_keys(batch, place, odd)
        column = column.scatter(odd, pl.Series(keys, dtype=pl.Binary))
    return [column, pl.Series(f"{name}_kind", codes).cat.to(KEY_KINDS)]


def _numbers(batch: Batch, place: Places, name: str) -> list[pl.Series]:
    return [pl.Series(name, floats(batch, place)).fill_nan(None)]


# -- lists of text -----------------------------------------------------------------------------------------------------


def _lists(batch: Batch, place: Places, name: str) -> list[pl.Series]:
    """Lists item by item, the first of all documents, then the second, …; and in which rows an item is no text."""
    owners, items = array_items(batch, place)
    texts = string_column("", text_views(batch, items.rows(STRING), items, len(owners)))
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
    Kind.DATE: lambda batch, place, name: [dates(batch, place, name)],
    Kind.HEX: _hex_texts,
    Kind.ID: _ids,
    Kind.KEY: _keys,
}
