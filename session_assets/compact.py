"""Frames that hold no more memory than they need: the text of a filtered frame is a view that keeps all of its source alive."""

from __future__ import annotations

import polars as pl


def compact(frame: pl.DataFrame) -> pl.DataFrame:
    """An equal frame whose texts, bytes and lists are copies of their own: for what is kept while its source goes."""
    return frame.with_columns(
        pl.Series(name, frame[name].to_arrow(), dtype=dtype)
        for name, dtype in frame.schema.items()
        if isinstance(dtype, pl.String | pl.Binary | pl.List)
    )
