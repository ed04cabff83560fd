"""An NDJSON file, line by line: every line comes out, as an object or with its problem.

An error file of NDJSON has the object of the source with three members before its own, so that its text stays as it was. A line
that is no object stands base64 in `_raw`.
"""

from __future__ import annotations

import base64
import json
import re
from binascii import Error as NoBase64
from codecs import BOM_UTF8
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

from session_assets.drops import limits
from session_assets.drops.error_file import ERROR_LINE, ERROR_MESSAGE, ERROR_ROW, RAW
from session_assets.drops.source import Source

_TOGETHER = 20_000
_STRING = r'"(?:[^"\\]|\\.)*"'
_ADDED = re.compile(rf'^\s*\{{"{ERROR_ROW}":\d+,"{ERROR_LINE}":\d+,"{ERROR_MESSAGE}":{_STRING},?')
_RAW = re.compile(rf'"{RAW}":"([A-Za-z0-9+/=]*)"\}}\s*')


@dataclass
class JsonRecords:
    """Some lines in file order: objects in four parallel lists, the others in `rejected`."""

    rows: list[int] = field(default_factory=list)  # 1-based, empty lines apart
    lines: list[int] = field(default_factory=list)  # 1-based physical line
    raws: list[bytes] = field(default_factory=list)
    values: list[dict[str, Any]] = field(default_factory=list)
    rejected: list[tuple[int, int, str, bytes]] = field(default_factory=list)  # row, line, problem, raw

    def __len__(self) -> int:
        return len(self.rows) + len(self.rejected)


class JsonLines:
    """One pass over a file. `objects` counts lines that are an object."""

    def __init__(self, path: Path, *, encoding: str | None = None, name: str | None = None) -> None:
        self.source = Source(path, encoding, name or path.name)
        self.objects = 0

    def records(self) -> Iterator[JsonRecords]:
        """All records, some 20,000 at a time. Raises `BadInput` for a file that is empty or cut off."""
        with self.source.opened():
            least = limits.BLOCK
            while self.source.buffer or not self.source.is_last:
                self.source.fill(least)
                left = len(self.source.buffer)
                yield from self._block()
                least = limits.BLOCK if len(self.source.buffer) < left else left + limits.BLOCK

    def _block(self) -> Iterator[JsonRecords]:
        source = self.source
        lines = source.buffer.splitlines(keepends=True)
        if (
            lines and not source.is_last and not lines[-1].endswith(b"\n")
        ):  # after a CR, the LF may be in the next block
            lines.pop()
        first = source.lines + 1
        size = sum(map(len, lines))
        rest = source.buffer[size : size + limits.RAW_KEPT]
        source.consume(size, len(lines))
        found = JsonRecords()
        for number, line in enumerate(lines, first):
            self._take(found, number, line.removesuffix(b"\n").removesuffix(b"\r"))
            if len(found) >= _TOGETHER:
                yield found
                found = JsonRecords()
        if not lines and len(source.buffer) > limits.RECORD_LIMIT:
            source.count(1)
            found.rejected.append((source.rows, source.lines + 1, "record_too_large", rest))
            source.skip_line()
        if len(found):
            yield found

    def _take(self, found: JsonRecords, number: int, line: bytes) -> None:
        raw = line.removeprefix(BOM_UTF8)
        if not raw or raw.isspace():
            return
        self.source.count(1)
        row = self.source.rows
        added = _ADDED.match(raw.decode(errors="replace")) if raw.lstrip().startswith(b'{"_error_row":') else None
        problem: str | None = None
        if added is not None:
            raw, problem = _as_it_was(raw[len(added.group().encode()) :])
        value: object = None
        problem = problem or ("record_too_large" if len(raw) > limits.RECORD_LIMIT else None)
        if problem is None:
            value, problem = _parsed(raw)
        if problem is None and isinstance(value, dict):
            self.objects += 1
            found.rows.append(row)
            found.lines.append(number)
            found.raws.append(raw)
            found.values.append(value)
        else:
            kept = raw[: limits.RAW_KEPT] if problem == "record_too_large" else raw
            found.rejected.append((row, number, problem or "not_json", kept))


def json_error_lines(rejected: Iterable[pl.DataFrame]) -> Iterator[str]:
    """The lines of an error file. In: frames with `row`, `line`, `raw`, `message`; `raw` is the line of the source."""
    for frame in rejected:
        for row, line, raw, message in frame.select("row", "line", "raw", "message").iter_rows():
            added = json.dumps({ERROR_ROW: row, ERROR_LINE: line, ERROR_MESSAGE: message}, separators=(",", ":"))
            value, problem = _parsed(raw)
            if problem is None and isinstance(value, dict):
                inner = raw.decode().strip()[1:]
                yield f"{added[:-1]}{'' if inner.lstrip() == '}' else ','}{inner}\n"
            else:
                yield f'{added[:-1]},"{RAW}":"{base64.b64encode(raw).decode()}"}}\n'


def _as_it_was(rest: bytes) -> tuple[bytes, str | None]:
    """A line of an error file without what was added, and its problem if its record is still in `_raw`."""
    packed = _RAW.fullmatch(rest.decode(errors="replace"))
    if packed is None:
        return b"{" + rest, None
    try:
        return base64.b64decode(packed[1], validate=True), "still_raw"
    except NoBase64:
        return rest, "still_raw"


def _parsed(raw: bytes) -> tuple[object, str | None]:
    """The JSON value of a line, or its problem: NaN and Infinity are no JSON."""
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        return None, "wrong_encoding"
    if "\0" in text:
        return None, "holds_nul"
    try:
        value = _JSON.decode(text)
    except (ValueError, RecursionError):
        return None, "not_json"
    return value, None if isinstance(value, dict) else "not_json"


def _no_constant(name: str) -> None:
    raise ValueError(name)


_JSON = json.JSONDecoder(parse_constant=_no_constant)
