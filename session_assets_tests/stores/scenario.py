"""Random BSON as bytes, every type of it, and a collection to put it in as it is."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from typing import Any

from bson import Decimal128
from bson.raw_bson import RawBSONDocument
from hypothesis import strategies as st
from pymongo.collection import Collection

from session_assets.stores.bson_documents import RAW_VALUES, from_elements, key_of, split

INT64 = st.integers(-(2**63), 2**63 - 1)
DECIMALS = ["0", "-0", "1", "1.0", "1.00", "NaN", "Infinity", "-Infinity", "-12.5E+30", "1E-6176"]
NAMES = st.one_of(
    st.sampled_from(
        ["a", "b", "B", "é", "日本", "2", "10", "1a", "100", "01", "0", " ", "user_id", "a b", "\U0001f600"]
    ),
    st.text(st.characters(exclude_characters="\0$.", exclude_categories=["Cs"]), min_size=1, max_size=4),
)
"""Names that `$set` takes."""
STORED_NAMES = st.one_of(NAMES, st.sampled_from(["", "a.b", "_id_"]))
"""Names that a stored document may have."""


def element(kind: int, name: str, payload: bytes = b"") -> bytes:
    """One BSON element."""
    return bytes([kind]) + name.encode() + b"\0" + payload


def text(value: str) -> bytes:
    """The payload of a string."""
    data = value.encode() + b"\0"
    return struct.pack("<i", len(data)) + data


def _binary(subtype: int, data: bytes) -> bytes:
    if subtype == 2:
        data = struct.pack("<i", len(data)) + data
    return struct.pack("<i", len(data)) + bytes([subtype]) + data


def _regex(pattern: str, options: list[str]) -> bytes:
    return pattern.encode() + b"\0" + "".join(sorted(options)).encode() + b"\0"


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
_PLAIN = TEXTS.filter(lambda value: "\0" not in value)
ID_SCALARS = st.one_of(
    st.tuples(st.just(1), st.floats().map(lambda value: struct.pack("<d", value))),
    st.tuples(st.just(1), st.sampled_from([0.0, -0.0, 1.0, float("nan"), 5.0]).map(lambda v: struct.pack("<d", v))),
    st.tuples(st.just(2), TEXTS.map(text)),
    st.tuples(st.just(5), st.builds(_binary, st.sampled_from([0, 2, 3, 4, 5, 128, 255]), st.binary(max_size=17))),
    st.tuples(st.just(7), st.binary(min_size=12, max_size=12)),
    st.tuples(st.just(8), st.sampled_from([b"\0", b"\1"])),
    st.tuples(st.just(9), INT64.map(lambda value: struct.pack("<q", value))),
    st.tuples(st.just(9), st.integers(0, 2**41).map(lambda value: struct.pack("<q", value))),
    st.tuples(st.just(10), st.just(b"")),
    st.tuples(st.just(13), TEXTS.map(text)),
    st.tuples(st.just(16), st.integers(-(2**31), 2**31 - 1).map(lambda value: struct.pack("<i", value))),
    st.tuples(st.just(16), st.integers(-2, 6).map(lambda value: struct.pack("<i", value))),
    st.tuples(st.just(17), st.integers(1, 2**64 - 1).map(lambda value: struct.pack("<Q", value))),
    st.tuples(st.just(18), INT64.map(lambda value: struct.pack("<q", value))),
    st.tuples(st.just(19), st.sampled_from(DECIMALS).map(lambda value: Decimal128(value).bid)),
    st.tuples(st.sampled_from([127, 255]), st.just(b"")),
)
"""Types that `_id` may have, besides documents."""
SCALARS = st.one_of(
    ID_SCALARS,
    st.tuples(st.just(6), st.just(b"")),  # undefined
    st.tuples(st.just(11), st.builds(_regex, _PLAIN, st.lists(st.sampled_from("imsx"), unique=True))),
    st.tuples(st.just(12), st.builds(lambda name, oid: text(name) + oid, TEXTS, st.binary(min_size=12, max_size=12))),
    st.tuples(st.just(14), TEXTS.map(text)),  # symbol
)


def _document(fields: list[tuple[str, tuple[int, bytes]]]) -> bytes:
    return from_elements(element(kind, name, payload) for name, (kind, payload) in fields)


def _nested(values: st.SearchStrategy[tuple[int, bytes]]) -> st.SearchStrategy[tuple[int, bytes]]:
    fields = st.lists(st.tuples(STORED_NAMES, values), max_size=3, unique_by=lambda field: field[0]).map(_document)
    array = st.lists(values, max_size=3).map(
        lambda items: _document([(str(number), item) for number, item in enumerate(items)])
    )
    scope = st.tuples(TEXTS.map(text), fields).map(
        lambda both: struct.pack("<i", 4 + len(both[0]) + len(both[1])) + both[0] + both[1]
    )
    return st.one_of(st.tuples(st.just(3), fields), st.tuples(st.just(4), array), st.tuples(st.just(15), scope))


VALUES = st.recursive(SCALARS, _nested, max_leaves=5)
"""Any value, as its type byte and its payload."""
IDS = st.one_of(
    ID_SCALARS,
    st.lists(
        st.tuples(st.sampled_from(["a", "b", "", "é"]), ID_SCALARS), max_size=2, unique_by=lambda field: field[0]
    ).map(lambda fields: (3, _document(fields))),
)
"""Any `_id`, as its type byte and its payload."""


@st.composite
def documents(draw: st.DrawFn, number: int | None = None, names: st.SearchStrategy[str] = STORED_NAMES) -> bytes:
    """A stored document; its `_id` is `number`, else of any type."""
    kind, payload = draw(IDS) if number is None else (16, struct.pack("<i", number))
    fields = draw(st.lists(st.tuples(names, VALUES), max_size=5, unique_by=lambda field: field[0]))
    return _document([("_id", (kind, payload)), *((name, value) for name, value in fields if name != "_id")])


def fields_of(fields: Iterable[tuple[str, tuple[int, bytes]]]) -> bytes:
    """A document of named values."""
    return _document(list(fields))


def insert(collection: Collection[Any], whole: Iterable[bytes]) -> None:
    """Store documents as they are, byte for byte."""
    raw = [RawBSONDocument(document, RAW_VALUES) for document in whole]
    if raw:
        collection.insert_many(raw)


def stored(collection: Collection[Any]) -> dict[str, bytes]:
    """All documents as bytes, by key."""
    raw = collection.with_options(codec_options=RAW_VALUES)
    return {key_of(one): one for batch in raw.find_raw_batches({}) for one in split(batch)}
