"""An independent account of a CSV file: a state machine over its bytes, as slow and plain as it can be.

It shares no code and no method with the reader: it starts again at every line where the reader must not.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import NamedTuple

_LINE = re.compile(rb"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+")
_MARK = b"\xef\xbb\xbf"


class Record(NamedTuple):
    """A record of a file: its first physical line (from 1), how many it holds, and its values or what is wrong with it."""

    line: int
    lines: int
    problem: str | None
    values: tuple[str, ...] | None


@dataclass(frozen=True)
class _Scan:
    last: int
    values: list[bytes]
    is_clean: bool


def account(content: bytes, delimiter: str, width: int, limit: int, first_line: int = 2) -> list[Record]:
    """Every record of UTF-8 content that follows a header of `width` columns; no record may be larger than `limit` bytes."""
    lines = _LINE.findall(content)
    found: list[Record] = []
    place = 0
    while place < len(lines):
        record, used = _record(lines, place, delimiter.encode(), width, limit, first_line)
        if record is not None:
            found.append(record)
        place += used
    return found


def _record(
    lines: list[bytes], place: int, mark: bytes, width: int, limit: int, first_line: int
) -> tuple[Record | None, int]:
    number = first_line + place
    if len(lines[place]) > limit:
        return Record(number, 1, "record_too_large", None), 1
    scan = _scan(lines, place, mark, limit)
    if scan is None:
        return Record(number, 1, "broken_quotes", None), 1
    count = scan.last - place + 1
    raw = b"".join(lines[place : scan.last + 1])
    if not _content(raw.removeprefix(_MARK)):
        return None, 1
    if len(scan.values) != width and _is_joined(lines, place, scan.last, mark, width, limit):
        return Record(number, 1, "broken_quotes", None), 1
    if not _is_text(raw):
        return Record(number, count, "wrong_encoding", None), count
    if b"\0" in raw:
        return Record(number, count, "holds_nul", None), count
    if len(scan.values) != width:
        return Record(number, count, "ragged", None), count
    return Record(number, count, None, tuple(value.decode() for value in scan.values)), count


def _is_joined(lines: list[bytes], first: int, last: int, mark: bytes, width: int, limit: int) -> bool:
    """Whether more than half of the lines between are records on their own."""
    alone = 0
    for place in range(first + 1, last):
        scan = _scan(lines, place, mark, limit, place + 1) if len(lines[place]) <= limit else None
        alone += scan is not None and scan.is_clean and len(scan.values) == width
    return 2 * alone > last - first - 1 > 0


def _scan(lines: list[bytes], first: int, mark: bytes, limit: int, end: int | None = None) -> _Scan | None:
    """The record that begins with a line; None where its quotes do not match within the limit, or before the line `end`."""
    values, value, state, is_clean, size = list[bytes](), bytearray(), "start", True, 0
    for place in range(first, len(lines) if end is None else end):
        line = lines[place]
        size += len(line)
        if size > limit:
            return None
        content = _content(line)
        if place == first:
            content = content.removeprefix(_MARK)
        if b'"' not in content:
            if state == "quoted":
                value += line
                continue
            return _Scan(place, content.split(mark), True)  # only the first line gets here
        at = 0
        while at < len(content):
            byte = content[at : at + 1]
            is_mark = content.startswith(mark, at)
            if state == "quoted":
                if byte == b'"':
                    state = "closed"
                else:
                    value += byte
            elif is_mark:
                values.append(bytes(value))
                value, state = bytearray(), "start"
                at += len(mark) - 1
            elif state == "closed":
                if byte != b'"':
                    return None
                value += byte
                state = "quoted"
            elif state == "start" and byte == b'"':
                state = "quoted"
            else:
                is_clean &= byte != b'"'
                value += byte
                state = "plain"
            at += 1
        if state != "quoted":
            values.append(bytes(value))
            return _Scan(place, values, is_clean)
        value += line[len(_content(line)) :]
    return None


def _content(line: bytes) -> bytes:
    return line[:-2] if line.endswith(b"\r\n") else line[:-1] if line.endswith((b"\r", b"\n")) else line


def _is_text(raw: bytes) -> bool:
    try:
        raw.decode()
    except UnicodeDecodeError:
        return False
    return True
