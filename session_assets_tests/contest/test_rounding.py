"""Two decimals are those of Python's `round`, to the last bit, also where the value is a quotient."""

from __future__ import annotations

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from session_assets.contest.rounding import divided, two_decimals
from session_assets_tests.counts import examples

NUMBERS = st.one_of(
    st.integers(0, 10**9).map(float),
    st.integers(0, 10**7).map(lambda number: number / 200),  # halves of the last decimal
    st.floats(-1e15, 1e15),
    st.none(),
)


@examples(200)
@given(st.lists(NUMBERS, max_size=40), st.sampled_from([1, 7, 1000, 60_000]))
def test_quotients_are_rounded_as_python_does(numbers: list[float | None], per: int) -> None:
    frame = pl.DataFrame({"x": numbers}, schema={"x": pl.Float64})
    got = frame.select(rounded=two_decimals(pl.col("x"), per), exact=divided(pl.col("x"), per))
    assert got["exact"].to_list() == [None if number is None else number / per for number in numbers]
    assert got["rounded"].to_list() == [None if number is None else round(number / per, 2) for number in numbers]
