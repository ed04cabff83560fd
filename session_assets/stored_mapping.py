"""Mapping files of stored collections: what an application calls its collections and fields, and how it stores times.

One YAML file describes all collections of a slice. A slice says which collections and fields it knows (`StoredCollection`);
a collection or field that the file does not name keeps that name. Nothing here knows a slice, a database or Dagster.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl
import yaml
from yaml.nodes import MappingNode, Node, ScalarNode

from session_assets.errors import BadInput, UsageError
from session_assets.masking import safe_text
from session_assets.templates import Value, parse_value

UNITS = ("s", "ms", "us", "iso")
"""How numbers are read as times: seconds, milliseconds or microseconds since 1970; `iso`: no number is a time."""
_OPTIONS = ("collection", "fields", "timestamp_unit", "timezone")
_TEXT_TAG = "tag:yaml.org,2002:str"


@dataclass(frozen=True)
class StoredField:
    """A field that a slice knows. `template`: it is only read, so several stored fields may make it up."""

    name: str
    text: str
    template: bool = False


@dataclass(frozen=True)
class StoredCollection:
    """A collection that a slice knows, by the name that it has without a mapping. `unit`: of numeric times, by default."""

    name: str
    fields: tuple[StoredField, ...]
    unit: str = "s"

    def field(self, name: str) -> StoredField | None:
        return next((one for one in self.fields if one.name == name), None)


@dataclass(frozen=True)
class CollectionMapping:
    """What one collection and its fields are called, and how its times are stored."""

    collection: str
    values: dict[str, Value]
    unit: str
    timezone: str | None = None

    def stored(self, name: str) -> str:
        """The stored name of a field that is no template."""
        column = self.values[name].column
        assert column is not None, f"{name} is a template"
        return column

    def template(self, name: str) -> Value | None:
        """The template of a field; None where one stored field holds it."""
        return self.values[name] if self.values[name].column is None else None

    def as_json(self) -> dict[str, Any]:
        """All that the mapping says, in one form."""
        fields = {name: list(value.parts) for name, value in sorted(self.values.items())}
        return {"collection": self.collection, "fields": fields, "unit": self.unit, "timezone": self.timezone}


@dataclass(frozen=True)
class StoredMapping:
    """A mapping file, checked; or what holds without one, `digest` is empty then."""

    collections: dict[str, CollectionMapping]
    digest: str = ""

    def __getitem__(self, name: str) -> CollectionMapping:
        return self.collections[name]

    @property
    def is_plain(self) -> bool:
        """Whether all names and units are those that hold without a mapping."""
        return not self.digest


def plain_mapping(known: tuple[StoredCollection, ...]) -> StoredMapping:
    """What holds without a mapping file."""
    return StoredMapping({one.name: _plain(one) for one in known})


def _plain(one: StoredCollection) -> CollectionMapping:
    return CollectionMapping(one.name, {name.name: Value(("", name.name, "")) for name in one.fields}, one.unit)


def load_stored_mapping(path: Path, known: tuple[StoredCollection, ...], setting: str) -> StoredMapping:
    """The mapping in a file that a setting names. Raises `UsageError` that names setting, file, line and what is allowed."""
    try:
        content = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise UsageError(f"{setting}: the mapping file {path} cannot be read: {reason}. Correct the path.") from error
    return parse_stored_mapping(content, known, f"{setting}: {path}")


def parse_stored_mapping(content: str, known: tuple[StoredCollection, ...], where: str) -> StoredMapping:
    """A mapping from the text of its file. Raises `UsageError` that names `where`, the line, and what is allowed."""
    try:
        root = yaml.compose(content, Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        raise UsageError(f"{where}: not YAML: {' '.join(str(error).split())[:300]}") from error
    by_name = {one.name: one for one in known}
    plain = plain_mapping(known)
    collections = dict(plain.collections)
    if root is None:
        raise UsageError(f"{where}: the file is empty. It needs {' or '.join(by_name)}, each with its fields.")
    for name, node, line in _entries(root, tuple(by_name), where, "collection"):
        collections[name] = _collection(by_name[name], node, f"{where}, line {line}: {name}", where)
    _refuse_shared(collections, where)
    if collections == plain.collections:
        return plain
    text = json.dumps({name: one.as_json() for name, one in sorted(collections.items())}, ensure_ascii=False)
    return StoredMapping(collections, hashlib.sha256(text.encode()).hexdigest())


def json_schema(known: tuple[StoredCollection, ...], title: str) -> dict[str, Any]:
    """The JSON Schema of a mapping file, for editors."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": title,
        "type": "object",
        "additionalProperties": False,
        "minProperties": 1,
        "properties": {one.name: _collection_schema(one) for one in known},
    }


def _collection_schema(one: StoredCollection) -> dict[str, Any]:
    return {
        "type": "object",
        "additionalProperties": False,
        "properties": {
            "collection": {"type": "string", "minLength": 1, "description": "The stored name of the collection."},
            "fields": {
                "type": "object",
                "additionalProperties": False,
                "properties": {
                    name.name: {
                        "type": "string",
                        "minLength": 1,
                        "description": name.text
                        + (" A template such as /item/{id} is allowed." if name.template else ""),
                    }
                    for name in one.fields
                },
            },
            "timestamp_unit": {
                "enum": list(UNITS),
                "default": one.unit,
                "description": "How numbers are read as times.",
            },
            "timezone": {
                "type": "string",
                "description": "The zone of times that are text without an offset, such as Europe/London.",
            },
        },
    }


