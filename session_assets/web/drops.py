"""Dropped files as events whose `_id`s come from their content, so that a second ingest adds nothing.

The `_id` is a hash of the mapped event, and of its ordinal among equal rows of the file: true repeats survive, and files
that overlap agree. Knowing ordinals takes a pass over the whole file, which is also the check before the first write.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from session_assets.errors import BadInput
from session_assets.masking import safe_text
from session_assets.moments import has_no_offset, moment
from session_assets.web.lines import Reason, shortened
from session_assets.web.mapping import DropMapping
from session_assets.web.model import MOMENT
from session_assets.web.readers import Drop, Records

EVENTS = pl.Schema(
    {
        "event_id": pl.String,  # 32 hex, the `_id` to store
        "session_id": pl.String,  # null where the file says nothing
        "timestamp": MOMENT,
        "page": pl.String,
        "event_type": pl.String,
        "user_id": pl.String,
        "client_id": pl.String,
        "properties": pl.String,  # a JSON object
        "row": pl.Int64,  # 1-based data row
        "line": pl.Int64,  # physical line where it begins
    }
)
REJECTED = pl.Schema({"row": pl.Int64, "line": pl.Int64, "reason": pl.String, "raw": pl.String})
_HASHED = ("session_id", "timestamp", "page", "event_type", "user_id", "client_id", "properties")
_DEEPEST = 50
_LONG_NUMBER = re.compile(r"\d{19}")
_INT64 = 2**63


class _NotStorable(ValueError):
    """A JSON value that MongoDB cannot hold, or that is no id or text."""


@dataclass(frozen=True)
class DropBatch:
    """Some rows of a file: `events` (EVENTS) and `rejected` (REJECTED, `raw` cut to 200 characters)."""

    events: pl.DataFrame
    rejected: pl.DataFrame


@dataclass(frozen=True)
class DropSummary:
    """A whole file, read and mapped. rows = events + sum of `rejected`, the count for each reason."""

    rows: int
    events: int
    rejected: dict[str, int]
    sha256: str
    bytes: int
    repeats: pl.DataFrame  # row, ordinal (from 1) of each row that equals an earlier one


def check_drop(path: Path, mapping: DropMapping, shown: Path | None = None) -> DropSummary:
    """Read and map the whole file, writing nothing. Raises `BadInput` for a file that cannot be used as a whole.

    `shown` is what errors call the file. Memory: one batch, and 24 bytes a row for its digest and number.
    """
    drop = Drop(path, mapping, shown)
    events, reasons = 0, Counter[str]()
    digests: list[pl.DataFrame] = [_digest_frame([], [])]
    for mapped in _mapped(drop, mapping):
        events += mapped.events.height
        reasons.update(mapped.rejected["reason"])
        digests.append(_digest_frame(mapped.digests, mapped.events["row"]))
    return DropSummary(drop.rows, events, dict(reasons), drop.sha256, drop.size, _repeats(pl.concat(digests)))


def read_drop(path: Path, mapping: DropMapping, summary: DropSummary | None = None) -> Iterator[DropBatch]:
    """Events and rejected rows, some 20,000 rows at a time; all of them, or `BadInput` before the first batch.

    `summary` is what `check_drop` said; without it the file is checked first. Raises `BadInput` at the end where the file
    is no longer the one that was checked: read a `private_copy`.
    """
    known = check_drop(path, mapping) if summary is None else summary
    drop = Drop(path, mapping)
    for mapped in _mapped(drop, mapping):
        yield DropBatch(_with_ids(mapped, known.repeats), mapped.rejected)
    if drop.sha256 != known.sha256:
        raise BadInput(
            f"{safe_text(path)}: changed while it was read. Drop files under another name, and rename them when complete."
        )


@dataclass(frozen=True)
class _Mapped:
    events: pl.DataFrame  # EVENTS without event_id
    canonical: list[str]
    digests: list[bytes]
    rejected: pl.DataFrame


def _mapped(drop: Drop, mapping: DropMapping) -> Iterator[_Mapped]:
    for records in drop.records():
        columns, properties = _values(drop, mapping, records)
        events = pl.DataFrame(columns, schema=dict.fromkeys(columns, pl.String)).select(
            session_id=mapping.session.text(),
            timestamp=moment(pl.col(mapping.timestamp), mapping.timestamp_unit),
            page=_optional(mapping.page),
            event_type=pl.col(mapping.event_type) if mapping.event_type else pl.lit(mapping.event_type_value),
            user_id=_optional(mapping.user),
            client_id=_optional(mapping.client),
            no_offset=has_no_offset(pl.col(mapping.timestamp), mapping.timestamp_unit),
        )
        events = events.with_columns(
            pl.Series("properties", properties, dtype=pl.String),
            pl.Series("row", records.rows, dtype=pl.Int64),
            pl.Series("line", records.lines, dtype=pl.Int64),
            reason=_reason(),
        )
        _reject(records, events)
        good = events.filter(pl.col("reason").is_null()).select(EVENTS.names()[1:])
        canonical = good.select(_canonical()).to_series().to_list()
        digests = [hashlib.blake2b(text.encode(), digest_size=16).digest() for text in canonical]
        yield _Mapped(good, canonical, digests, pl.DataFrame(sorted(records.rejected), schema=REJECTED, orient="row"))


def _optional(value: Any) -> pl.Expr:
    return pl.lit(None, dtype=pl.String) if value is None else value.text()


def _reason() -> pl.Expr:
    return (
        pl.when("no_offset")
        .then(pl.lit(str(Reason.NO_OFFSET)))
        .when(pl.col("timestamp").is_null())
        .then(pl.lit(str(Reason.TIMESTAMP)))
        .when(pl.col("event_type").is_null() | (pl.col("event_type") == ""))
        .then(pl.lit(str(Reason.NO_TYPE)))
    )


def _reject(records: Records, events: pl.DataFrame) -> None:
    for position in events["reason"].is_not_null().arg_true():
        row, line, reason = records.rows[position], records.lines[position], events["reason"][position]
        records.rejected.append((row, line, reason, shortened(records.raws[position])))


def _values(drop: Drop, mapping: DropMapping, records: Records) -> tuple[dict[str, list[Any]], list[str]]:
    """The columns that the mapping reads, as texts, and `properties`; of JSON, records with odd values are rejected."""
    if drop.is_csv:
        places = {name: place for place, name in enumerate(drop.columns)}
        columns = {name: [record[places[name]] for record in records.values] for name in mapping.columns}
        kept = [(name, places[name]) for name in mapping.properties]
        properties = [
            _dumped({name: record[place] for name, place in kept}) if kept else "{}" for record in records.values
        ]
        return columns, properties
    names, kept_names = mapping.columns, mapping.properties
    whole = Records(rejected=records.rejected)
    texts: list[list[str | None]] = []
    properties = []
    for row, line, raw, value in zip(records.rows, records.lines, records.raws, records.values, strict=True):
        try:
            fields = [_text(value.get(name)) for name in names]
            kept = {name: value[name] for name in kept_names if name in value}
            kept_json = _dumped(kept) if kept else "{}"
            if "\\u" in raw or (kept and _is_suspect(kept_json)):
                _check_storable([fields, kept], 0)
        except (ValueError, RecursionError):
            whole.reject(row, line, raw, Reason.NOT_STORABLE)
            continue
        whole.keep(row, line, raw, None)
        texts.append(fields)
        properties.append(kept_json)
    records.rows, records.lines, records.raws = whole.rows, whole.lines, whole.raws
    by_column = [list(column) for column in zip(*texts, strict=True)] or [[] for _ in names]
    return dict(zip(names, by_column, strict=True)), properties


def _text(value: object) -> str | None:
    """A JSON value as text: 3 and 3.0 are the same id. Raises `_NotStorable` for what is neither text nor number."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _NotStorable(type(value).__name__)
    if not math.isfinite(value):
        raise _NotStorable("a number beyond all bounds")
    return str(int(value)) if value == value // 1 else repr(value)


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


