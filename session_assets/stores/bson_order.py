"""Keys that sort as the server sorts `_id`s: by the rank of their type, then by a text. So ties in time have one order.

Order: https://www.mongodb.com/docs/manual/reference/bson-type-comparison-order/.
"""

from __future__ import annotations

import numpy as np
import polars as pl

from session_assets.stores.bson_batch import Batch, Integers, Places

KEY_KINDS = pl.Enum(["null", "number", "string", "binary", "objectid", "boolean", "date", "other"])
"""Types of an `_id`, as servers rank them; `other` has no order here (documents, decimals, fractions, …)."""
_DOUBLE, _BINARY, _BOOLEAN, _DATE, _NULL, _INT32, _INT64 = 1, 5, 8, 9, 10, 16, 18
_DIGITS = 20  # of the largest unsigned integer of 64 bits
_EXACT = 2.0**53


def order_keys(batch: Batch, place: Places, rows: Integers) -> tuple[pl.Series, pl.Series]:
    """Texts that sort within their kind, and the kinds (`KEY_KINDS`), of values in some rows, neither text nor ObjectId."""
    kinds, at = place.kinds[rows], place.values[rows]
    texts = np.full(len(rows), None, object)
    names = np.full(len(rows), "other", object)
    names[(kinds == _NULL) | (kinds == 0)] = "null"
    numbers, exact = _integers(batch, kinds, at)
    for name, fits, values in (
        ("number", exact, numbers),
        ("date", kinds == _DATE, batch.i64[at]),
        ("boolean", kinds == _BOOLEAN, batch.u8[at].astype(np.int64)),
    ):
        names[fits] = name
        texts[fits] = _sortable(values[fits])
    for row in np.flatnonzero(kinds == _BINARY).tolist():
        size, start = int(batch.i32[at[row]]), int(at[row]) + 4
        names[row] = "binary"
        texts[row] = f"{size:08x}{batch.data[start : start + 1 + size].hex()}"  # length, then subtype, then bytes
    return pl.Series(texts.tolist(), dtype=pl.String), pl.Series(names.tolist(), dtype=KEY_KINDS)


def _integers(batch: Batch, kinds: np.ndarray, at: Integers) -> tuple[Integers, np.ndarray]:
    """Whole numbers, and which values are such."""
    doubles = np.where(kinds == _DOUBLE, batch.f64[at], 0.0)
    whole = np.isfinite(doubles) & (np.abs(doubles) <= _EXACT) & (doubles == np.floor(np.nan_to_num(doubles)))
    values = np.where(whole, np.nan_to_num(doubles), 0.0).astype(np.int64)
    values = np.where(kinds == _INT32, batch.i32[at], np.where(kinds == _INT64, batch.i64[at], values))
    return values, (kinds == _INT32) | (kinds == _INT64) | ((kinds == _DOUBLE) & whole)


def _sortable(values: Integers) -> list[str]:
    """Decimal digits of as many places each, moved so that negative ones come first."""
    moved = values.astype(np.uint64) ^ np.uint64(1 << 63)
    return pl.Series(moved, dtype=pl.UInt64).cast(pl.String).str.zfill(_DIGITS).to_list()
