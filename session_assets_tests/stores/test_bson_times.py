"""Times in every form that an application may store: read without a guess, and written in the form that was there."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import bson
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from session_assets.stores.bson_documents import elements
from session_assets.stores.bson_frames import Field, Kind, read_frame
from session_assets.stores.bson_shapes import other_times, with_times_as_stored
from session_assets.stores.bson_times import Times, time_form, written

MOMENT = datetime(2025, 6, 1, 10, tzinfo=UTC)
EXAMPLES = [
    "2025-01-01T00:00:00Z", "2025-01-01 00:00z", "2025-01-01t00:00:00.5+02:00", "2025-01-01T00:00:00,123456-0330",
    "2025-01-01 00:00:00.000 +05:30", "2025-01-01T00:00:00.123456789Z", " 2025-01-01T00:00+00:00 ",
]  # fmt: skip
LOCAL = ["2025-01-01T00:00:00", "2025-01-01 00:00", "2025-01-01T00:00:00.123456"]
MILLIS = st.integers(0, 4_000_000_000_000)
VALUES = [MOMENT, 1.5, 3, bson.Int64(5)]


def read(value: object, times: Times) -> datetime | None:
    frame = read_frame(bson.encode({"t": value}), (Field("t", Kind.MOMENT, strict=True, times=times),))
    assert frame["malformed"][0] == (frame["t"][0] is None)
    return frame["t"][0]


@given(
    millis=MILLIS,
    example=st.sampled_from([*VALUES, *EXAMPLES, *LOCAL]),
    unit=st.sampled_from(["s", "ms", "us", "iso"]),
    zone=st.sampled_from([None, "Europe/London", "Asia/Kolkata", "UTC"]),
)
def test_what_is_written_reads_as_the_same_moment(millis: int, example: object, unit: str, zone: str | None) -> None:
    times, moment = Times(unit, zone), datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=millis)
    form = time_form(elements(bson.encode({"t": example}))["t"], times)
    if form is None:
        assert example in LOCAL or (unit == "iso" and example in VALUES)
        return
    value = written(moment, form, times)
    assert read(value, times) == moment
    numeric = isinstance(example, int | float)
    assert isinstance(value, str | datetime if isinstance(example, str) else int | float | datetime)
    assert isinstance(value, type(example)) or numeric


@pytest.mark.parametrize(
    ("example", "moment", "text"),
    [
        ("2025-01-01T00:00:00Z", MOMENT, "2025-06-01T10:00:00Z"),
        ("2025-01-01T00:00:00+02:00", MOMENT, "2025-06-01T12:00:00+02:00"),
        ("2025-01-01 00:00 -0330", MOMENT, "2025-06-01 06:30 -0330"),
        ("2025-01-01T00:00:00.000000Z", MOMENT, "2025-06-01T10:00:00.000000Z"),
        ("2025-01-01T00:00:00Z", MOMENT + timedelta(milliseconds=7), "2025-06-01T10:00:00.007Z"),
        ("2025-01-01T00:00:00.5Z", MOMENT + timedelta(milliseconds=250), "2025-06-01T10:00:00.250Z"),
        ("2025-01-01T00:00:00", MOMENT, "2025-06-01T11:00:00"),
        ("2025-01-01T00:00:00", datetime(2025, 10, 26, 0, 30, tzinfo=UTC), "2025-10-26T00:30:00Z"),  # 01:30 comes twice
    ],
)
def test_text_keeps_its_offset_separator_and_digits(example: str, moment: datetime, text: str) -> None:
    times = Times("iso", "Europe/London")
    form = time_form(elements(bson.encode({"t": example}))["t"], times)
    assert form is not None and written(moment, form, times) == text


@pytest.mark.parametrize(
    ("value", "times", "expected"),
    [
        (1_748_772_000, Times(), MOMENT),
        (1_748_772_000_000, Times(), None),
        (1_748_772_000_000.0, Times("ms"), MOMENT),
        (1_748_772_000, Times("ms"), None),
        (1_748_772_000_000_000, Times("us"), MOMENT),
        (1_748_772_000_000, Times("us"), None),
        (1_748_772_000, Times("iso"), None),
        ("2025-06-01T10:00:00Z", Times(), MOMENT),
        ("2025-06-01T10:00:00", Times(), None),
        ("2025-06-01T11:00:00", Times("iso", "Europe/London"), MOMENT),
        ("2025-10-26T01:30:00", Times("iso", "Europe/London"), None),  # comes twice
        ("2025-03-30T01:30:00", Times("iso", "Europe/London"), None),  # never comes
        ("2025-06-01", Times("iso", "Europe/London"), None),
        ("1748772000", Times(), None),
        ("soon", Times("iso", "UTC"), None),
        (True, Times(), None),
    ],
)
def test_what_could_mean_several_moments_means_none(value: object, times: Times, expected: datetime | None) -> None:
    assert read(value, times) == expected


@pytest.mark.parametrize(
    ("document", "unit", "expected"),
    [
        ({"a": "2025-01-01T00:00:00Z"}, "iso", "2025-06-01T10:00:00Z"),
        ({"a": None, "b": "2025-01-01T00:00:00Z"}, "iso", "2025-06-01T10:00:00Z"),
        ({"a": MOMENT, "b": "2025-01-01T00:00:00Z"}, "iso", MOMENT),
        ({"b": bson.Int64(5)}, "ms", bson.Int64(1_748_772_000_000)),
        ({}, "iso", MOMENT),
        ({}, "ms", bson.Int64(1_748_772_000_000)),
        ({"a": "soon"}, "iso", MOMENT),
    ],
)
def test_a_missing_time_takes_the_form_of_the_times_beside_it(
    document: dict[str, Any], unit: str, expected: object
) -> None:
    fields = {"a": MOMENT, "n": 3}
    found = with_times_as_stored(fields, bson.encode(document), ("a", "b"), Times(unit))
    assert found == {"a": expected, "n": 3} and type(found["a"]) is type(expected)


def test_documents_with_other_times_than_dates_are_found() -> None:
    documents = [{"a": MOMENT}, {"a": None}, {}, {"b": "2025"}, {"a": MOMENT, "b": 5}, {"c": 5}]
    assert other_times(pl.Series([bson.encode(one) for one in documents]), ("a", "b")) == {3, 4}
    assert other_times(pl.Series([], dtype=pl.Binary), ("a",)) == set()
