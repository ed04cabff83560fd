"""Columns as `stores/contest_frames.py` reads them: whether a field says something, and of which BSON type (bsonspec.org)."""

from __future__ import annotations

import polars as pl

NOTHING = (0, 6, 10)  # absent, undefined, null
DOUBLE, TEXT, DOCUMENT, ARRAY, OBJECT_ID, BOOL, DATE, INT32, INT64 = 1, 2, 3, 4, 7, 8, 9, 16, 18
NUMBERS = (DOUBLE, INT32, INT64)
_EXACT = 2.0**53


def says(name: str) -> pl.Expr:
    """Whether a field holds something."""
    return ~pl.col(f"{name}_type").is_in(NOTHING)


def has_type(name: str, *types: int) -> pl.Expr:
    return pl.col(f"{name}_type").is_in(types)


def odd_number(name: str, *, whole: bool = False) -> pl.Expr:
    value = pl.col(name)
    usable = value.is_finite() & (value.abs() <= _EXACT)
    if whole:
        usable &= value == value.floor()
    return says(name) & ~(has_type(name, TEXT, *NUMBERS) & usable.fill_null(False))


def odd_text(name: str) -> pl.Expr:
    return says(name) & ~(has_type(name, TEXT) & pl.col(name).is_not_null())
