"""A CSV file as frames of records, in bounded memory. Every physical record comes out, as values or with its problem.

Whatever is well-formed is split by Polars (`wellformed`), the rest record by record (`records`); both say the same.
"""

from __future__ import annotations

import codecs
import io
from collections.abc import Iterator, Sequence
from pathlib import Path

import polars as pl

from session_assets.drops.content import Damaged, open_drop, other_format, utf8_chunks
from session_assets.errors import BadInput, UsageError
from session_assets.kintell.dialect import DELIMITERS, ESCAPED_VALUE, Header, choose_delimiter, read_header
from session_assets.kintell.model import ERROR_ROW, RECORD_LIMIT, REQUIRED, value_name
from session_assets.kintell.records import RAW_KEPT, Budget, Careful, Records, read_records
from session_assets.kintell.wellformed import read_block

BLOCK = 4 * RECORD_LIMIT  # bytes that are looked at together
MOST_RECORDS = 50_000  # of a frame
_LEAST_EXPANDED = 1024**3
_MOST_EXPANSION = 200  # what text compresses by; a gzip bomb by up to 1,000


class CsvFile:
    """One pass over a file. `header` and `delimiter` are known once it is open; `rows` and `lines` count what was read."""

    def __init__(
        self, path: Path, *, encoding: str | None = None, required: Sequence[str] = REQUIRED, name: str | None = None
    ) -> None:
        """`name` is what messages call the file, where it is not the path's."""
        self._path = path
        self._name = name or path.name
        self._encoding = _checked_encoding(encoding)
        self._required = required
        self._buffer, self._is_last = b"", False
        self.rows = 0
        self.lines = 0
        self.size = path.lstat().st_size
        self.bytes_read = 0

    def frames(self) -> Iterator[tuple[Header, pl.DataFrame]]:
        """The header, and frames as `model.RECORDS` with their value columns, some 35,000 rows each.

        Raises `BadInput`: the file is empty, cut off, no CSV, or its header lacks a required column.
        """
        with open_drop(self._path) as raw:
            most = max(_LEAST_EXPANDED, _MOST_EXPANSION * self.size)
            source = io.BufferedReader(raw, RECORD_LIMIT)
            chunks = utf8_chunks(source, self._encoding, most=most)
            try:
                for found in self._frames(chunks):
                    self.bytes_read = source.tell()
                    yield found
            except Damaged as error:
                raise BadInput(
                    f"{self._name}: its gzip data is cut off or damaged after {self.rows:,} readable rows (line"
                    f" {self.lines:,}): {error}. Bring the complete file again."
                ) from error
            except UnicodeError as error:  # of what is not valid in it the decoder makes records
                raise BadInput(
                    f"{self._name}: cannot be read as {self._encoding}: {error}. Say another encoding, for example latin-1 or"
                    " utf-16-le."
                ) from None

    def _frames(self, chunks: Iterator[bytes]) -> Iterator[tuple[Header, pl.DataFrame]]:
        self._fill(chunks, BLOCK)
        delimiter, header = self._read_header()
        budget = Budget()
        yield header, Records(1, header.width).frame()
        moved = True
        while self._buffer or not self._is_last:
            self._fill(chunks, BLOCK if moved else len(self._buffer) + 1)
            left = len(self._buffer)
            found = self._quick(delimiter, header)
            if found is None:
                found = self._careful(delimiter, header, budget, chunks)
            moved = len(self._buffer) < left
            if found.height:
                self.rows += found.height
                yield header, _unescaped(found, header) if header.is_error_file else found

    def _fill(self, chunks: Iterator[bytes], least: int) -> None:
        parts, size = [self._buffer], len(self._buffer)
        while size < least and not self._is_last:
            chunk = next(chunks, None)
            if chunk is None:
                self._is_last = True
            else:
                parts.append(chunk)
                size += len(chunk)
        self._buffer = b"".join(parts)

    def _quick(self, delimiter: str, header: Header) -> pl.DataFrame | None:
        block = read_block(
            self._buffer,
            delimiter=delimiter,
            width=header.width,
            row=self.rows + 1,
            line=self.lines + 1,
            most=MOST_RECORDS,
        )
        if block is None:
            return None
        self._consume(block.consumed, block.lines)
        return block.frame

    def _careful(self, delimiter: str, header: Header, budget: Budget, chunks: Iterator[bytes]) -> pl.DataFrame:
        found = read_records(
            self._buffer,
            is_last=self._is_last,
            delimiter=delimiter,
            width=header.width,
            row=self.rows + 1,
            line=self.lines + 1,
            budget=budget,
            most=MOST_RECORDS,
        )
        self._consume(found.consumed, found.lines)
        if found.cut_line:
            found.records.add(self.lines + 1, "record_too_large", self._buffer[:RAW_KEPT], None)
            self._skip_line(chunks)
        return found.records.frame()

    def _consume(self, size: int, lines: int) -> None:
        self._buffer = self._buffer[size:]
        self.lines += lines

    def _skip_line(self, chunks: Iterator[bytes]) -> None:
        """Go to the end of a line that is too large, holding little of it."""
        while True:
            end = min((at for at in (self._buffer.find(b"\n"), self._buffer.find(b"\r")) if at >= 0), default=-1)
            if end >= 0 and (self._is_last or end + 1 < len(self._buffer)):
                end += 2 if self._buffer[end : end + 2] == b"\r\n" else 1
                self._consume(end, 1)
                return
            if self._is_last:
                self._consume(len(self._buffer), 1)
                return
            self._buffer = self._buffer[-1:] if end >= 0 else b""
            self._fill(chunks, BLOCK)

    def _read_header(self) -> tuple[str, Header]:
        name = self._name
        if not self._buffer:
            raise BadInput(f"{name}: empty. Bring a file with a header and rows.")
        if kind := other_format(self._buffer):
            raise BadInput(f"{name}: this is {kind}, not CSV, plain or gzip. Save it as CSV.")
        found = {delimiter: self._first_record(delimiter) for delimiter in DELIMITERS}
        names = {
            delimiter: [str(value) for value in first.records.fields[0]]
            for delimiter, first in found.items()
            if first.records.problems == [None]
        }
        if not names:
            raise BadInput(
                f"{name}: it does not begin with a CSV header: no text at all, or quotes that do not match, a line above"
                f" {RECORD_LIMIT:,} bytes, NUL (a binary file, or UTF-16 without a mark: say --encoding utf-16-le), or"
                " another encoding than UTF-8 (say --encoding latin-1)."
            )
        delimiter = choose_delimiter(names)
        header = read_header(names[delimiter], self._required, name)
        self._consume(found[delimiter].consumed, found[delimiter].lines)
        return delimiter, header

    def _first_record(self, delimiter: str) -> Careful:
        return read_records(
            self._buffer, is_last=self._is_last, delimiter=delimiter, width=0, row=1, line=1, budget=Budget(), most=1
        )


