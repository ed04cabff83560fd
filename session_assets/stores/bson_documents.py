"""BSON documents as bytes: cut from wire batches, compared and patched without decoding, so that nothing is lost.

Decoding to Python and back would change deprecated types, out-of-range dates, and tell 5 from 5.0 apart only by luck.
Element layout: https://bsonspec.org/spec.html (version 1.1).
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable, Iterator
from typing import Any

import bson
from bson import json_util
from bson.codec_options import CodecOptions, DatetimeConversion
from bson.raw_bson import RawBSONDocument

CODEC: CodecOptions = CodecOptions(
    tz_aware=True, datetime_conversion=DatetimeConversion.DATETIME_AUTO, unicode_decode_error_handler="replace"
)
_JSON = json_util.JSONOptions(
    json_mode=json_util.JSONMode.CANONICAL, datetime_conversion=DatetimeConversion.DATETIME_MS
)
_RELAXED = json_util.JSONOptions(
    json_mode=json_util.JSONMode.RELAXED, datetime_conversion=DatetimeConversion.DATETIME_MS
)
_INT = struct.Struct("<i")
_FIXED = {1: 8, 6: 0, 7: 12, 8: 1, 9: 8, 10: 0, 16: 4, 17: 8, 18: 8, 19: 16, 127: 0, 255: 0}
LOWER_HEX = re.compile(r"[0-9a-f]{24}")
NULL = 10  # the type of an element that says null
OBJECT_ID_FIRST = b"\x07_id\x00"


def split(batch: bytes) -> list[bytes]:
    """The documents of a raw wire batch."""
    documents = []
    position, end = 0, len(batch)
    while position < end:
        size = _INT.unpack_from(batch, position)[0]
        documents.append(batch[position : position + size])
        position += size
    return documents


def elements(document: bytes) -> dict[str, bytes]:
    """Top-level elements by name, in order, each with its type byte and name; of a repeated name the first, as servers do."""
    result: dict[str, bytes] = {}
    for name, element in named_elements(document):
        result.setdefault(name, element)
    return result


def from_elements(parts: Iterable[bytes]) -> bytes:
    """The document made of elements."""
    body = b"".join(parts)
    return _INT.pack(len(body) + 5) + body + b"\x00"


def patched(before: bytes, after: bytes, removed: Iterable[str]) -> bytes:
    """What MongoDB's `$set` of `after` and `$unset` of `removed` make of a document.

    Fields keep their place; new ones are appended in the order of servers since 5.0.
    """
    parts: list[bytes] = []
    changed, gone = elements(after), set(removed)
    for name, element in named_elements(before):
        if name in gone:
            gone.remove(name)
        else:
            parts.append(changed.pop(name, element))
    return from_elements([*parts, *(changed[name] for name in sorted(changed, key=_append_order))])


def _append_order(name: str) -> tuple[str, int, str]:
    """Servers append new fields in lexicographic order, but names that begin with 1…9 the shorter first (2 before 10)."""
    return ("1", len(name.encode(errors="surrogateescape")), name) if "1" <= name[:1] <= "9" else (name, 0, "")


def id_element(document: bytes) -> bytes:
    """The `_id` element of a stored document."""
    if document[4:9] == OBJECT_ID_FIRST:
        return document[4:21]
    return elements(document)["_id"]


def id_value(document: bytes) -> object:
    """The `_id` of a stored document."""
    if document[4:9] == OBJECT_ID_FIRST:
        return bson.ObjectId(document[9:21])
    return bson.decode(from_elements([id_element(document)]), RAW_VALUES)["_id"]


RAW_VALUES: CodecOptions = CodecOptions(
    document_class=RawBSONDocument,
    tz_aware=True,
    datetime_conversion=DatetimeConversion.DATETIME_MS,
    unicode_decode_error_handler="replace",
)


def key_of(document: bytes) -> str:
    """The key of a change row: `_id` as canonical Extended JSON."""
    if document[4:9] == OBJECT_ID_FIRST:
        return f'{{"$oid":"{document[9:21].hex()}"}}'
    decoded = bson.decode(from_elements([id_element(document)]), CODEC)
    return json_util.dumps(decoded["_id"], json_options=_JSON, separators=(",", ":"))


def id_of(key: str) -> object:
    """The `_id` that a key stands for."""
    return json_util.loads(key, json_options=_JSON)


def to_extended_json(document: bytes, *, relaxed: bool = False) -> str:
    """Extended JSON of a document: canonical, or `relaxed` for people."""
    options = _RELAXED if relaxed else _JSON
    return json_util.dumps(bson.decode(document, CODEC), json_options=options)


def named_elements(document: bytes) -> Iterator[tuple[str, bytes]]:
    position = 4
    while document[position]:
        start, kind = position, document[position]
        name_end = document.index(0, position + 1)
        position = name_end + 1 + _value_size(document, kind, name_end + 1)
        yield document[start + 1 : name_end].decode(errors="surrogateescape"), document[start:position]


def _value_size(document: bytes, kind: int, start: int) -> int:
    if kind in _FIXED:
        return _FIXED[kind]
    if kind in (2, 13, 14):
        return 4 + _INT.unpack_from(document, start)[0]
    if kind in (3, 4, 15):
        return _INT.unpack_from(document, start)[0]
    if kind == 5:
        return 5 + _INT.unpack_from(document, start)[0]
    if kind == 12:
        return 16 + _INT.unpack_from(document, start)[0]
    if kind == 11:
        return document.index(0, document.index(0, start) + 1) + 1 - start
    raise ValueError(f"unknown BSON type {kind}")


def encode(fields: dict[str, object]) -> bytes:
    """A document of plain Python values (str, int, aware datetime, list, ObjectId)."""
    return bson.encode(fields, codec_options=CODEC)


def element_of(name: str, value: object) -> bytes:
    """One element of a plain Python value."""
    return encode({name: value})[4:-1]


def embedded(name: str, document: bytes, *, array: bool = False) -> bytes:
    """The element that holds a document, or an array given as one."""
    return (b"\x04" if array else b"\x03") + name.encode(errors="surrogateescape") + b"\x00" + document


def renamed(element: bytes, name: str) -> bytes:
    """The element under another name."""
    return element[:1] + name.encode(errors="surrogateescape") + element[element.index(0, 1) :]


def decoded(element: bytes) -> dict[str, Any]:
    """The value of one element, by its name."""
    return bson.decode(from_elements([element]), CODEC)


def identifier(text: str, *, prefer_object_id: bool) -> object:
    """An id in the type that a document already uses: an ObjectId where wanted and possible, else the text."""
    return bson.ObjectId(text) if prefer_object_id and bson.ObjectId.is_valid(text) and len(text) == 24 else text


def twin(value: object) -> object | None:
    """What names the same in another type: an ObjectId and its hex digits in lower case, as drivers print them; else None."""
    if isinstance(value, bson.ObjectId):
        return str(value)
    return bson.ObjectId(value) if isinstance(value, str) and LOWER_HEX.fullmatch(value) else None


def equal_ids(value: object) -> dict[str, object]:
    """The condition of a query for all values that name the same as an id."""
    other = twin(value)
    return {"$eq": value} if other is None else {"$in": [value, other]}


def merged(document: bytes, others: list[bytes]) -> bytes:
    """The document with the fields that it lacks, or holds as null, taken from others, the first that says something.

    Of a name that it repeats, the first counts, and the others stay where they are.
    """
    parts = elements(document)
    for other in others:
        for name, element in elements(other).items():
            if (name not in parts or parts[name][0] == NULL) and element[0] != NULL:
                parts[name] = element
    own = [parts.pop(name, element) for name, element in named_elements(document)]
    return from_elements([*own, *parts.values()])
