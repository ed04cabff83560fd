"""Dropped event files as the texts that their mapping reads: every record comes out, read or rejected with its reason."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from session_assets.drops.csv_file import CsvFile, is_error_file
from session_assets.drops.header import Advice, Names, plain, repeated, shown
from session_assets.drops.json_lines import JsonLines, JsonRecords
from session_assets.errors import BadInput
from session_assets.masking import safe_text
from session_assets.web.mapping import DropMapping
from session_assets.web.reasons import OF_PROBLEM, RAW_CHARACTERS, Reason

REJECTS = pl.Schema(
    {
        "row": pl.Int64,  # 1-based data row
        "line": pl.Int64,  # physical line where it begins
        "lines": pl.Int64,  # physical lines that it holds
        "reason": pl.String,
        "raw": pl.String,  # the beginning of its text
        "record": pl.Binary,  # the record itself: of CSV where it cannot be split, else null
        "fields": pl.List(pl.String),  # of CSV, its values
    }
)
_PLACES = ("row", "line", "lines")
_ROWS = 20_000
_FORMATS = {".csv": "csv", ".tsv": "csv", ".ndjson": "ndjson", ".jsonl": "ndjson", ".json": "ndjson"}
_ENCODING, _DELIMITER = "Give `encoding: {}` in the mapping.", 'Give `delimiter: "{}"` in the mapping.'
_DEEPEST = 50
_LONG_NUMBER = re.compile(r"\d{19}")
_INT64 = 2**63


@dataclass(frozen=True)
class Read:
    """Some records in file order.

    `values`: `row`, `line`, `lines`, `record` and `fields` as in `REJECTS`, `properties` (a JSON object), and a String column
    `.{name}` for each column that the mapping reads. `rejected`: `REJECTS`.
    """

    values: pl.DataFrame
    rejected: pl.DataFrame


class Drop:
    """One pass over a dropped file. `sha256`, `size` and `suggested`, an encoding that it may have, are known at its end."""

    def __init__(self, path: Path, mapping: DropMapping, shown: Path | None = None) -> None:
        self._name = safe_text(shown or path)  # what errors call it
        self._mapping = mapping
        suffixes = [suffix.lower() for suffix in path.suffixes if suffix.lower() != ".gz"]
        self.is_csv = self._format(suffixes) == "csv"
        is_ours = path.is_file() and not path.is_symlink() and is_error_file(path)
        encoding = None if is_ours else mapping.encoding
        delimiter = "," if is_ours else mapping.delimiter or ("\t" if ".tsv" in suffixes else ",")
        self._advice = Advice(_ENCODING, _DELIMITER, (delimiter,))
        self._csv = CsvFile(
            path, advice=self._advice, encoding=encoding, known=[*map(plain, mapping.columns)], name=self._name
        )
        self._json = JsonLines(path, encoding=encoding, name=self._name)
        self._source = self._csv.source if self.is_csv else self._json.source
        self.header: list[str] = []
        """Of CSV, the columns of the source."""

    @property
    def rows(self) -> int:
        return self._source.rows

    @property
    def sha256(self) -> str:
        return self._source.sha256

    @property
    def size(self) -> int:
        return self._source.size

    @property
    def suggested(self) -> str | None:
        return self._csv.suggested

    @property
    def joined(self) -> int:
        """Read records of several lines, most of which look like records of their own."""
        return self._csv.joined

    def records(self) -> Iterator[Read]:
        """All records, some 20,000 at a time. Raises `BadInput` for a file that is empty, cut off, no CSV or NDJSON."""
        yield from self._from_csv() if self.is_csv else self._from_json()

    def _format(self, suffixes: list[str]) -> str:
        known = self._mapping.format or _FORMATS.get(suffixes[-1] if suffixes else "")
        if known is None:
            raise BadInput(
                f"{self._name}: neither its name ({', '.join(_FORMATS)}, with or without .gz) nor the mapping says its"
                " format. Add `format: csv` or `format: ndjson` to the mapping."
            )
        return known

    def _from_csv(self) -> Iterator[Read]:
        places: dict[str, int] = {}
        for names, frame in self._csv.records():
            if not places:
                places = self._places(names)
                self.header = [names.names[place] for place in names.own]
            for start in range(0, frame.height, _ROWS):
                yield self._of_fields(frame.slice(start, _ROWS), places, names)

    def _places(self, names: Names) -> dict[str, int]:
        """Where each column of the header is. Raises `BadInput` if one that the mapping names is missing, or is there twice."""
        columns = [name.strip() for name in names.names]
        if twice := repeated(columns):
            raise BadInput(
                f"{self._name}: the header names columns more than once: {shown(twice)}. Rename one of each."
            )
        self._require(columns, names.why_missing(self._advice))
        return {name: place for place, name in enumerate(columns)}

    def _require(self, found: Collection[str], why: str) -> None:
        if absent := self._mapping.absent(found):
            raise BadInput(
                f"{self._name}: the mapping names columns that the file does not have: {shown(absent)}. {why} Correct the mapping"
                " file, or the delimiter or encoding it gives."
            )

    def _of_fields(self, frame: pl.DataFrame, places: dict[str, int], names: Names) -> Read:
        bad = frame.filter(pl.col("problem").is_not_null())
        rejected = bad.select(
            *_PLACES,
            reason=pl.col("problem").replace_strict(OF_PROBLEM, return_dtype=pl.String),
            raw=pl.Series([beginning(raw) for raw in bad["raw"]], dtype=pl.String),
            record="raw",
            fields=_own(names),
        )
        good = frame.filter(pl.col("problem").is_null())
        columns = {f".{name}": pl.col("fields").list.get(places[name]) for name in self._mapping.columns}
        kept = {name: good["fields"].list.get(places[name]).to_list() for name in self._mapping.properties}
        properties = (
            [dumped(dict(zip(kept, one, strict=True))) for one in zip(*kept.values(), strict=True)] if kept else "{}"
        )
        values = good.select(
            *_PLACES,
            **columns,
            record=pl.lit(None, dtype=pl.Binary),
            fields=_own(names),
            properties=pl.lit("{}") if isinstance(properties, str) else pl.Series(properties, dtype=pl.String),
        )
        return Read(values, rejected.cast(REJECTS))  # pyright: ignore[reportArgumentType]

    def _from_json(self) -> Iterator[Read]:
        absent = {*self._mapping.columns, *self._mapping.properties}
        keys: dict[str, None] = {}
        for records in self._json.records():
            if absent:
                for value in records.values:
                    keys.update(dict.fromkeys(value) if len(keys) < 1000 else {})
                    absent.difference_update(value)
                    if not absent:
                        break
            yield self._of_objects(records)
        if not self.rows:
            raise BadInput(f"{self._name}: empty. Drop a file with data, or remove it.")
        if not self._json.objects:
            raise BadInput(f"{self._name}: none of its {self.rows:,} lines is a JSON object: not NDJSON.")
        if absent:
            self._require([name for name in keys if name not in absent], f"Found: {shown([*keys])}.")

    def _of_objects(self, records: JsonRecords) -> Read:
        names, kept_names = self._mapping.columns, self._mapping.properties
        bad = [(row, line, OF_PROBLEM[problem], raw) for row, line, problem, raw in records.rejected]
        rows: list[tuple[int, int, bytes, str, *tuple[str | None, ...]]] = []
        for row, line, raw, value in zip(records.rows, records.lines, records.raws, records.values, strict=True):
            try:
                fields = [_text(value.get(name)) for name in names]
                kept = {name: value[name] for name in kept_names if name in value}
                kept_json = dumped(kept) if kept else "{}"
                if b"\\u" in raw or (kept and _is_suspect(kept_json)):
                    _check_storable([fields, kept], 0)
            except (ValueError, RecursionError):
                bad.append((row, line, Reason.NOT_STORABLE, raw))
                continue
            rows.append((row, line, raw, kept_json, *fields))
        schema = {"row": pl.Int64, "line": pl.Int64, "record": pl.Binary, "properties": pl.String}
        values = pl.DataFrame(rows, schema=schema | {f".{name}": pl.String for name in names}, orient="row")
        rejected = [(row, line, 1, str(reason), beginning(raw), raw, None) for row, line, reason, raw in sorted(bad)]
        added = {"lines": pl.lit(1, dtype=pl.Int64), "fields": pl.lit(None, dtype=REJECTS["fields"])}
        return Read(values.with_columns(**added), pl.DataFrame(rejected, schema=REJECTS, orient="row"))


def _own(names: Names) -> pl.Expr:
    """The values of the source's columns."""
    return pl.col("fields").list.gather(names.own) if names.is_error_file else pl.col("fields")


