"""A few rows of a large frame do not keep the large frame in memory."""

from __future__ import annotations

from datetime import UTC, datetime

import polars as pl

from session_assets.compact import compact


def test_a_compact_frame_is_equal() -> None:
    frame = pl.DataFrame(
        {
            "text": ["a", None, "a longer text than twelve bytes"],
            "bytes": [b"\xff", None, b"x" * 20],
            "texts": [["a", None], None, []],
            "at": [datetime(2026, 1, 1, tzinfo=UTC), None, None],
            "kind": pl.Series(["one", "two", None], dtype=pl.Enum(["one", "two"])),
        }
    )
    assert compact(frame).equals(frame)
    assert compact(frame).schema == frame.schema
    assert compact(frame.clear()).schema == frame.schema


def test_texts_of_few_rows_hold_no_more_than_themselves() -> None:
    rows = pl.DataFrame({"text": [f"{number:0100}" for number in range(10_000)]}).filter(
        pl.col("text").str.ends_with("00")
    )
    kept = compact(rows)["text"].to_arrow(compat_level=pl.CompatLevel.newest())
    assert sum(buffer.size for buffer in kept.buffers() if buffer is not None) < 30_000
