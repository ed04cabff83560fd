"""The quick way to read CSV: where a block of bytes is provably well-formed, Polars splits it.

Provably: every quote opens or closes a whole field or is one of a doubled pair, every CR belongs to a line end, the text
is valid UTF-8 without NUL, no record begins with a byte order mark. Then the records, and the number of fields of each, follow
from the positions of quotes, delimiters and line ends alone. Polars' own reader would drop or cut what does not fit, so it never
gets to see that: only records that stand on one line and have as many fields as the header.
"""

from __future__ import annotations

import csv
import io
from codecs import BOM_UTF8
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from session_assets.kintell.model import FIELD_LIMIT, value_name

_QUOTE, _CR, _LF = 34, 13, 10
_Positions = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Block:
    """Records of a block: `frame` as `model.RECORDS`, rows from `row`, lines from `line`."""

    frame: pl.DataFrame
    consumed: int  # bytes
    lines: int  # physical lines in them


def read_block(buffer: bytes, *, delimiter: str, width: int, row: int, line: int, most: int) -> Block | None:
    """The first records of `buffer`, which begins with one, at most so many; None where they are not provably well-formed."""
    found = _Structure.of(buffer, ord(delimiter), most)
    if found is None or found.sizes.max() > FIELD_LIMIT or _is_marked(buffer, found):
        return None
    used = ~(found.sizes == 0)  # an empty line is no record
    ragged = used & (found.fields != width)
    folded = used & ~ragged & found.folded
    plain = used & ~ragged & ~folded
    rows = row + np.cumsum(used) - 1
    lines = line + np.searchsorted(found.line_ends, found.starts)
    values = _split(buffer, found, plain, delimiter, width)
    if values is None:
        return None
    frames = [_numbered(values, rows[plain], lines[plain])]
    if folded.any():
        records = [_one(buffer, found, int(number), delimiter) for number in np.flatnonzero(folded)]
        if any(len(record) != width for record in records):
            return None
        frames.append(_numbered(_frame(records, width), rows[folded], lines[folded]))
    if ragged.any():
        raws = [buffer[found.starts[number] : found.ends[number]] for number in np.flatnonzero(ragged)]
        frames.append(_numbered(_frame([[None] * width] * len(raws), width), rows[ragged], lines[ragged], raws))
    frame = frames[0] if len(frames) == 1 else pl.concat(frames).sort("row")
    return Block(frame, found.consumed, int(np.searchsorted(found.line_ends, found.consumed)))


@dataclass(frozen=True)
class _Structure:
    """Where the records of a block stand: one entry a record."""

    line_ends: _Positions  # all, also those inside quotes: LF, CRLF, CR
    starts: _Positions
    ends: _Positions  # without the line end
    fields: _Positions
    folded: npt.NDArray[np.bool_]  # holds a line break inside quotes
    consumed: int
    quoted: bool
    crlf: bool

    @property
    def sizes(self) -> _Positions:
        return self.ends - self.starts

    @staticmethod
    def of(buffer: bytes, delimiter: int, most: int) -> _Structure | None:
        codes = np.frombuffer(buffer, np.uint8)
        quotes = np.flatnonzero(codes == _QUOTE)
        newlines = np.flatnonzero(codes == _LF)
        inside = _is_inside(quotes, newlines)
        closing = newlines[~inside][:most]
        if not closing.size:
            return None
        consumed = int(closing[-1]) + 1
        quotes = quotes[: np.searchsorted(quotes, consumed)]
        if not _quotes_match(codes, quotes, delimiter) or not _is_text(buffer, consumed):
            return None
        returns = np.flatnonzero(codes[:consumed] == _CR) if b"\r" in buffer else np.empty(0, np.int64)
        inner_returns = _is_inside(quotes, returns)
        if not (codes[returns[~inner_returns] + 1] == _LF).all():
            return None
        alone = returns[codes[returns + 1] != _LF]
        line_ends = np.sort(np.concatenate((newlines, alone))) if alone.size else newlines
        starts = np.concatenate(([0], closing[:-1] + 1))
        ends = closing - ((closing > starts) & (codes[np.maximum(closing - 1, 0)] == _CR))
        delimiters = np.flatnonzero(codes[:consumed] == delimiter)
        delimiters = delimiters[~_is_inside(quotes, delimiters)]
        fields = np.diff(np.searchsorted(delimiters, closing), prepend=0) + 1
        folded = np.zeros(closing.size, np.bool_)
        inner = np.concatenate((newlines[inside], returns[inner_returns]))
        folded[np.searchsorted(closing, inner[inner < consumed])] = True
        return _Structure(line_ends, starts, ends, fields, folded, consumed, quotes.size > 0, returns.size > 0)


