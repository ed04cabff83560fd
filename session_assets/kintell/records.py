"""The careful way to read CSV: record by record, for blocks that are not provably well-formed.

A record whose quotes do not match costs its first physical line, and reading goes on with the next: a stray quote must not
swallow the rows after it. A byte order mark before a record is left out, as that of the file is: files that were put together
carry one each. Reading lines again has a budget for each file, so that no input makes it slow; once the budget
is spent, such a record costs all its lines.
"""

from __future__ import annotations

import csv
import sys
from codecs import BOM_UTF8
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import polars as pl

from session_assets.kintell.model import FIELD_LIMIT, RECORD_LIMIT, value_name

RAW_KEPT = 64 * 1024  # bytes that are kept of a record which is too large
REREAD_BUDGET = 64 * 1024 * 1024

csv.field_size_limit(max(csv.field_size_limit(), 2 * RECORD_LIMIT))


@dataclass
class Budget:
    """Bytes that may still be read a second time."""

    left: int = REREAD_BUDGET


@dataclass
class Records:
    """Records in file order, as columns of `model.RECORDS`; `fields` is None where `raw` is given."""

    row: int
    width: int
    rows: list[int] = field(default_factory=list)
    lines: list[int] = field(default_factory=list)
    problems: list[str | None] = field(default_factory=list)
    raws: list[bytes | None] = field(default_factory=list)
    fields: list[Sequence[str | None]] = field(default_factory=list)

    def add(self, line: int, problem: str | None, raw: bytes | None, fields: list[str] | None) -> None:
        self.rows.append(self.row)
        self.lines.append(line)
        self.problems.append(problem)
        self.raws.append(raw)
        self.fields.append((None,) * self.width if fields is None else fields)
        self.row += 1

    def frame(self) -> pl.DataFrame:
        values = list(zip(*self.fields, strict=True)) or [()] * self.width
        columns = {value_name(place): pl.Series(value, dtype=pl.String) for place, value in enumerate(values)}
        return pl.DataFrame(
            {
                "row": pl.Series(self.rows, dtype=pl.Int64),
                "line": pl.Series(self.lines, dtype=pl.Int64),
                "problem": pl.Series(self.problems, dtype=pl.String),
                "raw": pl.Series(self.raws, dtype=pl.Binary),
            }
            | columns
        )


@dataclass(frozen=True)
class Careful:
    """Records of a block. `cut_line`: the rest of the block is the beginning of a line that is too large."""

    records: Records
    consumed: int
    lines: int
    cut_line: bool


class _TooLarge(Exception):
    """A record of many lines grows beyond the limit."""


class _Feed:
    """Physical lines for csv.reader, from one on; knows which it gave, and whether there were enough."""

    def __init__(self, lines: list[bytes], start: int) -> None:
        self._lines = lines
        self.next = start
        self.size = 0  # bytes of the record
        self.bad = False  # the record is not valid UTF-8
        self.ran_out = False

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        if self.next == len(self._lines):
            self.ran_out = True
            raise StopIteration
        raw = self._lines[self.next]
        is_first = self.size == 0
        self.size += len(raw)
        if self.size > RECORD_LIMIT:
            raise _TooLarge
        self.next += 1
        if is_first:
            raw = raw.removeprefix(BOM_UTF8)
        try:
            return raw.decode()
        except UnicodeDecodeError:
            self.bad = True
            return raw.decode(errors="replace")


def read_records(
    buffer: bytes,
    *,
    is_last: bool,
    delimiter: str,
    width: int,
    row: int,
    line: int,
    budget: Budget,
    most: int = sys.maxsize,
) -> Careful:
    """The records that end within `buffer`, which begins with one; at most so many. `width` 0: any number of fields."""
    lines = buffer.splitlines(keepends=True)
    tail = b""
    if lines and not is_last and not lines[-1].endswith(b"\n"):  # after a CR, the LF may be in the next block
        tail = lines.pop()
    records = Records(row, width)
    feed, start = _Feed(lines, 0), 0
    reader = csv.reader(feed, delimiter=delimiter, strict=True)
    consumed = 0
    while start < len(lines) and len(records.rows) < most:
        problem, fields = None, list[str]()
        try:
            fields = next(reader)
        except StopIteration:
            break
        except _TooLarge:
            problem = "record_too_large" if feed.next == start else "broken_quotes"
        except csv.Error:
            if feed.ran_out and not is_last and sum(map(len, lines[start:])) + len(tail) <= RECORD_LIMIT:
                break  # it may go on in the next block
            problem = "broken_quotes"
        end = max(feed.next, start + 1)
        if problem == "broken_quotes" and end > start + 1:
            budget.left -= sum(map(len, lines[start + 1 : end]))
            end = start + 1 if budget.left > 0 else end
        raw = lines[start] if end == start + 1 else b"".join(lines[start:end])
        _take(records, line + start, raw, fields, problem, is_bad=feed.bad)
        consumed += len(raw)
        start = end
        if problem or feed.ran_out:
            feed = _Feed(lines, start)
            reader = csv.reader(feed, delimiter=delimiter, strict=True)
        feed.size, feed.bad = 0, False
    cut_line = start == len(lines) and len(tail) > RECORD_LIMIT
    return Careful(records, consumed, start, cut_line)


def _take(records: Records, line: int, raw: bytes, fields: list[str], problem: str | None, *, is_bad: bool) -> None:
    """Add one record, unless it is an empty line."""
    content = raw.removesuffix(b"\n").removesuffix(b"\r")
    if problem is None:
        if not fields:
            return
        if is_bad:
            problem = "wrong_encoding"
        elif b"\0" in content:
            problem = "holds_nul"
        elif records.width and len(fields) != records.width:
            problem = "ragged"
    if problem is not None:
        records.add(line, problem, content[:RAW_KEPT] if problem == "record_too_large" else content, None)
    elif len(content) > FIELD_LIMIT and any(len(one.encode()) > FIELD_LIMIT for one in fields):
        records.add(line, "field_too_large", None, fields)
    else:
        records.add(line, None, None, fields)
