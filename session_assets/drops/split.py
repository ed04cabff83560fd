"""A block of CSV as a frame of its records: each with its fields, or whole with what is wrong with it.

Fields of a record whose quotes open and close whole fields are cut out of the block by their positions, all at once. The `csv`
module splits the other records, such as those with a quote inside a field without quotes. Time and memory grow with the cells of
the file: a record that cannot be split takes no room for columns that it does not have.
"""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from session_assets.drops.fields import QUOTE, Codes, Fields, Flags, Positions, positions
from session_assets.drops.limits import RAW_KEPT
from session_assets.drops.structure import Rules, Structure

RECORDS = pl.Schema(
    {
        "row": pl.Int64,  # 1-based data row
        "line": pl.Int64,  # 1-based physical line where the record begins
        "lines": pl.Int64,  # physical lines that it holds
        "problem": pl.String,  # one of `PROBLEMS`: why the record cannot be used as it stands, else null
        "raw": pl.Binary,  # the record itself where it cannot be split into the header's fields, else null
        "fields": pl.List(pl.String),  # all values, exact, in the order of the header; null where `raw` is given
    }
)
PROBLEMS = (None, "broken_quotes", "record_too_large", "wrong_encoding", "holds_nul", "ragged", "field_too_large")
_NONE, _QUOTES, _TOO_LARGE, _ENCODING, _NUL, _RAGGED, _LARGE_FIELD = range(len(PROBLEMS))
_NAMES = np.array(PROBLEMS, dtype=object)


@dataclass(frozen=True)
class Split:
    """`frame` as `RECORDS`, with its first row and line as asked; what it took from the block; records that look joined."""

    frame: pl.DataFrame
    consumed: int  # bytes
    lines: int  # physical lines in them
    joined: int
    is_cut: bool  # what follows is the beginning of a line that is too large


def split_block(buffer: bytes, rules: Rules, *, is_last: bool, row: int, line: int) -> Split:
    """All records that end in a block, which begins with one."""
    found = Structure.of(buffer, rules, is_last=is_last)
    frame, joined = _Splitter(buffer, found, rules, row, line).frame()
    is_cut = found.done == found.lines.starts.size and len(buffer) - found.consumed > rules.record_limit
    return Split(frame, found.consumed, found.done, joined, is_cut)