def _is_inside(quotes: _Positions, positions: _Positions) -> npt.NDArray[np.bool_]:
    """Whether an odd number of quotes comes before each position."""
    if not quotes.size:
        return np.zeros(positions.size, np.bool_)
    return (np.searchsorted(quotes, positions) & 1).astype(np.bool_)


def _quotes_match(codes: npt.NDArray[np.uint8], quotes: _Positions, delimiter: int) -> bool:
    """Whether each quote opens or closes a whole field, or doubles another."""
    opening, closing = quotes[0::2], quotes[1::2]
    before = codes[opening[opening > 0] - 1]
    after = codes[closing + 1]  # a line end follows them all
    return bool(
        ((before == delimiter) | (before == _LF) | (before == _QUOTE)).all()
        and ((after == delimiter) | (after == _LF) | (after == _CR) | (after == _QUOTE)).all()
    )


def _is_text(buffer: bytes, size: int) -> bool:
    view = memoryview(buffer)[:size]
    try:
        str(view, "utf-8")
    except UnicodeDecodeError:
        return False
    return buffer.find(b"\0", 0, size) < 0


def _is_marked(buffer: bytes, found: _Structure) -> bool:
    """Whether a byte order mark stands before a record."""
    if buffer.find(BOM_UTF8, 0, found.consumed) < 0:
        return False
    codes = np.frombuffer(buffer, np.uint8)
    starts = found.starts[found.sizes >= len(BOM_UTF8)]
    return bool(np.logical_and.reduce([codes[starts + place] == code for place, code in enumerate(BOM_UTF8)]).any())


def _split(
    buffer: bytes, found: _Structure, plain: npt.NDArray[np.bool_], delimiter: str, width: int
) -> pl.DataFrame | None:
    """The fields of records that stand on one line each."""
    count = int(plain.sum())
    if not count:
        return _frame([], width)
    if plain.all():
        data = buffer[: found.consumed]
    else:
        lengths = np.diff(found.starts, append=found.consumed)
        data = np.frombuffer(buffer, np.uint8)[: found.consumed][np.repeat(plain, lengths)].tobytes()
    if found.crlf:
        data = data.replace(b"\r\n", b"\n")
    names = delimiter.join(
        _names(width)
    ).encode()  # a line of ours first: nothing of the file looks like a BOM or an archive
    frame = pl.read_csv(
        names + b"\n" + data,
        separator=delimiter,
        quote_char='"' if found.quoted else None,
        infer_schema=False,
        empty_string_is_null=False,
    )
    return frame if frame.shape == (count, width) else None


def _one(buffer: bytes, found: _Structure, number: int, delimiter: str) -> list[str]:
    text = buffer[found.starts[number] : found.ends[number]].decode()
    return next(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True))


def _names(width: int) -> list[str]:
    return [value_name(place) for place in range(width)]


def _frame(records: list[list[str]] | list[list[None]], width: int) -> pl.DataFrame:
    columns = list(zip(*records, strict=True)) or [()] * width
    return pl.DataFrame(dict(zip(_names(width), columns, strict=True)), schema=dict.fromkeys(_names(width), pl.String))


def _numbered(
    values: pl.DataFrame, rows: _Positions, lines: _Positions, raws: list[bytes] | None = None
) -> pl.DataFrame:
    return values.select(
        pl.Series("row", rows, dtype=pl.Int64),
        pl.Series("line", lines, dtype=pl.Int64),
        pl.lit("ragged" if raws else None, dtype=pl.String).alias("problem"),
        pl.Series("raw", raws, dtype=pl.Binary) if raws else pl.lit(None, dtype=pl.Binary).alias("raw"),
        *_names(values.width),
    )
