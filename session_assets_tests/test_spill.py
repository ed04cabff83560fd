"""Buckets on disk: nothing is lost, and one key goes to one bucket whatever comes beside it."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from session_assets import spill
from session_assets.spill import Buckets
from session_assets.stores.bson_frames import ID_KINDS
from session_assets_tests.counts import examples

SCHEMA = pl.Schema({"k": pl.String, "kind": ID_KINDS, "n": pl.Int64, "pages": pl.List(pl.String), "b": pl.Binary})
ROWS = st.lists(
    st.tuples(
        st.sampled_from(["", "a", "b", "é", "long" * 9]),
        st.sampled_from([None, "objectid", "string"]),
        st.integers(0, 9),
        st.sampled_from([None, [], ["/a", None]]),
        st.sampled_from([None, b"", b"\0x" * 20]),
    ),
    max_size=6,
)


@examples(40)
@given(frames=st.lists(ROWS, max_size=5), count=st.integers(1, 4))
def test_two_streams_meet_in_the_same_bucket(
    tmp_path_factory: pytest.TempPathFactory, frames: list[list[tuple[object, ...]]], count: int
) -> None:
    folder: Path = tmp_path_factory.mktemp("spill")
    left, right = Buckets(folder, "left", count, "k", SCHEMA), Buckets(folder, "right", count, "k", SCHEMA)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(spill, "_FLUSH_BYTES", 64)
        for rows in frames:
            frame = pl.DataFrame(rows, schema=SCHEMA, orient="row")
            left.add(frame.with_columns(more=1))
            right.add(frame.unique("k", maintain_order=True))
        left.close()
        right.close()
    given = [row for rows in frames for row in rows]
    assert left.rows == len(given)
    read = list(left)
    assert sorted(map(repr, given)) == sorted(repr(row) for frame in read for row in frame.iter_rows())
    for key in {row[0] for row in given}:  # each key in one bucket, in the order in which its rows came
        (home,) = [number for number in range(count) if key in read[number]["k"]]
        assert read[home].filter(k=key).rows() == [row for row in given if row[0] == key]
        assert key in right.read(home)["k"]
    assert all(frame.schema == SCHEMA for frame in read)