def beginning(raw: bytes) -> str:
    """At most 200 characters of the first line."""
    lines = raw[: 4 * RAW_CHARACTERS].decode(errors="replace").splitlines()
    text = lines[0] if lines else ""
    return text if len(text) <= RAW_CHARACTERS else text[: RAW_CHARACTERS - 1] + "…"


def _text(value: object) -> str | None:
    """A JSON value as text: 3 and 3.0 are the same id. Raises `_NotStorable` for what is neither text nor number."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _NotStorable(type(value).__name__)
    if not math.isfinite(value):
        raise _NotStorable("a number beyond all bounds")
    return str(int(value)) if value == value // 1 else repr(value)


class _NotStorable(ValueError):
    """A JSON value that MongoDB cannot hold, or that is no id or text."""


def _is_suspect(text: str) -> bool:
    """Whether a look at each value is due: it may hold long integers or deep nesting."""
    return text.count("{") + text.count("[") > _DEEPEST or _LONG_NUMBER.search(text) is not None


def _check_storable(value: object, depth: int) -> None:
    """Raise `_NotStorable` for what MongoDB cannot hold: long integers, half characters, NUL, deep nesting."""
    if isinstance(value, str):
        value.encode()
        if "\0" in value:
            raise _NotStorable("NUL")
    elif isinstance(value, int) and not -_INT64 <= value < _INT64:
        raise _NotStorable("integer")
    elif isinstance(value, dict | list):
        if depth > _DEEPEST:
            raise _NotStorable("depth")
        for item in [*value, *value.values()] if isinstance(value, dict) else value:
            _check_storable(item, depth + 1)


dumped = json.JSONEncoder(ensure_ascii=False, allow_nan=False, sort_keys=True, separators=(",", ":")).encode
"""Properties of an event as their text. Never change it: ids would change."""
