"""Text and bytes of a wire batch as Polars columns that are views of the batch: nothing is copied."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
from polars.exceptions import ComputeError

from session_assets.stores.bson_batch import Batch, Integers, Places

STRING = 2  # the BSON type of text
_INLINE = 12  # bytes of text that a view holds itself
_MASKS = np.array(
    [[(1 << 8 * min(max(size - 4 * word, 0), 4)) - 1 for size in range(_INLINE + 1)] for word in range(3)], np.uint32
)
_HEX = np.frombuffer(bytes.fromhex("".join(f"{byte:02x}".encode().hex() for byte in range(256))), "<u2")


@dataclass(frozen=True)
class Views:
    """Arrow's binary views: length, first four bytes, buffer, place; texts of up to 12 bytes stand in the view itself."""

    batch: Batch
    words: npt.NDArray[np.uint32]
    valid: npt.NDArray[np.bool_]


def text_views(batch: Batch, rows: Integers, place: Places, height: int) -> Views:
    """Views of the strings in some rows; the other rows are null."""
    views = Views(batch, np.zeros((height, 4), np.uint32), np.zeros(height, bool))
    at = place.values[rows]
    words = words_at(batch, at + 4, batch.i32[at] - 1)
    if len(rows) == height:
        return Views(batch, words, np.ones(height, bool))
    views.words[rows] = words
    views.valid[rows] = True
    return views


def words_at(batch: Batch, at: Integers, sizes: Any) -> npt.NDArray[np.uint32]:
    """The words of views of bytes that begin at some places."""
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


def views_of(batch: Batch, at: Integers, sizes: Any) -> pl.Series:
    """Bytes that begin at some places, as a column."""
    return binary_column(Views(batch, words_at(batch, at, sizes), np.ones(len(at), bool)))


def _arrow(views: Views, more: bytes = b"") -> pa.Array:
    height = len(views.valid)
    validity = None if views.valid.all() else pa.py_buffer(np.packbits(views.valid, bitorder="little"))
    buffers = [validity, pa.py_buffer(np.ascontiguousarray(views.words)), pa.py_buffer(views.batch.data)]
    return pa.Array.from_buffers(pa.binary_view(), height, [*buffers, pa.py_buffer(more)] if more else buffers)


def binary_column(views: Views, more: bytes = b"") -> pl.Series:
    """The views as a column; `more` is a second buffer that they may lead to."""
    return pl.Series(_arrow(views, more), dtype=pl.Binary)


def string_column(name: str, views: Views, more: bytes = b"") -> pl.Series:
    """The views as text."""
    binary = binary_column(views, more).rename(name)
    try:
        return binary.cast(pl.String)
    except ComputeError:  # some text is not UTF-8, which Polars cannot hold: it alone becomes null
        return pl.Series(name, [_text(value) for value in binary], dtype=pl.String)


def _text(value: bytes | None) -> str | None:
    try:
        return None if value is None else value.decode()
    except UnicodeDecodeError:
        return None


def hexed(batch: Batch, rows: Integers, at: Integers, views: Views | None = None) -> tuple[Views, bytes]:
    """Views in which some rows are the 12 bytes at some places as hex digits, and the buffer of those digits."""
    views = views or Views(batch, np.zeros((len(batch), 4), np.uint32), np.zeros(len(batch), bool))
    words = np.stack([batch.u32[at], batch.u32[at + 4], batch.u32[at + 8]], axis=1)
    digits = _HEX[words.view(np.uint8)].view(np.uint32)
    views.words[rows] = np.stack(
        [np.full(len(at), 24), digits[:, 0], np.ones(len(at)), np.arange(len(at)) * 24], axis=1
    ).astype(np.uint32)
    views.valid[rows] = True
    return views, digits.tobytes()


def text_column(batch: Batch, place: Places, name: str) -> pl.Series:
    """A field's texts; values of other types are null."""
    return string_column(name, text_views(batch, place.rows(STRING), place, len(batch)))
