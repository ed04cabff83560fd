"""Documents as bytes: taken apart, put together and patched as a server would, without losing a type."""

from __future__ import annotations

from typing import Any

import pytest
from bson.raw_bson import RawBSONDocument
from hypothesis import given
from hypothesis import strategies as st
from pymongo.collection import Collection

from session_assets.stores.bson_documents import (
    RAW_VALUES,
    elements,
    from_elements,
    id_element,
    id_of,
    id_value,
    key_of,
    patched,
    split,
    to_extended_json,
)
from session_assets_tests.counts import examples
from session_assets_tests.stores.scenario import NAMES, VALUES, documents, element, fields_of, insert, stored, text


@examples(120)
@given(documents())
def test_taking_a_document_apart_loses_nothing(document: bytes) -> None:
    assert from_elements(elements(document).values()) == document


@examples(60)
@given(st.lists(documents(), max_size=5))
def test_a_batch_is_cut_into_its_documents(whole: list[bytes]) -> None:
    assert split(b"".join(whole)) == whole


@st.composite
def changes(draw: st.DrawFn) -> tuple[bytes, bytes, list[str]]:
    document = draw(documents(1))
    present = [name for name in elements(document) if name not in ("_id", "") and "." not in name]
    old = st.sampled_from(present) if present else st.nothing()
    names = draw(st.lists(st.one_of(old, NAMES), unique=True, max_size=8))
    kept = draw(st.integers(0, len(names)))
    after = fields_of((name, draw(VALUES)) for name in names[:kept])
    return document, after, names[kept:]


@examples(120)
@given(change=changes())
def test_a_patch_is_what_a_server_makes_of_set_and_unset(
    collection: Collection[Any], change: tuple[bytes, bytes, list[str]]
) -> None:
    before, after, removed = change
    assert _on_server(collection, before, after, removed) == patched(before, after, removed)


@pytest.mark.parametrize(
    "names", [["2", "10", "1a", "100", "9", "0", "01", "00", "1"], ["b", "B", "é", "a", "1x", "12"]]
)
def test_new_fields_are_appended_in_the_order_of_servers(collection: Collection[Any], names: list[str]) -> None:
    before, after = fields_of([("_id", (10, b""))]), fields_of((name, (10, b"")) for name in names)
    assert _on_server(collection, before, after, []) == patched(before, after, [])


@pytest.mark.parametrize(("changed", "removed"), [(["a"], []), ([], ["a"]), (["c", "a"], ["b"])])
def test_of_a_repeated_name_the_first_is_patched(
    collection: Collection[Any], changed: list[str], removed: list[str]
) -> None:
    before = from_elements([element(8, "_id", b"\1"), *(element(8, name, b"\0") for name in "abab")])
    after = fields_of((name, (8, b"\1")) for name in changed)
    assert _on_server(collection, before, after, removed) == patched(before, after, removed)


@examples(120)
@given(documents())
def test_a_key_stands_for_one_id(collection: Collection[Any], document: bytes) -> None:
    collection.delete_many({})
    insert(collection, [document])
    assert stored(collection) == {key_of(document): document}
    raw = collection.with_options(codec_options=RAW_VALUES)
    for one in (id_of(key_of(document)), id_value(document)):
        found = raw.find_one({"_id": {"$in": [one]}})
        assert found is not None
        assert found.raw == document


def test_keys_of_different_types_differ() -> None:
    values = [(16, b"\5\0\0\0"), (18, b"\5" + b"\0" * 7), (2, text("5")), (1, b"\0" * 6 + b"\x14\x40"), (10, b"")]
    assert len({key_of(fields_of([("_id", value)])) for value in values}) == len(values)


def test_the_key_of_an_object_id_is_canonical_extended_json() -> None:
    document = fields_of([("_id", (7, bytes(range(12)))), ("_i", (8, b"\0"))])
    assert key_of(document) == '{"$oid":"000102030405060708090a0b"}'
    assert id_element(document) == elements(document)["_id"]


def test_text_that_is_not_utf8_can_be_shown() -> None:
    document = from_elements([element(2, "_id", b"\3\0\0\0\xff\xfe\0"), element(16, "n", b"\1\0\0\0")])
    assert "$numberInt" in to_extended_json(document)
    assert key_of(document)
    assert elements(from_elements([b"\x08\xff\0\1"])) == {"\udcff": b"\x08\xff\0\1"}


def _on_server(collection: Collection[Any], before: bytes, after: bytes, removed: list[str]) -> bytes:
    collection.delete_many({})
    insert(collection, [before])
    change: dict[str, Any] = {"$set": RawBSONDocument(after, RAW_VALUES)} if len(after) > 5 else {}
    if removed:
        change["$unset"] = dict.fromkeys(removed, "")
    if change:
        collection.update_one({}, change)
    return next(iter(stored(collection).values()))