_dumped = json.JSONEncoder(ensure_ascii=False, allow_nan=False, sort_keys=True, separators=(",", ":")).encode


def _canonical() -> pl.Expr:
    """One text an event that no other event has: each value with its length in bytes. Never change it: ids would change."""
    parts = [pl.col(name).dt.epoch("ms").cast(pl.String) if name == "timestamp" else pl.col(name) for name in _HASHED]
    return pl.concat_str(
        [
            pl.when(one.is_null()).then(pl.lit("-")).otherwise(pl.format("{}:{}", one.str.len_bytes(), one))
            for one in parts
        ]
    )


def _digest_frame(digests: list[bytes], rows: Any) -> pl.DataFrame:
    halves = memoryview(b"".join(digests)).cast("Q").tolist()
    return pl.DataFrame(
        {"row": rows, "high": halves[::2], "low": halves[1::2]},
        schema={"row": pl.Int64, "high": pl.UInt64, "low": pl.UInt64},
    )


def _repeats(digests: pl.DataFrame) -> pl.DataFrame:
    """`row`, `ordinal` of rows whose digest an earlier row has, in row order."""
    several = digests.filter(pl.col("high").is_duplicated())
    ordinal = pl.int_range(pl.len(), dtype=pl.Int64).over("high", "low")
    return several.sort("row").select("row", ordinal=ordinal).filter(pl.col("ordinal") > 0)


def _with_ids(mapped: _Mapped, repeats: pl.DataFrame) -> pl.DataFrame:
    ids = [digest.hex() for digest in mapped.digests]
    rows = mapped.events["row"]
    if rows.len() and repeats.height:
        first, end = repeats["row"].search_sorted(rows[0]), repeats["row"].search_sorted(rows[-1], "right")
        here = repeats.slice(first, end - first)
        for position, (_, ordinal) in zip(rows.search_sorted(here["row"]), here.iter_rows(), strict=True):
            text = f"{mapped.canonical[position]}#{ordinal}"
            ids[position] = hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
    return mapped.events.insert_column(0, pl.Series("event_id", ids, dtype=pl.String))
