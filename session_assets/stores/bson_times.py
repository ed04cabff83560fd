"""Times as applications store them: BSON dates, numbers since 1970, and ISO 8601 text. Read as columns, written in the same form.

Unambiguous without any setting: a date, and text with an offset. A number is a time only in the unit that is given, and only
where it cannot be one of another unit: 1,700,000,000,000 is no number of seconds, and 1,700,000,000 none of milliseconds.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import bson
import numpy as np
import numpy.typing as npt
import polars as pl

from session_assets.moments import RANGES, local_moment, moment
from session_assets.stores.bson_batch import Batch, Places
from session_assets.stores.bson_documents import NULL, decoded
from session_assets.stores.bson_views import STRING, text_column

DOUBLE, DATE, INT32, INT64 = 1, 9, 16, 18
_NUMBERS = (DOUBLE, INT32, INT64)
FIRST_MS, LAST_MS = -62135596800000, 253402300799999  # year 1, and 9999-12-31: what all readers of the results can hold
_ISO = re.compile(
    r"\s*(?P<day>\d{4}-\d\d-\d\d)(?P<gap>[Tt ])(?P<minute>\d\d:\d\d)(?P<second>:\d\d)?(?P<fraction>[.,]\d{1,9})?"
    r"(?P<space> ?)(?P<zone>[Zz]|[+-](?:[01]\d|2[0-3]):?[0-5]\d)?\s*"
)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Times:
    """How a field's times are read. `unit`: s, ms, us, or iso where no number is a time. `zone`: of text without an offset.

    `any_date`: a date that no reader of the results can hold (year 20,000) is null, and not malformed.
    """

    unit: str = "s"
    zone: str | None = None
    any_date: bool = False


SECONDS = Times()


def dates(batch: Batch, place: Places, name: str) -> pl.Series:
    """BSON dates → Datetime(ms, UTC)."""
    millis, rows = np.zeros(len(batch), np.int64), place.rows(DATE)
    millis[rows] = batch.i64[place.values[rows]]
    frame = pl.DataFrame({"ms": millis, "is_date": place.kinds == DATE})
    date = pl.when(pl.col("is_date") & pl.col("ms").is_between(FIRST_MS, LAST_MS)).then("ms")
    return frame.select(_utc(date).alias(name)).to_series()


def moments(batch: Batch, place: Places, name: str, times: Times) -> pl.Series:
    """Dates, numbers and texts → Datetime(ms, UTC), null where a value is no time."""
    column = dates(batch, place, name)
    if column.null_count() == 0:
        return column
    columns, forms = [column], [pl.col(name)]
    if times.unit != "iso" and np.isin(place.kinds, _NUMBERS).any():
        columns.append(pl.Series("number", floats(batch, place)))
        forms.append(_from_number(pl.col("number"), times.unit))
    if (place.kinds == STRING).any():
        columns.append(text_column(batch, place, "text"))
        forms.append(moment(pl.col("text"), "iso"))
        if times.zone is not None:
            forms.append(local_moment(pl.col("text"), times.zone))
    return pl.DataFrame(columns).select(pl.coalesce(forms).alias(name)).to_series() if len(forms) > 1 else column


def floats(batch: Batch, place: Places) -> npt.NDArray[np.float64]:
    """Numbers of any type as doubles, NaN where there is none."""
    values = np.full(len(batch), np.nan)
    for kind, window in ((DOUBLE, batch.f64), (INT32, batch.i32), (INT64, batch.i64)):
        rows = place.rows(kind)
        values[rows] = window[place.values[rows]]
    return values


def _utc(millis: pl.Expr) -> pl.Expr:
    return millis.cast(pl.Datetime("ms")).dt.replace_time_zone("UTC")


def _from_number(column: pl.Expr, unit: str) -> pl.Expr:
    """Epoch numbers to milliseconds. Seconds as Python and BSON do it: rounded to µs, then cut to ms."""
    first, end = RANGES[unit]
    usable = pl.when(column.is_finite() & column.is_between(first, end, closed="left")).then(column)
    whole = usable.floor()
    if unit != "s":
        return _utc(whole.cast(pl.Int64) // (1 if unit == "ms" else 1000))
    micros = ((usable - whole) * 1e6).round(0, mode="half_to_even").cast(pl.Int64)
    millis = whole.cast(pl.Int64) * 1000 + micros // 1000
    return _utc(pl.when(millis.is_between(FIRST_MS, LAST_MS)).then(millis))


# -- writing -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class TimeForm:
    """How a document writes a time: `kind` is a BSON type; `text` an example, if it is text."""

    kind: int = DATE
    text: str = ""


def time_form(element: bytes | None, times: Times) -> TimeForm | None:
    """The form of a stored time; None where the field is absent or null, or holds no time."""
    if element is None or element[0] == NULL:
        return None
    kind = element[0]
    if kind == DATE or (kind in _NUMBERS and times.unit != "iso"):
        return TimeForm(kind)
    if kind != STRING:
        return None
    (text,) = decoded(element).values()
    found = _ISO.fullmatch(text)
    return TimeForm(STRING, text) if found and (found["zone"] or times.zone) else None


def default_form(times: Times) -> TimeForm:
    """The form where a document holds no time: a date, or a number if a mapping says that numbers are times."""
    return TimeForm(DATE if times.unit == "iso" else INT64)


def written(value: datetime, form: TimeForm, times: Times) -> object:
    """A time (UTC, whole ms) in a form; reading it gives the same time."""
    if form.kind == STRING:
        return _as_text(value, form.text, times.zone)
    if form.kind == DATE:
        return value
    millis = (value - _EPOCH) // timedelta(milliseconds=1)
    first, end = RANGES[times.unit]
    number = {"s": millis / 1000, "ms": millis, "us": millis * 1000}[times.unit]
    if not first <= number < end:
        return value  # before 1973: no number of this unit says it
    if form.kind == DOUBLE or number != int(number):
        return float(number)
    return int(number) if form.kind == INT32 and abs(number) < 2**31 else bson.Int64(int(number))


def _as_text(value: datetime, example: str, zone: str | None) -> str:
    """A time as text like an example: its offset, separator, and digits, or more digits if it needs them."""
    found = _ISO.fullmatch(example)
    assert found is not None, "time_form says which texts are times"
    moved, offset = _moved(value, found["zone"], zone)
    milliseconds = f"{moved.microsecond // 1000:03d}000000"
    digits = len(found["fraction"]) - 1 if found["fraction"] else 0
    if milliseconds[digits:].strip("0"):
        digits = 3
    mark = found["fraction"][0] if found["fraction"] else "."
    fraction = f"{mark}{milliseconds[:digits]}" if digits else ""
    seconds = f":{moved.second:02d}" if found["second"] or fraction or moved.second else ""
    day = f"{moved.year:04d}-{moved.month:02d}-{moved.day:02d}"
    return f"{day}{found['gap']}{moved.hour:02d}:{moved.minute:02d}{seconds}{fraction}{found['space']}{offset}"


def _moved(value: datetime, offset: str | None, zone: str | None) -> tuple[datetime, str]:
    """A time as the clocks of an offset or a zone show it, and the offset to write; in UTC if those cannot say it."""
    try:
        if offset is None:
            moved = value.astimezone(ZoneInfo(zone or "UTC"))
            if moved.replace(fold=0).utcoffset() == moved.replace(fold=1).utcoffset():  # else an hour that comes twice
                return moved, ""
        elif offset not in ("Z", "z"):
            hours, minutes = int(offset[1:3]), int(offset[-2:])
            shift = timedelta(hours=hours, minutes=minutes) * (-1 if offset[0] == "-" else 1)
            return value.astimezone(timezone(shift)), offset
        else:
            return value, offset
    except OverflowError:  # in the years 1 and 9999
        pass
    return value, "Z"
