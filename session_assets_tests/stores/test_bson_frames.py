"""Raw batches as typed frames: each value as plain Python decodes it, and what cannot be read is marked, never lost."""

from __future__ import annotations

import math
import struct
from datetime import UTC, datetime, timedelta
from typing import Any

import bson
import polars as pl
import pytest
from bson.codec_options import CodecOptions, DatetimeConversion
from hypothesis import given
from hypothesis import strategies as st

from session_assets.stores import bson_batch, bson_frames
from session_assets.stores.bson_documents import elements, from_elements
from session_assets.stores.bson_frames import Field, Kind, read_frame
from session_assets_tests.counts import examples
from session_assets_tests.stores.scenario import INT64, VALUES, element, text

NAMES = ("page", "user_id", "timestamp", "at", "n")
FIELDS = (
    Field("page", Kind.TEXT, strict=True),
    Field("user_id", Kind.ID, strict=True),
    Field("timestamp", Kind.MOMENT, strict=True),
    Field("at", Kind.DATE, strict=True),
    Field("n", Kind.NUMBER, strict=True),
    Field("pages", Kind.TEXTS, strict=True),
)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
LAST_MS = 253402300799999

ALIKE = st.sampled_from(["x\npage", "/homepage", "\nuser_id\0", "page\0", "\x08n", "\x08timestamp\0", "at", "", "a\0b"])
FITTING = st.one_of(
    st.tuples(st.just(2), ALIKE.map(text)),
    st.tuples(st.just(7), st.binary(min_size=12, max_size=12)),
    st.tuples(st.just(9), st.integers(-62135596800000 - 2, LAST_MS + 2).map(lambda value: struct.pack("<q", value))),
    st.tuples(st.just(1), st.floats(-62135596900, 253402300900).map(lambda value: struct.pack("<d", value))),
    st.tuples(st.just(1), st.floats(1.6e9, 1.8e9).map(lambda value: struct.pack("<d", value))),
    st.tuples(
        st.just(1), st.sampled_from([math.nan, math.inf, -math.inf, 1e300, -1.5]).map(lambda v: struct.pack("<d", v))
    ),
    st.tuples(st.just(16), st.integers(-5, 5).map(lambda value: struct.pack("<i", value))),
    st.tuples(st.just(18), INT64.map(lambda value: struct.pack("<q", value))),
    st.tuples(st.just(8), st.sampled_from([b"\0", b"\1"])),
    st.tuples(st.just(10), st.just(b"")),
    st.tuples(
        st.just(4),
        st.lists(ALIKE, max_size=3).map(
            lambda items: from_elements(element(2, str(number), text(item)) for number, item in enumerate(items))
        ),
    ),
    st.tuples(st.just(3), st.sampled_from(NAMES).map(lambda name: from_elements([element(10, name)]))),
)


@st.composite
def batches(draw: st.DrawFn) -> list[bytes]:
    names = [*NAMES, "pages", *(["other", "page_", "_at"] if draw(st.booleans()) else [])]
    different = [
        from_elements(
            element(kind, name, payload)
            for name in draw(st.permutations(names))
            if draw(st.integers(0, 5))
            for kind, payload in [draw(st.one_of(FITTING, FITTING, VALUES))]
        )
        for _ in range(draw(st.integers(1, 6)))
    ]
    return different + draw(st.lists(st.sampled_from(different), max_size=9))


