"""When two documents of Cosmos DB are the same, and how they are kept and addressed."""

from __future__ import annotations

from typing import Any

import pytest

from session_assets.stores.cosmos_documents import UNDEFINED, decode, encode, partition_value, plain, same
from session_assets_tests.stores.cosmos_scenario import put, sessions_of


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        (1, 1.0, True),
        (1e17, 100000000000000000, True),
        (True, 1, False),
        (False, 0, False),
        (None, False, False),
        ("1", 1, False),
        ({"a": 1, "b": [2]}, {"b": [2.0], "a": 1}, True),
        ({"a": None}, {}, False),
        ([1, 2], [2, 1], False),
        ([True], [1], False),
        ("é", "e\u0301", False),
        (9007199254740993, 9007199254740992, False),
    ],
)
def test_same_is_equality_of_json_values(one: Any, other: Any, expected: bool) -> None:
    assert same(one, other) is expected
    assert same(other, one) is expected


def test_documents_survive_as_bytes_in_their_order() -> None:
    documents = [{"b": "\ud800 \u2028 é", "a": [1.5, None, True, {}]}, {}]
    assert decode(encode(documents)) == documents
    assert list(decode(encode(documents))[0]) == ["b", "a"]
    with pytest.raises(ValueError, match="Out of range float"):
        encode([{"a": float("nan")}])


def test_fields_of_the_server_are_taken_off() -> None:
    assert plain({"id": "1", "_ts": 1, "_own": 2, "_etag": "e"}) == {"id": "1", "_own": 2}


def test_values_of_nested_and_missing_paths() -> None:
    document = {"a": {"b": None}, "c": 1}
    assert partition_value(document, "/a/b") is None
    assert partition_value(document, "/c") == 1
    assert partition_value(document, "/c/d") is UNDEFINED
    assert partition_value(document, "/x") is UNDEFINED


def test_documents_with_a_null_key_or_none_are_found(cosmos: dict[str, str]) -> None:
    sessions = sessions_of(cosmos)
    null, missing = {"id": "null", "user_id": None}, {"id": "missing"}
    put(sessions, null, missing)
    for one in (null, missing):
        found = sessions.read(one["id"] or "", sessions.partition_value(one))
        assert found is not None
        assert plain(found) == one
    assert sessions.read("absent", "a@example.com") is None