# -- reading one file --------------------------------------------------------------------------------------------------


def _entries(node: Node, allowed: tuple[str, ...], where: str, what: str) -> Iterator[tuple[str, Node, int]]:
    """Key, value and line of each entry; a key that is unknown, or there twice, is refused."""
    if not isinstance(node, MappingNode):
        raise UsageError(f"{where}, line {_line(node)}: expected `key: value` lines with {', '.join(allowed)}.")
    seen: set[str] = set()
    for key, value in node.value:
        name = key.value if isinstance(key, ScalarNode) else "?"
        if name not in allowed:
            raise UsageError(
                f"{where}, line {_line(key)}: unknown {what} {safe_text(name)!r}. Known are {', '.join(allowed)}."
            )
        if name in seen:
            raise UsageError(f"{where}, line {_line(key)}: {name} is there twice. Remove one of them.")
        seen.add(name)
        yield name, value, _line(key)


def _line(node: Node) -> int:
    return node.start_mark.line + 1


def _collection(known: StoredCollection, node: Node, here: str, where: str) -> CollectionMapping:
    plain = _plain(known)
    collection, values, unit, timezone = plain.collection, dict(plain.values), plain.unit, None
    lines: dict[str, int] = {}
    for key, value, line in _entries(node, _OPTIONS, where, f"key of {known.name}"):
        at = f"{where}, line {line}: {known.name}.{key}"
        if key == "collection":
            collection = _collection_name(value, at)
        elif key == "timestamp_unit":
            unit = _one_of(value, UNITS, at)
        elif key == "timezone":
            timezone = _timezone(value, at)
        else:
            names = tuple(one.name for one in known.fields)
            for name, text, own in _entries(value, names, where, f"field of {known.name}"):
                lines[name] = own
                values[name] = _value(known, name, text, f"{where}, line {own}: {known.name}.fields.{name}")
    _refuse_twice(values, lines, here, where)
    return CollectionMapping(collection, values, unit, timezone)


def _value(known: StoredCollection, name: str, node: Node, at: str) -> Value:
    text, spec = _text(node, at), known.field(name)
    assert spec is not None
    where, _, key = at.rpartition(": ")
    try:
        value = parse_value(text, key, where)
    except BadInput as error:
        raise UsageError(str(error)) from error
    if value.column is None and not spec.template:
        allowed = [one.name for one in known.fields if one.template]
        can = (
            f"Of {known.name}, templates are allowed for {', '.join(allowed)}." if allowed else "Name one stored field."
        )
        raise UsageError(
            f"{at}: {text!r} is a template, but this field is looked up or written, so one stored field must hold it. {can}"
        )
    for column in value.columns:
        if not column.strip() or column.startswith("$") or "." in column or "\0" in column or column == "_id":
            raise UsageError(
                f"{at}: {column!r} cannot be used. Name a field at the top level of the documents: no dot in it, no $ before"
                " it, and not _id."
            )
    return value


def _refuse_twice(values: dict[str, Value], lines: dict[str, int], here: str, where: str) -> None:
    """Two fields must not be one stored field: a repair would write both."""
    seen: dict[str, str] = {}
    for name, value in values.items():
        if value.column is None:
            continue
        other = seen.setdefault(value.column, name)
        if other != name:
            at = f"{where}, line {max(lines.get(name, 0), lines.get(other, 0))}: {here.rpartition(': ')[2]}.fields"
            raise UsageError(
                f"{at}: {other} and {name} are both stored as {value.column!r}. Give each a stored field of its own; a field"
                " that is not named here keeps its own name."
            )


def _refuse_shared(collections: dict[str, CollectionMapping], where: str) -> None:
    seen: dict[str, str] = {}
    for name, one in collections.items():
        other = seen.setdefault(one.collection, name)
        if other != name:
            raise UsageError(
                f"{where}: {other} and {name} are both the collection {one.collection!r}. Name two collections."
            )


def _collection_name(node: Node, at: str) -> str:
    text = _text(node, at)
    if text.startswith("system.") or "$" in text or "\0" in text:
        raise UsageError(f"{at}: {text!r} is no collection of an application. Give the name of a collection.")
    return text


def _text(node: Node, at: str) -> str:
    if not isinstance(node, ScalarNode):
        raise UsageError(f"{at}: expected a text, not a list or more keys.")
    if node.tag != _TEXT_TAG or not node.value.strip():
        raise UsageError(f"{at}: expected a text, not {safe_text(node.value)!r}. Put it in quotes.")
    return str(node.value)


def _one_of(node: Node, allowed: tuple[str, ...], at: str) -> str:
    text = _text(node, at)
    if text not in allowed:
        raise UsageError(f"{at} must be one of {', '.join(allowed)}, not {safe_text(text)!r}.")
    return text


def _timezone(node: Node, at: str) -> str:
    text = _text(node, at)
    try:
        ZoneInfo(text)
        pl.select(pl.lit("2025-01-01T00:00:00").str.to_datetime().dt.replace_time_zone(text))
    except (ValueError, KeyError, OSError, pl.exceptions.ComputeError) as error:  # as zoneinfo and Polars say it
        raise UsageError(
            f"{at}: {safe_text(text)!r} is no time zone. Give a name of the time zone database, such as Europe/London or UTC."
        ) from error
    return text
