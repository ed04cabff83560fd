"""Timestamps written as text, to UTC milliseconds."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import polars as pl

_FIRST_MS, _END_MS = -62135596800000, 253402300800000  # the years 1 to 9999
RANGES = {"s": (_FIRST_MS / 1000 - 1, 1e11), "ms": (1e11, 1e14), "us": (1e14, 9e15)}
"""From, and below, which numbers are times of a unit: 1973-03-03 to the year 5138 (µs: 2255); seconds from the year 1."""
_LEAST_SECONDS = 1e8  # of a number whose unit nobody names: 1973-03-03, as of the other units
_PER_UNIT = {"s": 1_000_000, "ms": 1000, "us": 1}  # microseconds
_INTEGER = r"^[+-]?\d{1,18}$"
_NUMBER = r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$"
_LOCAL = r"^\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d(:[0-5]\d([.,]\d{1,9})?)?"
_OFFSET = r" ?([Zz]|[+-]\d\d:?\d\d)$"
_USUAL = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}:[0-5][0-9](\.[0-9]{1,9})?Z$"


def moment(column: pl.Expr, unit: str) -> pl.Expr:
    """Text → Datetime(ms, UTC), null where it is no moment in the unit. `unit`: s, ms, us, iso (ISO 8601 with an offset).

    Cut to ms, as BSON holds dates; a fraction of a number is rounded to µs before, as Python does.
    """
    text = column.str.strip_chars()
    millis = _iso(text) if unit == "iso" else _number(text, _PER_UNIT[unit])
    usable = millis.is_between(_FIRST_MS, _END_MS, closed="left")
    return pl.when(usable).then(millis).cast(pl.Datetime("ms")).dt.replace_time_zone("UTC")


def moment_of_any_unit(value: object) -> str | None:
    """A number as an ISO 8601 text in UTC, where its size alone tells that it counts s, ms or µs since 1970; else None."""
    if not isinstance(value, int | float) or isinstance(value, bool) or not _LEAST_SECONDS <= value < RANGES["us"][1]:
        return None
    unit = next(unit for unit, (_, end) in RANGES.items() if value < end)
    moved = timedelta(microseconds=round(value * _PER_UNIT[unit]) if unit == "s" else value * _PER_UNIT[unit])
    return (datetime(1970, 1, 1, tzinfo=UTC) + moved).isoformat()


def has_no_offset(column: pl.Expr, unit: str) -> pl.Expr:
    """Whether an ISO 8601 text says a local time, which could be any of many moments."""
    return column.str.strip_chars().str.contains(_LOCAL + "$").fill_null(False) if unit == "iso" else pl.lit(False)


def local_moment(column: pl.Expr, zone: str) -> pl.Expr:
    """Text without an offset, as the clocks of a zone show it → Datetime(ms, UTC).

    Null where it is no such text, and in the hours that a change of the clocks skips or repeats: nobody knows which it is.
    """
    text = column.str.strip_chars()
    local = _with_seconds(pl.when(text.str.contains(_LOCAL + "$")).then(text))
    parsed = local.str.to_datetime("%Y-%m-%dT%H:%M:%S%.f", time_unit="us", strict=False)
    moments = parsed.dt.replace_time_zone(zone, ambiguous="null", non_existent="null").dt.convert_time_zone("UTC")
    millis = moments.dt.epoch("us") // 1000
    return pl.when(millis.is_between(_FIRST_MS, _END_MS, closed="left")).then(
        millis.cast(pl.Datetime("ms")).dt.replace_time_zone("UTC")
    )


def _number(text: pl.Expr, per_unit: int) -> pl.Expr:
    most = _END_MS * 1000 // per_unit
    integer = pl.when(text.str.contains(_INTEGER)).then(text).cast(pl.Int64, strict=False)
    exact = pl.when(integer.abs() <= most).then(integer) * per_unit
    number = pl.when(text.str.contains(_NUMBER)).then(text).cast(pl.Float64, strict=False)
    rounded = (pl.when(number.abs() <= most).then(number) * per_unit).round(0).cast(pl.Int64, strict=False)
    return pl.coalesce(exact, rounded) // 1000


def _iso(text: pl.Expr) -> pl.Expr:
    return text.map_batches(_millis, return_dtype=pl.Int64)


def _millis(texts: pl.Series) -> pl.Series:
    """Epoch milliseconds. The usual form is parsed at once; only others pay for the patterns of all that ISO 8601 allows."""
    text, usual = pl.col("text"), pl.col("usual")
    frame = texts.alias("text").to_frame().with_columns(usual=text.str.contains(_USUAL))
    plain = pl.when(usual).then(text.str.replace(" ", "T", literal=True))
    parsed = [plain.str.to_datetime("%Y-%m-%dT%H:%M:%S%.fZ", time_unit="us", strict=False)]
    if not frame["usual"].all():
        parsed.append(_any_form(pl.when(~usual).then(text)))
    return frame.select(pl.coalesce(parsed).dt.epoch("us") // 1000).to_series()


def _any_form(text: pl.Expr) -> pl.Expr:
    whole = pl.when(text.str.contains(_LOCAL + _OFFSET)).then(text)
    local, offset = whole.str.extract(f"({_LOCAL})"), whole.str.extract(_OFFSET)
    plain = _with_seconds(local)
    zone = offset.str.replace("[Zz]", "+00:00").str.replace(r"^(...)(\d\d)$", "${1}:${2}")
    parsed = (plain + zone).str.to_datetime("%Y-%m-%dT%H:%M:%S%.f%:z", time_unit="us", strict=False)
    return parsed.dt.replace_time_zone(None)


def _with_seconds(local: pl.Expr) -> pl.Expr:
    """A local time in the one form that is parsed."""
    seconds = pl.when(local.str.len_chars() == 16).then(local + ":00").otherwise(local)
    return seconds.str.replace("[Tt ]", "T").str.replace(",", ".", literal=True)
