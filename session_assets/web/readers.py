"""Dropped files as records: every physical record comes out, as values or as rejected with its row, line and reason.

polars' own readers drop or cut rows that do not fit, so they are not used here.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from session_assets.drops.content import Damaged, open_drop, other_format, utf8_chunks
from session_assets.errors import BadInput
from session_assets.masking import mask_emails, safe_text
from session_assets.web.lines import LIMIT, Lines, Reason, RecordTooLong, shortened
from session_assets.web.mapping import DropMapping

_BATCH_ROWS = 20_000
_BATCH_BYTES = 16 * 1024 * 1024
_FORMATS = {".csv": "csv", ".tsv": "csv", ".ndjson": "ndjson", ".jsonl": "ndjson", ".json": "ndjson"}


@dataclass
class Records:
    """Some records in file order: readable ones in four parallel lists, the others in `rejected`."""

    rows: list[int] = field(default_factory=list)  # 1-based data row
    lines: list[int] = field(default_factory=list)  # physical line where it begins
    raws: list[str] = field(default_factory=list)  # its first line
    values: list[Any] = field(default_factory=list)  # list[str] of a CSV record, dict of a JSON one
    rejected: list[tuple[int, int, str, str]] = field(default_factory=list)  # row, line, reason, raw

    def __len__(self) -> int:
        return len(self.rows) + len(self.rejected)

    def keep(self, row: int, line: int, raw: str, value: Any) -> None:
        self.rows.append(row)
        self.lines.append(line)
        self.raws.append(raw)
        self.values.append(value)

    def reject(self, row: int, line: int, raw: str, reason: Reason) -> None:
        self.rejected.append((row, line, str(reason), shortened(raw)))


class _Tee(io.RawIOBase):
    """A raw file that fingerprints what is read from it."""

    def __init__(self, raw: io.FileIO) -> None:
        self._raw = raw
        self.digest = hashlib.sha256()
        self.size = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        count = self._raw.readinto(buffer) or 0
        self.digest.update(memoryview(buffer)[:count])
        self.size += count
        return count


class Drop:
    """One pass over a dropped file. `sha256` and `size`, of the file as it lies there, are known at its end."""

    def __init__(self, path: Path, mapping: DropMapping, shown: Path | None = None) -> None:
        self._path = path
        self._shown = safe_text(shown or path)  # what errors call it
        self._mapping = mapping
        self.is_csv = self._format() == "csv"
        self.rows = 0
        self.columns: dict[str, None] = {}  # of the header; of JSON, the keys seen while looking for the mapped ones
        self.sha256 = ""
        self.size = 0

    def records(self) -> Iterator[Records]:
        """All records, some 20,000 at a time. Raises `BadInput` for a file that is empty, cut off, no CSV or NDJSON."""
        with open_drop(self._path) as raw:
            tee = _Tee(raw)
            lines = Lines(utf8_chunks(io.BufferedReader(tee, LIMIT), self._mapping.encoding))
            try:
                lines.peek(self._check_start)
                yield from self._csv(lines) if self.is_csv else self._ndjson(lines)
            except Damaged as error:
                raise BadInput(
                    f"{self._shown}: its gzip data is cut off or damaged after {self.rows} readable rows (line {lines.line}):"
                    f" {error}. Nothing of it is used. Drop the complete file again."
                ) from error
            self.sha256, self.size = tee.digest.hexdigest(), tee.size

    def _format(self) -> str:
        suffixes = [suffix.lower() for suffix in self._path.suffixes if suffix.lower() != ".gz"]
        known = self._mapping.format or _FORMATS.get(suffixes[-1] if suffixes else "")
        if known is None:
            raise BadInput(
                f"{self._shown}: neither its name ({', '.join(_FORMATS)}, with or without .gz) nor the mapping says its"
                " format. Add `format: csv` or `format: ndjson` to the mapping."
            )
        return known

    def _check_start(self, first: bytes | None) -> None:
        """Refuse what is no text by its first line; a bad line further on is only rejected."""
        if first is None:
            raise BadInput(f"{self._shown}: empty. Drop a file with data, or remove it.")
        if kind := other_format(first):
            raise BadInput(f"{self._shown}: this is {kind}, not CSV or NDJSON, plain or gzip.")
        if b"\0" in first:
            raise BadInput(
                f"{self._shown}: line 1 holds NUL bytes: a binary file, or UTF-16 without `encoding:` in the mapping."
            )

    def _csv(self, lines: Lines) -> Iterator[Records]:
        csv.field_size_limit(max(csv.field_size_limit(), 2 * LIMIT))
        default = "\t" if ".tsv" in self._path.suffixes else ","
        reader = csv.reader(lines, delimiter=self._mapping.delimiter or default, strict=True)
        width, batch, full = self._header(reader, lines), Records(), _BATCH_ROWS
        while True:
            start, lines.record_bytes = lines.line + 1, 0
            reason = None
            try:
                record = next(reader, None)
            except csv.Error:
                record, reason = [], Reason.QUOTES
            except RecordTooLong:
                record, reason = [], Reason.TOO_LONG
            if record is None:
                break
            if lines.bad:
                reason = lines.take_bad()
            if reason is None and len(record) == width:
                self.rows += 1
                batch.keep(self.rows, start, lines.first, record)
            elif reason is not None or record:  # else an empty line
                self.rows += 1
                batch.reject(self.rows, start, lines.first, reason or Reason.RAGGED)
            if self.rows >= full or lines.batch_bytes >= _BATCH_BYTES:
                yield batch
                batch, lines.batch_bytes, full = Records(), 0, self.rows + _BATCH_ROWS
        if len(batch):
            yield batch

    def _header(self, reader: Iterator[list[str]], lines: Lines) -> int:
        """Read and check the header; the number of its columns."""
        try:
            header = next((record for record in reader if record or lines.bad), None)
        except (csv.Error, RecordTooLong) as error:
            raise BadInput(f"{self._shown}: line {lines.line}: no CSV header: {error or Reason.TOO_LONG}.") from error
        if header is None:
            raise BadInput(f"{self._shown}: no header. The first line of a CSV file names its columns.")
        if reason := lines.take_bad():
            raise BadInput(
                f"{self._shown}: line {lines.line}: the header is {reason}. Correct it, or give its `encoding:`."
            )
        header = [name.strip() for name in header]
        if twice := [name for name in header if header.count(name) > 1]:
            raise BadInput(
                f"{self._shown}: line {lines.line}: the header names {mask_emails(repr(twice[0]))} more than once."
            )
        self.columns = dict.fromkeys(header)
        self._mapping.require(self.columns, self._shown)
        return len(header)

    def _ndjson(self, lines: Lines) -> Iterator[Records]:
        batch, objects, full = Records(), 0, _BATCH_ROWS
        absent = {*self._mapping.columns, *self._mapping.properties}
        for text in lines:
            lines.record_bytes = 0
            reason = lines.take_bad() if lines.bad else None
            if reason is None and text.isspace():
                continue
            self.rows += 1
            value = _parsed(text) if reason is None else None
            if isinstance(value, dict):
                objects += 1
                if absent:
                    self.columns.update(dict.fromkeys(value) if len(self.columns) < 1000 else {})
                    absent.difference_update(value)
                batch.keep(self.rows, lines.line, text, value)
            else:
                batch.reject(self.rows, lines.line, lines.first, reason or Reason.NOT_JSON)
            if self.rows >= full or lines.batch_bytes >= _BATCH_BYTES:
                yield batch
                batch, lines.batch_bytes, full = Records(), 0, self.rows + _BATCH_ROWS
        if len(batch):
            yield batch
        if not self.rows:
            raise BadInput(f"{self._shown}: empty. Drop a file with data, or remove it.")
        if not objects:
            raise BadInput(f"{self._shown}: none of its {self.rows} lines is a JSON object: not NDJSON.")
        if absent:
            self._mapping.require(self.columns, self._shown)


def _parsed(text: str) -> object:
    """The JSON value of a line, or None where it is none: NaN and Infinity are no JSON."""
    try:
        return _JSON.decode(text)
    except (ValueError, RecursionError):
        return None


def _no_constant(name: str) -> None:
    raise ValueError(name)


_JSON = json.JSONDecoder(parse_constant=_no_constant)
