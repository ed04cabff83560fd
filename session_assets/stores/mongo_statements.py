"""Guarded update statements composed as bytes: building them as Python objects cost more than the server's own work.

    {q: {_id: …, $expr: {$and: [{$eq: ["$$ROOT", {$literal: before}]}, {$eq: [{$bsonSize: "$$ROOT"}, size]}]}},
     u: {$set: after, $unset: {…}} | after | [{$replaceWith: {$literal: after}}], collation: …}

The guard compares the whole document: fields, their order and values; the size tells most equal numbers of unequal type apart.

Trap: a server refuses a plain replacement that has a top-level name with `$`, and puts the time of day where it has a timestamp
of zeros at the top level. A pipeline does neither.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable

from session_assets.stores.bson_documents import elements, from_elements, id_element, named_elements

_INT = struct.Struct("<i")
_ARRAY, _TIMESTAMP, _ZEROS = 4, 17, bytes(8)
_ROOT = b"$$ROOT\x00"
_ROOT_FIRST = b"\x020\x00" + _INT.pack(len(_ROOT)) + _ROOT
_SIZE_OF_ROOT = b"\x030\x00" + from_elements([b"\x02$bsonSize\x00" + _INT.pack(len(_ROOT)) + _ROOT])


def guard(before: bytes) -> bytes:
    """The query that matches a document only where it is exactly `before`."""
    literal = _embedded(b"\x031\x00", [b"\x03$literal\x00" + before])
    same = _embedded(b"\x030\x00", [_embedded(b"\x04$eq\x00", [_ROOT_FIRST, literal])])
    size = b"\x101\x00" + _INT.pack(len(before))
    as_large = _embedded(b"\x031\x00", [_embedded(b"\x04$eq\x00", [_SIZE_OF_ROOT, size])])
    both = _embedded(b"\x03$expr\x00", [_embedded(b"\x04$and\x00", [same, as_large])])
    return from_elements([id_element(before), both])


def statement(op: str, before: bytes, after: bytes, removed: Iterable[str], collation: bytes | None) -> bytes:
    """One element of the `updates` of an update command; `op` is update or replace."""
    parts = [b"\x03q\x00" + guard(before), _update(op, after, removed)]
    if collation is not None:
        parts.append(b"\x03collation\x00" + collation)
    return from_elements(parts)


def unguarded(op: str, before: bytes, after: bytes, removed: Iterable[str]) -> bytes:
    """As `statement`, by `_id` alone: for a transaction that has compared the document itself."""
    return from_elements([b"\x03q\x00" + from_elements([id_element(before)]), _update(op, after, removed)])


def is_pipeline(one: bytes) -> bool:
    """Whether a statement updates by a pipeline."""
    return elements(one)["u"][0] == _ARRAY


def is_altered(document: bytes) -> bool:
    """Whether a server would refuse, or change, the document in a plain replacement."""
    if b"$" not in document and _ZEROS not in document:
        return False
    return any(name.startswith("$") or _is_zeros(element) for name, element in named_elements(document))


def _is_zeros(element: bytes) -> bool:
    return element[0] == _TIMESTAMP and element.endswith(_ZEROS)


def _update(op: str, after: bytes, removed: Iterable[str]) -> bytes:
    if op == "replace" and is_altered(after):
        replace = _embedded(b"\x03$replaceWith\x00", [b"\x03$literal\x00" + after])
        return _embedded(b"\x04u\x00", [_embedded(b"\x030\x00", [replace])])
    if op == "replace":
        return b"\x03u\x00" + after
    parts = [b"\x03$set\x00" + after] if len(after) > 5 else []
    names = [b"\x0a" + name.encode() + b"\x00" for name in removed]
    if names:
        parts.append(_embedded(b"\x03$unset\x00", names))
    return _embedded(b"\x03u\x00", parts)


def _embedded(name: bytes, parts: list[bytes]) -> bytes:
    return name + from_elements(parts)
