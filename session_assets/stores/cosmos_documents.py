"""Documents of Cosmos DB: JSON, kept as bytes in change sets, and what it means for two of them to be the same.

Cosmos DB knows one kind of number, keeps no order of keys that anybody could rely on, and adds fields of its own.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

Document = dict[str, Any]
SYSTEM_FIELDS = ("_rid", "_self", "_etag", "_attachments", "_ts")


class Undefined:
    """The value of a partition key path that a document does not have."""

    def __repr__(self) -> str:
        return "undefined"


UNDEFINED = Undefined()


def plain(document: Mapping[str, Any]) -> Document:
    """The document without the fields that the server sets, in its order."""
    return {name: value for name, value in document.items() if name not in SYSTEM_FIELDS}


def encode(documents: Sequence[Mapping[str, Any]]) -> bytes:
    """Compact JSON in ASCII, so that text which is no valid Unicode survives; raises ValueError for NaN."""
    return json.dumps(documents, separators=(",", ":"), allow_nan=False).encode()


def decode(data: bytes) -> list[Document]:
    """What `encode` made bytes of."""
    return json.loads(data)


def same(one: object, other: object) -> bool:
    """Whether two JSON values are equal: order of keys does not count, 1 is 1.0, but true is not 1."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(value, other[name]) for name, value in one.items())
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, float) and isinstance(other, int):  # the server writes 1e17 as an integer
        return one == float(other)
    if isinstance(one, int) and isinstance(other, float):
        return float(one) == other
    return one == other


def partition_value(document: Mapping[str, Any], path: str) -> Any:
    """The value at a partition key path such as `/user_id` or `/a/b`; `UNDEFINED` where there is none."""
    value: Any = document
    for name in path.strip("/").split("/"):
        if not isinstance(value, Mapping) or name not in value:
            return UNDEFINED
        value = value[name]
    return value
