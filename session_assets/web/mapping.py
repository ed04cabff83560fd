"""How the columns of a dropped file become events: the mapping file beside it, and the same rules over whole columns.

`mapping.yaml` holds for all files of its folder, `{file name}.mapping.yaml` for that file alone. Pure but for reading the
mapping file.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from session_assets.errors import BadInput
from session_assets.masking import safe_text
from session_assets.templates import Value, parse_value

DEFAULT_MAPPING = "mapping.yaml"
MAPPING_SUFFIX = ".mapping.yaml"
BESIDE_DROPS = (DEFAULT_MAPPING,)  # the ending of both
_REQUIRED = ("session", "timestamp", "timestamp_unit")
_TEXTS = ("session", "user", "client", "page", "timestamp", "timestamp_unit", "event_type", "event_type_value")
_KEYS = (*_TEXTS, "properties", "format", "delimiter", "encoding")
_UNITS = ("s", "ms", "us", "iso")
_FORMATS = ("csv", "ndjson")


@dataclass(frozen=True)
class DropMapping:
    """A mapping file, checked. `event_type` is a column, `event_type_value` the same for all events; one of them is set."""

    session: Value
    timestamp: str
    timestamp_unit: str
    event_type: str | None = None
    event_type_value: str | None = None
    user: Value | None = None
    client: Value | None = None
    page: Value | None = None
    properties: tuple[str, ...] = ()
    format: str | None = None
    delimiter: str | None = None
    encoding: str | None = None

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that it reads, `properties` apart, each once."""
        values = [value for value in (self.session, self.user, self.client, self.page) if value is not None]
        names = [name for value in values for name in value.columns]
        return tuple(dict.fromkeys([*names, self.timestamp, *([self.event_type] if self.event_type else [])]))

    def absent(self, found: Collection[str]) -> list[str]:
        """The columns that it names and that are not among those `found`."""
        return [name for name in (*self.columns, *self.properties) if name not in found]


def mapping_file(path: Path) -> Path:
    """The mapping file for a dropped file. Raises `BadInput` where there is none."""
    own, default = path.with_name(path.name + MAPPING_SUFFIX), path.with_name(DEFAULT_MAPPING)
    chosen = own if own.is_file() else default
    if not chosen.is_file():
        raise BadInput(
            f"{safe_text(path)}: no mapping. Put {own.name} or {default.name} beside it, saying which columns are what."
        )
    return chosen


def load_mapping(path: Path) -> DropMapping:
    """The mapping for a dropped file. Raises `BadInput` where there is none, or it is wrong."""
    chosen = mapping_file(path)
    try:
        content = yaml.safe_load(chosen.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise BadInput(f"{chosen}: not YAML: {' '.join(str(error).split())[:300]}") from error
    return parse_mapping(content, str(chosen))


def parse_mapping(content: object, where: str = "mapping") -> DropMapping:
    """A mapping from the content of its file. Raises `BadInput` naming what is wrong."""
    if not isinstance(content, dict):
        raise BadInput(f"{where}: expected `key: value` lines with {', '.join(_REQUIRED)}.")
    if unknown := [str(key) for key in content if key not in _KEYS]:
        raise BadInput(f"{where}: unknown key {unknown[0]!r}. Known are {', '.join(_KEYS)}.")
    given: dict[str, Any] = {key: value for key, value in content.items() if value is not None}
    if absent := [key for key in _REQUIRED if key not in given]:
        raise BadInput(f"{where}: {absent[0]} is missing. It needs {', '.join(_REQUIRED)}.")
    for key in (*_TEXTS, "format", "delimiter", "encoding"):
        if key in given and (not isinstance(given[key], str) or not given[key]):
            raise BadInput(f"{where}: {key} must be a text (quote it in YAML), not {given[key]!r}.")
    if ("event_type" in given) == ("event_type_value" in given):
        raise BadInput(f"{where}: say either event_type (a column) or event_type_value (the same for all events).")
    properties = given.get("properties", [])
    if not isinstance(properties, list) or not all(isinstance(name, str) and name for name in properties):
        raise BadInput(f"{where}: properties must be a list of columns.")
    _one_of(given, "timestamp_unit", _UNITS, where)
    _one_of(given, "format", _FORMATS, where)
    _check_delimiter(given.get("delimiter"), where)
    _check_encoding(given.get("encoding"), where)
    values = {key: parse_value(given[key], key, where) for key in ("session", "user", "client", "page") if key in given}
    return DropMapping(**{**given, **values, "properties": tuple(dict.fromkeys(properties))})


def _one_of(given: dict[str, Any], key: str, allowed: tuple[str, ...], where: str) -> None:
    if key in given and given[key] not in allowed:
        raise BadInput(f"{where}: {key} must be one of {', '.join(allowed)}, not {given[key]!r}.")


def _check_delimiter(delimiter: str | None, where: str) -> None:
    if delimiter is not None and (len(delimiter) != 1 or delimiter in '"\r\n\0'):
        raise BadInput(f"{where}: delimiter must be one character, no quote and no line end, not {delimiter!r}.")


def _check_encoding(encoding: str | None, where: str) -> None:
    if encoding is None:
        return
    try:
        "a".encode(encoding)
    except (LookupError, UnicodeError) as error:
        raise BadInput(
            f"{where}: {encoding!r} is no text encoding that Python knows, such as utf-8 or cp1252."
        ) from error