@pytest.fixture(params=["one by one", "all at a time"], autouse=True)
def how_few_are_walked(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Small batches are walked document by document: the second half of each test takes the way of large ones."""
    if request.param == "all at a time":
        monkeypatch.setattr(bson_batch, "_FEW", 0)
        monkeypatch.setattr(bson_frames, "_ALONE", 0)


@examples(200)
@given(st.lists(batches(), min_size=1, max_size=3))
def test_each_value_is_as_plain_python_decodes_it_whatever_came_before(given_batches: list[list[bytes]]) -> None:
    for documents in given_batches:
        frame = read_frame(b"".join(documents), FIELDS)
        rows = [_expected(document) for document in documents]
        assert frame.height == len(rows)
        for name in rows[0]:
            found = frame[name].to_list()
            assert (found if name != "pages" else [pages or None for pages in found]) == [row[name] for row in rows], (
                name
            )


@pytest.mark.parametrize(
    "document", [{"page": {"page": None}}, {"page": 5, "x": "a\npage"}, {"page": 5, "x": {"page": None}}]
)
def test_a_malformed_value_is_seen_beside_bytes_that_look_like_a_null(document: dict[str, Any]) -> None:
    frame = read_frame(bson.encode(document), (Field("page", Kind.TEXT, strict=True),))
    assert frame["malformed"].to_list() == [True]


def test_a_null_and_a_missing_field_are_not_malformed() -> None:
    batch = bson.encode({"page": None}) + bson.encode({"x": 1}) + from_elements([element(6, "page")])
    assert read_frame(batch, (Field("page", Kind.TEXT, strict=True),))["malformed"].to_list() == [False] * 3


@pytest.mark.parametrize("kind", [Kind.TEXT, Kind.ID])
def test_text_that_is_not_utf8_is_malformed(kind: Kind) -> None:
    bad = from_elements([element(2, "f", b"\3\0\0\0\xff\xfe\0")])
    frame = read_frame(bson.encode({"f": "é"}) + bad, (Field("f", kind, strict=True),))
    assert frame["f"].to_list() == ["é", None]
    assert frame["malformed"].to_list() == [False, True]


def test_text_that_is_not_utf8_in_a_list_is_null() -> None:
    inner = from_elements([element(2, "0", b"\3\0\0\0\xff\xfe\0"), element(2, "1", text("/a"))])
    frame = read_frame(from_elements([element(4, "pages", inner)]) + bson.encode({}), (Field("pages", Kind.TEXTS),))
    assert frame["pages"].to_list() == [[None, "/a"], None]


def test_of_a_repeated_name_the_first_value_counts_and_the_other_rows_stay_in_place() -> None:
    twice = from_elements([element(2, "f", text("x")), element(2, "f", text("y")), element(2, "g", text("1"))])
    batch = twice + bson.encode({"f": "q", "g": "2"}) + bson.encode({"f": "r", "g": "3"})
    frame = read_frame(batch, (Field("f", Kind.TEXT), Field("g", Kind.TEXT)))
    assert frame.select("f", "g").rows() == [("x", "1"), ("q", "2"), ("r", "3")]


def test_the_columns_are_the_same_whatever_the_documents_hold() -> None:
    schemas = [
        read_frame(bson.encode(one), FIELDS).schema for one in ({}, {"page": "/a", "timestamp": 5}, {"user_id": 1})
    ]
    assert schemas[0] == schemas[1] == schemas[2]
    assert schemas[0]["timestamp"] == pl.Datetime("ms", "UTC")


def _expected(document: bytes) -> dict[str, Any]:
    parts = elements(document)
    row: dict[str, Any] = {}
    malformed = False
    for field in FIELDS:
        part = parts.get(field.name)
        kind = None if part is None or part[0] in (6, 10) else part[0]
        value = None if kind is None or part is None else _value(field.kind, kind, part)
        if field.kind is Kind.TEXTS:
            value = value or None  # of another type it may be empty or null
        row[field.name] = value
        if field.kind is Kind.ID:
            row[f"{field.name}_kind"] = "null" if value is None else "objectid" if kind == 7 else "string"
        if field.kind is Kind.TEXTS and part is not None and kind is not None:
            items = elements(part[part.index(0) + 1 :]).values() if kind == 4 else ()
            odd = [item for item in items if item[0] not in (6, 10) and _value(Kind.TEXT, item[0], item) is None]
            malformed = malformed or kind != 4 or bool(odd)
        else:
            malformed = malformed or (field.strict and kind is not None and value is None)
    return row | {"malformed": malformed}


def _value(wanted: Kind, kind: int, part: bytes) -> Any:
    options: CodecOptions[Any] = CodecOptions(datetime_conversion=DatetimeConversion.DATETIME_MS)
    value = next(iter(bson.decode(from_elements([part]), options).values()))
    number = float(value) if kind in (1, 16, 18) else None
    match wanted:
        case Kind.TEXT:
            return value if kind == 2 else None
        case Kind.ID:
            return str(value) if kind in (2, 7) else None
        case Kind.NUMBER:
            return None if number is None or math.isnan(number) else number
        case Kind.TEXTS:
            items = elements(part[part.index(0) + 1 :]).values() if kind == 4 else ()
            return [_value(Kind.TEXT, item[0], item) for item in items]
        case Kind.DATE:
            return _date(int(value)) if kind == 9 else None
        case Kind.MOMENT if kind == 9:
            return _date(int(value))
        case Kind.MOMENT:
            try:  # from 1e11 on it may be milliseconds
                moment = None if number is None or number >= 1e11 else EPOCH + timedelta(seconds=number)
            except (OverflowError, ValueError):
                return None
            return moment and moment.replace(microsecond=moment.microsecond // 1000 * 1000)


def _date(millis: int) -> datetime | None:
    try:
        return EPOCH + timedelta(milliseconds=millis)
    except OverflowError:
        return None