class _Splitter:
    def __init__(self, buffer: bytes, found: Structure, rules: Rules, row: int, line: int) -> None:
        self._buffer, self._found, self._rules = buffer, found, rules
        self._codes = np.frombuffer(buffer, np.uint8)
        self._starts, self._ends = found.starts, found.ends
        self._used = self._ends > self._starts  # an empty line is no record
        self._rows = row + np.cumsum(self._used) - 1
        self._lines = line + found.firsts

    def frame(self) -> tuple[pl.DataFrame, int]:
        problems = self._problems()
        whole = self._used & (problems == _NONE)
        divided = self._divided()
        if divided is None:
            clean = np.zeros(whole.size, np.bool_)
        else:
            clean = whole & divided.is_clean
            ragged = clean & (divided.counts != self._rules.width)
            problems[ragged] = _RAGGED
            clean &= ~ragged
        parts = [self._cut(divided, clean)] if divided is not None and clean.any() else []
        odd = np.flatnonzero(whole & ~clean & (problems == _NONE))
        parts += self._parsed(odd, problems)
        parts += self._rejected(np.flatnonzero(self._used & (problems != _NONE)), problems)
        frame = parts[0] if len(parts) == 1 else pl.concat([RECORDS.to_frame(), *parts]).sort("row")
        return frame, int((self._found.is_joined & (problems == _NONE)).sum())

    def _problems(self) -> npt.NDArray[np.int8]:
        """What is wrong with each record, told without splitting it: 0, or a place in `PROBLEMS`."""
        found = self._found
        problems = np.zeros(found.starts.size, np.int8)
        if b"\0" in self._buffer:
            problems[self._owners(positions(self._codes, 0, found.consumed))] = _NUL
        problems[self._undecodable()] = _ENCODING
        problems[found.is_broken] = _QUOTES
        sizes = found.lines.nexts[found.firsts] - found.lines.starts[found.firsts]
        problems[found.is_broken & (sizes > self._rules.record_limit)] = _TOO_LARGE
        return problems

    def _undecodable(self) -> list[int]:
        found = self._found
        try:
            str(memoryview(self._buffer)[: found.consumed], "utf-8")
        except UnicodeDecodeError:
            beyond = self._owners(np.flatnonzero(self._codes[: found.consumed] >= 128))
            return [number for number in np.unique(beyond).tolist() if not self._is_text(number)]
        return []

    def _is_text(self, record: int) -> bool:
        try:
            str(memoryview(self._buffer)[self._starts[record] : self._ends[record]], "utf-8")
        except UnicodeDecodeError:
            return False
        return True

    def _owners(self, places: Positions) -> Positions:
        """The record that each position belongs to."""
        firsts = self._found.lines.starts[self._found.firsts]
        return np.searchsorted(firsts, places, "right") - 1

    def _divided(self) -> Fields | None:
        mark = ord(self._rules.delimiter)
        if self._found.divided is not None:
            return self._found.divided
        if mark >= 128 or not self._starts.size:
            return None
        quotes, delimiters = (positions(self._codes, code, self._found.consumed) for code in (QUOTE, mark))
        return Fields.of(self._codes, quotes, delimiters, self._starts, self._ends, mark)

    def _cut(self, divided: Fields, chosen: Flags) -> pl.DataFrame:
        """Records that are clean and as wide as the header."""
        numbers = np.flatnonzero(chosen)
        starts, ends = self._starts[numbers], self._ends[numbers]
        delimiters = divided.delimiters
        if numbers.size < chosen.size:
            delimiters = delimiters[np.repeat(chosen, divided.counts - 1)]
        inner = delimiters.reshape(numbers.size, self._rules.width - 1)
        firsts = np.hstack((starts[:, None], inner + 1)).ravel()
        lasts = np.hstack((inner, ends[:, None])).ravel()
        sizes = lasts - firsts
        dropped = self._dropped(divided, chosen)
        if dropped.size:
            sizes -= np.bincount(np.searchsorted(firsts, dropped, "right") - 1, minlength=sizes.size)
        kept = _marked(self._codes.size, starts, ends)
        kept[delimiters] = False
        kept[dropped] = False
        values = _strings(self._codes[kept], sizes, pa.string())
        lists = pa.ListArray.from_arrays(
            pa.array(np.arange(numbers.size + 1, dtype=np.int32) * self._rules.width), values
        )
        too_large = (sizes > self._rules.field_limit).reshape(numbers.size, self._rules.width).any(axis=1)
        problems = pl.Series(_NAMES[too_large * _LARGE_FIELD].tolist()) if too_large.any() else None
        return self._numbered(numbers, problems, None, pl.Series(pl.from_arrow(lists), dtype=RECORDS["fields"]))

    def _dropped(self, divided: Fields, chosen: Flags) -> Positions:
        """The quotes that are no part of a value: all but the second of each doubled pair."""
        quotes, is_odd = divided.quotes, divided.is_odd
        if not chosen.all():
            is_chosen = np.repeat(chosen, divided.owned)
            quotes, is_odd = quotes[is_chosen], is_odd[is_chosen]
        is_second = np.zeros(quotes.size, np.bool_)
        is_second[1:] = ~is_odd[1:] & is_odd[:-1] & (quotes[1:] == quotes[:-1] + 1)
        return quotes[~is_second]

    def _parsed(self, numbers: Positions, problems: npt.NDArray[np.int8]) -> list[pl.DataFrame]:
        """Records that the csv module splits. Those of another width are marked in `problems`."""
        kept: list[int] = []
        values: list[list[str]] = []
        large: list[str | None] = []
        for number in numbers.tolist():
            text = self._buffer[self._starts[number] : self._ends[number]].decode()
            fields = next(csv.reader(io.StringIO(text, newline=""), delimiter=self._rules.delimiter, strict=True))
            if len(fields) != self._rules.width:
                problems[number] = _RAGGED
                continue
            kept.append(number)
            values.append(fields)
            is_large = len(text) > self._rules.field_limit // 4 and any(
                len(one.encode()) > self._rules.field_limit for one in fields
            )
            large.append(PROBLEMS[_LARGE_FIELD] if is_large else None)
        if not kept:
            return []
        return [self._numbered(np.array(kept), pl.Series(large), None, pl.Series(values, dtype=RECORDS["fields"]))]

    def _rejected(self, numbers: Positions, problems: npt.NDArray[np.int8]) -> list[pl.DataFrame]:
        if not numbers.size:
            return []
        found = self._found
        starts, ends = found.lines.starts[found.firsts[numbers]], self._ends[numbers]
        ends = np.where(problems[numbers] == _TOO_LARGE, np.minimum(ends, starts + RAW_KEPT), ends)
        raws = _strings(self._codes[_marked(self._codes.size, starts, ends)], ends - starts, pa.binary())
        return [
            self._numbered(numbers, pl.Series(_NAMES[problems[numbers]].tolist()), pl.Series(pl.from_arrow(raws)), None)
        ]

    def _numbered(
        self, numbers: Positions, problems: pl.Series | None, raws: pl.Series | None, fields: pl.Series | None
    ) -> pl.DataFrame:
        found = self._found
        columns = {
            "row": self._rows[numbers],
            "line": self._lines[numbers],
            "lines": found.lasts[numbers] - found.firsts[numbers] + 1,
            "problem": problems,
            "raw": raws,
            "fields": fields,
        }
        nothing = pl.Series([None])
        series = [
            pl.Series(name, values, dtype=RECORDS[name])
            if values is not None and len(values)
            else nothing.cast(RECORDS[name]).new_from_index(0, numbers.size).alias(name)
            for name, values in columns.items()
        ]
        return pl.DataFrame(series)


def _marked(size: int, starts: Positions, ends: Positions) -> Flags:
    """Which of so many bytes stand in one of the stretches, which are in order and apart."""
    edges = np.empty(2 * starts.size + 2, np.int64)
    edges[0], edges[-1] = 0, size
    edges[1:-1:2], edges[2:-1:2] = starts, ends
    inside = np.zeros(edges.size - 1, np.bool_)
    inside[1::2] = True
    return np.repeat(inside, np.diff(edges))


def _strings(data: Codes, sizes: Positions, dtype: pa.DataType) -> pa.Array:
    """The data cut into pieces of these sizes."""
    offsets = np.concatenate((np.zeros(1, np.int32), np.cumsum(sizes, dtype=np.int32)))
    return pa.Array.from_buffers(
        dtype, sizes.size, [None, pa.py_buffer(offsets), pa.py_buffer(np.ascontiguousarray(data))]
    )
