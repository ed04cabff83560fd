"""Where the records of a block of CSV stand, told from its bytes in time that grows with the block alone.

The rule: a record is what `csv.reader(strict=True)` takes for one. Where quotes do not match, the record costs its first physical
line, and reading goes on with the next. Reading on from every line would be quadratic. But a line inside quotes goes on the
same way wherever the quotes were opened, so each line is looked at twice at most: from the start of a record, and from
inside quotes.

A record of several lines whose number of fields is not that of the header has lost a quote if most of the lines
inside it are records on their own. It costs its first line, too.
"""

from __future__ import annotations

import csv
from bisect import bisect_left
from codecs import BOM_UTF8
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from session_assets.drops.fields import QUOTE, Codes, Fields, Flags, Lines, Positions, positions
from session_assets.drops.limits import ERROR_RECORD_LIMIT

csv.field_size_limit(max(csv.field_size_limit(), 2 * ERROR_RECORD_LIMIT))


@dataclass(frozen=True)
class Rules:
    """What a record of a file keeps to: its delimiter, its number of fields, and the bytes of a record and of a field."""

    delimiter: str
    width: int
    record_limit: int
    field_limit: int


@dataclass(frozen=True)
class Structure:
    """The records of a block, one entry each: from line `firsts` up to line `lasts`, both of `lines`."""

    lines: Lines
    starts: Positions  # behind a byte order mark
    firsts: Positions
    lasts: Positions
    is_broken: Flags  # its quotes do not match
    is_joined: Flags  # most of the lines inside it look like records on their own
    done: int  # lines that belong to a record; those after them need more of the file
    divided: Fields | None  # how the records are divided, if every line is one

    @property
    def ends(self) -> Positions:
        return self.lines.ends[self.lasts]

    @property
    def consumed(self) -> int:
        return int(self.lines.nexts[self.done - 1]) if self.done else 0

    @staticmethod
    def of(buffer: bytes, rules: Rules, *, is_last: bool) -> Structure:
        """The structure of a block that begins with a record."""
        codes = np.frombuffer(buffer, np.uint8)
        lines = Lines.of(codes, is_last=is_last)
        starts = _behind_marks(buffer, codes, lines)
        return _Walk(buffer, codes, lines, starts, rules, is_last).structure()


def _behind_marks(buffer: bytes, codes: Codes, lines: Lines) -> Positions:
    """Where lines start if a byte order mark before them is left out: files that were put together carry one each."""
    starts = lines.starts
    if buffer.find(BOM_UTF8) < 0:
        return starts
    long = np.flatnonzero(lines.ends - starts >= len(BOM_UTF8))
    is_marked = np.logical_and.reduce([codes[starts[long] + place] == code for place, code in enumerate(BOM_UTF8)])
    starts = starts.copy()
    starts[long[is_marked]] += len(BOM_UTF8)
    return starts


_ERROR, _ENDS, _STAYS = range(3)