def encoding_of(path: Path, told: str | None) -> str | None:
    """The encoding to read a file with: our error files are UTF-8, whatever is told of the files that they came from."""
    if _checked_encoding(told) is None:
        return None
    decoder, start = codecs.getincrementaldecoder("utf-8")(), True
    try:
        with open_drop(path) as raw:
            for chunk in utf8_chunks(io.BufferedReader(raw, RECORD_LIMIT), None, most=None):
                if start and ERROR_ROW.encode() not in chunk.lower():
                    return told
                start = False
                decoder.decode(chunk)
            decoder.decode(b"", True)
    except (UnicodeDecodeError, Damaged):
        return told
    return told if start else None


def _checked_encoding(encoding: str | None) -> str | None:
    if encoding is not None:
        try:
            "".encode(encoding)
        except (LookupError, ValueError):
            raise UsageError(
                f"there is no text encoding {encoding!r}. Say, for example, latin-1 or utf-16-le."
            ) from None
    return encoding


def _unescaped(frame: pl.DataFrame, header: Header) -> pl.DataFrame:
    """Records of an error file: values without the mark against formulas, whole records out of `_raw`."""
    names = [value_name(place) for place in header.own]
    frame = frame.with_columns(pl.col(names).str.replace(ESCAPED_VALUE, "$1"))
    if header.raw is None:
        return frame
    raw = pl.col(value_name(header.raw))
    still_raw = pl.col("problem").is_null() & (raw != "") & pl.all_horizontal(pl.col(names) == "")
    decoded = pl.coalesce(raw.str.decode("base64", strict=False), raw.cast(pl.Binary))
    return frame.with_columns(
        problem=pl.when(still_raw).then(pl.lit("still_raw")).otherwise("problem"),
        raw=pl.when(still_raw).then(decoded).otherwise("raw"),
        **{name: pl.when(~still_raw).then(pl.col(name)) for name in names},
    )
