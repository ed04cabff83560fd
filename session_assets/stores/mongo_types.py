"""Which BSON types the fields that a check compares hold: counted by the server, in one pass over all documents.

Asked only if something was not understood, for the text that says what to do. Nothing is sampled: the counts are exact.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import bson
from bson import ObjectId

from session_assets.masking import safe_text
from session_assets.moments import RANGES
from session_assets.stores.bson_documents import CODEC, key_of
from session_assets.stores.bson_frames import Field, Kind
from session_assets.stores.bson_times import Times
from session_assets.stores.mongo import MongoSource, attempt

SAYS_NOTHING = frozenset({"missing", "null", "undefined"})
_SHOWN = 40  # characters of an _id
_NUMBERS = ("int", "long", "double")
_OFFSET = r"^\s*\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d(:[0-5]\d([.,]\d{1,9})?)? ?([Zz]|[+-]\d\d:?\d\d)\s*$"
_LOCAL = r"^\s*\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d(:[0-5]\d([.,]\d{1,9})?)?\s*$"
WITH_OFFSET, WITHOUT_OFFSET, NO_TIME = "string with an offset", "string without an offset", "string that is no time"
OTHER_ITEMS = "array with items that are no text"
_OF_KIND = {
    Kind.TEXT: frozenset({"string"}),
    Kind.TEXTS: frozenset({"array"}),
    Kind.NUMBER: frozenset(_NUMBERS),
    Kind.HEX: frozenset({"string", "objectId"}),
    Kind.ID: frozenset({"string", "objectId"}),
}


@dataclass(frozen=True)
class TypeFound:
    """How many documents hold a type in a field, and the `_id` of one. `understood`: a check can compare it."""

    documents: int
    example: str
    understood: bool


def types_found(source: MongoSource, fields: tuple[Field, ...]) -> dict[str, dict[str, TypeFound]]:
    """The types of each stored field, the most frequent first; a field that is absent has the type `missing`."""
    wanted = {name: field for field in fields for name in field.sources}
    labels = {f"f{number}": _label(name, field) for number, (name, field) in enumerate(wanted.items())}
    group = {"$group": {"_id": labels, "documents": {"$sum": 1}, "example": {"$min": "$_id"}}}
    collection = source.collection.with_options(codec_options=CODEC)
    rows = attempt(source.variable, lambda: list(collection.aggregate([group], allowDiskUse=True)))
    result: dict[str, dict[str, TypeFound]] = {}
    for number, (name, field) in enumerate(wanted.items()):
        known = _understood(field)
        counts: dict[str, tuple[int, Any]] = {}
        for row in sorted(rows, key=lambda row: -row["documents"]):
            label = row["_id"][f"f{number}"]
            count, example = counts.get(label, (0, row["example"]))
            counts[label] = (count + row["documents"], example)
        ordered = sorted(counts.items(), key=lambda one: (-one[1][0], one[0]))
        result[name] = {
            label: TypeFound(count, _id_text(example), label in known) for label, (count, example) in ordered
        }
    return result


def types_text(
    found: Mapping[str, Mapping[str, TypeFound]], needed: Collection[str], always: Collection[str] = ()
) -> str:
    """What `types_found` found, for a person: fields that hold a type that is not understood, those `needed` that some
    documents lack, and those that are to be shown `always`."""
    told = {
        name: types
        for name, types in found.items()
        if name in always
        or any(not one.understood for one in types.values())
        or (name in needed and not SAYS_NOTHING.isdisjoint(types))
    }
    return "; ".join(
        f"{safe_text(name)}: {', '.join(_type_text(label, one, name in needed) for label, one in types.items())}"
        for name, types in told.items()
        if types
    )


def _type_text(label: str, found: TypeFound, is_needed: bool) -> str:
    is_odd = not found.understood or (is_needed and label in SAYS_NOTHING)
    example = f" (for example in _id {safe_text(found.example)[:_SHOWN]})" if is_odd else ""
    return f"{found.documents:,} {label}{example}"


def _understood(field: Field) -> frozenset[str]:
    if field.template is not None:
        return SAYS_NOTHING | {"string", "objectId", *_NUMBERS}
    if field.kind is not Kind.MOMENT:
        return SAYS_NOTHING | _OF_KIND[field.kind]
    numbers = _NUMBERS if field.times.unit != "iso" else ()
    local = {WITHOUT_OFFSET} if field.times.zone else set[str]()
    return SAYS_NOTHING | {"date", WITH_OFFSET, *numbers} | local


def _label(name: str, field: Field) -> dict[str, Any]:
    """The type of a field, more exactly where a type alone does not tell whether it is understood."""
    value, kind = f"${name}", {"$type": f"${name}"}
    if field.kind is Kind.MOMENT and field.template is None:
        return _time_label(value, kind, field.times)
    if field.kind is not Kind.TEXTS:
        return kind
    text = {"$in": [{"$type": "$$item"}, ["string", "null", "undefined"]]}
    items = {"$map": {"input": {"$cond": [{"$isArray": [value]}, value, []]}, "as": "item", "in": text}}
    return {"$cond": [{"$allElementsTrue": [items]}, kind, OTHER_ITEMS]}


def _time_label(value: str, kind: dict[str, Any], times: Times) -> dict[str, Any]:
    text = {"$cond": [{"$eq": [kind, "string"]}, value, ""]}
    branches: list[dict[str, Any]] = [
        {"case": {"$regexMatch": {"input": text, "regex": _OFFSET}}, "then": WITH_OFFSET},
        {"case": {"$regexMatch": {"input": text, "regex": _LOCAL}}, "then": WITHOUT_OFFSET},
        {"case": {"$eq": [kind, "string"]}, "then": NO_TIME},
    ]
    if times.unit != "iso":
        first, end = RANGES[times.unit]
        within = {"$and": [{"$gte": [value, first]}, {"$lt": [value, end]}]}
        other = {"$and": [{"$in": [kind, list(_NUMBERS)]}, {"$not": [within]}]}
        branches.append({"case": other, "then": {"$concat": [kind, f" that is no time in {times.unit}"]}})
    return {"$switch": {"branches": branches, "default": kind}}


def _id_text(value: object) -> str:
    """An `_id` for people: text or hex digits, else canonical Extended JSON."""
    if isinstance(value, str | ObjectId):
        return str(value)
    return key_of(bson.encode({"_id": value}, codec_options=CODEC))
