"""Two decimals exactly as Python's `round` and MongoDB's `$round` give them: half to even, of the double's exact value.

Trap: Polars divides by a scalar by multiplying with its reciprocal, which is off by a bit now and then. Here NumPy divides.
"""

from __future__ import annotations

import numpy as np
import polars as pl

_NEAR = 2.0**-48  # of the scaled value: nearer to a half, one multiplication cannot tell


def two_decimals(value: pl.Expr, per: int = 1) -> pl.Expr:
    """A number, divided by `per`, to two decimals, as Float64. Null stays null."""
    return value.cast(pl.Float64).map_batches(lambda values: _rounded(values, per), return_dtype=pl.Float64)


def divided(value: pl.Expr, per: int) -> pl.Expr:
    """A number divided by another one, exactly. Null stays null."""
    return value.cast(pl.Float64).map_batches(
        lambda values: pl.Series(values.name, values.to_numpy() / per).fill_nan(None), return_dtype=pl.Float64
    )


def _rounded(values: pl.Series, per: int) -> pl.Series:
    numbers = values.to_numpy() / per
    scaled = numbers * 100
    with np.errstate(invalid="ignore"):  # infinities
        near = np.flatnonzero(np.abs(scaled - np.floor(scaled) - 0.5) <= np.abs(scaled) * _NEAR + _NEAR)
    result = np.rint(scaled) / 100
    result[near] = [round(value, 2) for value in numbers[near].tolist()]
    return pl.Series(values.name, result).fill_nan(None)
