"""Two decimals exactly as Python's `round` and MongoDB's `$round` give them: half to even, of the double's exact value."""

from __future__ import annotations

import polars as pl

_NEAR = 2.0**-48  # of the scaled value: further from a half, one multiplication cannot tell wrong


def two_decimals(value: pl.Expr) -> pl.Expr:
    """A Float64 expression to two decimals."""
    return value.map_batches(_rounded, return_dtype=pl.Float64)


def _rounded(values: pl.Series) -> pl.Series:
    scaled = values * 100
    off = (scaled - scaled.floor() - 0.5).abs()
    near = (off <= scaled.abs() * _NEAR + _NEAR).fill_null(False).arg_true()
    result = scaled.round(0, mode="half_to_even") / 100
    if len(near):  # multiplied, they may fall on either side
        result = result.scatter(near, [round(value, 2) for value in values.gather(near).to_list()])
    return result