class _Walk:
    """One pass over the lines that do not end a record by themselves; all others are records of one line."""

    def __init__(
        self, buffer: bytes, codes: Codes, lines: Lines, starts: Positions, rules: Rules, is_last: bool
    ) -> None:
        self._buffer, self._lines, self._starts = buffer, lines, starts
        self._rules, self._is_last = rules, is_last
        count = starts.size
        mark = ord(rules.delimiter)
        self._fields: Fields | None = None
        self._quotes = positions(codes, QUOTE, lines.consumed)
        if mark < 128:
            found = positions(codes, mark, lines.consumed)
            self._fields = Fields.of(codes, self._quotes, found, starts, lines.ends, mark)
            is_clean, is_open, counts = self._fields.is_clean, self._fields.is_open, self._fields.counts
        else:  # several bytes in UTF-8: the csv module decides about each line that has a quote
            is_clean, is_open = np.ones(count, np.bool_), np.zeros(count, np.bool_)
            is_clean[np.searchsorted(starts, self._quotes, "right") - 1] = False
            counts = np.zeros(count, np.int64)
        self._is_clean, self._is_open, self._counts = is_clean, is_open, counts
        self._is_large = lines.nexts - lines.starts > rules.record_limit
        is_record = is_clean & ~is_open & ~self._is_large & (counts == rules.width)
        self._records_before = np.concatenate((np.zeros(1, np.int64), np.cumsum(is_record)))
        self._ways: dict[int, tuple[int, int, int]] = {}

    @cached_property
    def _quoted(self) -> list[int]:
        """The lines that hold a quote."""
        return np.unique(np.searchsorted(self._starts, self._quotes, "right") - 1).tolist()

    def structure(self) -> Structure:
        count = self._starts.size
        is_start, is_broken = np.ones(count, np.bool_), np.zeros(count, np.bool_)
        is_joined = np.zeros(count, np.bool_)
        done, line = count, 0
        for event in np.flatnonzero(self._is_open | ~self._is_clean | self._is_large).tolist():
            if event < line:
                continue
            end = self._end_of(event)
            if end is None:
                done = event
                break
            if end < 0:
                is_broken[event] = True
                line = event + 1
            else:
                is_start[event + 1 : end + 1] = False
                is_joined[event] = self._looks_joined(event, end)
                line = end + 1
        firsts = np.flatnonzero(is_start[:done])
        lasts = np.append(firsts[1:], done) - 1 if firsts.size else firsts
        divided = self._fields if firsts.size == count else None
        return Structure(
            self._lines, self._starts[firsts], firsts, lasts, is_broken[firsts], is_joined[firsts], done, divided
        )

    def _end_of(self, line: int) -> int | None:
        """The last line of the record that begins with a line; −1: its quotes do not match; None: more of the file decides."""
        if self._is_large[line]:
            return -1
        way, fields = (_STAYS, None) if self._is_clean[line] and self._is_open[line] else self._from_start(line)
        if way != _STAYS:
            return line if way == _ENDS else -1
        end, inside = self._from_inside(line + 1)
        if end == self._starts.size:
            is_whole = self._is_last or len(self._buffer) - int(self._lines.starts[line]) > self._rules.record_limit
            return -1 if is_whole else None
        if end < 0 or self._lines.nexts[end] - self._lines.starts[line] > self._rules.record_limit:
            return -1
        if self._looks_joined(line, end):
            before = self._counts[line] if fields is None and ord(self._rules.delimiter) < 128 else self._opened(line)
            if before + inside - 1 != self._rules.width:
                return -1
        return end

    def _looks_joined(self, first: int, last: int) -> bool:
        inner = last - first - 1
        return inner > 0 and 2 * int(self._records_before[last] - self._records_before[first + 1]) > inner

    def _from_inside(self, line: int) -> tuple[int, int]:
        """Where a record ends that is inside quotes at the start of a line, and how many fields it has from there on.

        The end is −1 where its quotes do not match, and the number of lines where the block ends first.
        """
        path: list[int] = []
        end, fields = self._starts.size, 1
        while line < self._starts.size:
            place = bisect_left(self._quoted, line)
            if place == len(self._quoted):
                break
            line = self._quoted[place]
            if line in self._ways:
                _, end, fields = self._ways[line]
                break
            way, count = self._inside(line)
            path.append(line)
            self._ways[line] = (count, -1, 1)
            if way != _STAYS:
                end, fields = (line, 1) if way == _ENDS else (-1, 1)
                break
            line += 1
        for number in reversed(path):
            count = self._ways[number][0]
            fields += count - 1
            self._ways[number] = (count, end, fields)
        return end, fields

    def _inside(self, line: int) -> tuple[int, int]:
        """What a line does that begins inside quotes, and its number of fields."""
        if self._is_large[line]:
            return _ERROR, 1
        text = '"' + self._text(int(self._lines.starts[line]), line)
        way, count = self._read(text)
        return (way, count) if way != _STAYS else (way, self._read(text + '"')[1])

    def _from_start(self, line: int) -> tuple[int, int | None]:
        return self._read(self._text(int(self._starts[line]), line))

    def _opened(self, line: int) -> int:
        """The number of fields of a line that ends inside quotes."""
        return self._read(self._text(int(self._starts[line]), line) + '"')[1]

    def _text(self, start: int, line: int) -> str:
        return self._buffer[start : self._lines.ends[line]].decode(errors="replace")

    def _read(self, text: str) -> tuple[int, int]:
        feed = _Feed(text)
        try:
            return _ENDS, len(next(csv.reader(feed, delimiter=self._rules.delimiter, strict=True), []))
        except csv.Error:
            return (_STAYS if feed.ran_out else _ERROR), 1


class _Feed:
    """One line for `csv.reader`; knows whether it asked for another."""

    def __init__(self, text: str) -> None:
        self._text: str | None = text
        self.ran_out = False

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        text, self._text = self._text, None
        if text is None:
            self.ran_out = True
            raise StopIteration
        return text
