"""Keys that sort as the server sorts `_id`s: by the rank of their type, then byte by byte. So ties in time have one order.

Order: https://www.mongodb.com/docs/manual/reference/bson-type-comparison-order/.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import polars as pl

from session_assets.stores.bson_batch import Batch, Bytes, Integers, Places

KEY_KINDS = pl.Enum(["null", "number", "string", "binary", "objectid", "boolean", "date", "other"])
"""Types of an `_id`, as servers rank them; `other` has no order here (documents, decimals, fractions, …)."""
KIND_CODES = {name: code for code, name in enumerate(KEY_KINDS.categories)}
_DOUBLE, _BINARY, _BOOLEAN, _DATE, _NULL, _INT32, _INT64 = 1, 5, 8, 9, 10, 16, 18
_EXACT = 2.0**53


def order_keys(batch: Batch, place: Places, rows: Integers) -> tuple[list[bytes | None], Bytes]:
    """Bytes that sort within their kind, and the kinds (codes of `KEY_KINDS`), of values neither text nor ObjectId."""
    kinds, at = place.kinds[rows], place.values[rows]
    keys = np.full(len(rows), None, object)
    codes = np.full(len(rows), KIND_CODES["other"], np.uint8)
    codes[(kinds == _NULL) | (kinds == 0)] = KIND_CODES["null"]
    numbers, exact = _integers(batch, kinds, at)
    for name, fits, values in (
        ("number", exact, numbers),
        ("date", kinds == _DATE, batch.i64[at]),
        ("boolean", kinds == _BOOLEAN, batch.u8[at].astype(np.int64)),
    ):
        codes[fits] = KIND_CODES[name]
        keys[fits] = _sortable(values[fits])
    for row in np.flatnonzero(kinds == _BINARY).tolist():
        size, start = int(batch.i32[at[row]]), int(at[row]) + 4
        codes[row] = KIND_CODES["binary"]
        keys[row] = size.to_bytes(4) + batch.data[start : start + 1 + size]  # length, then subtype, then bytes
    return keys.tolist(), codes


def _integers(batch: Batch, kinds: Bytes, at: Integers) -> tuple[Integers, npt.NDArray[np.bool_]]:
    """Whole numbers, and which values are such."""
    doubles = np.where(kinds == _DOUBLE, batch.f64[at], 0.0)
    whole = np.isfinite(doubles) & (np.abs(doubles) <= _EXACT) & (doubles == np.floor(np.nan_to_num(doubles)))
    values = np.where(whole, np.nan_to_num(doubles), 0.0).astype(np.int64)
    values = np.where(kinds == _INT32, batch.i32[at], np.where(kinds == _INT64, batch.i64[at], values))
    return values, (kinds == _INT32) | (kinds == _INT64) | ((kinds == _DOUBLE) & whole)


def _sortable(values: Integers) -> list[bytes]:
    """Eight bytes each, moved so that negative ones come first."""
    return [value.to_bytes(8) for value in (values.astype(np.uint64) ^ np.uint64(1 << 63)).tolist()]
