"""Dropped files as events whose `_id`s come from their content, so that a second ingest adds nothing.

The `_id` is a hash of the mapped event, and of its ordinal among equal rows of the file: true repeats survive, and files
that overlap agree. Knowing ordinals takes a pass over the whole file, which is also the check before the first write.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from session_assets.errors import BadInput
from session_assets.masking import safe_text
from session_assets.moments import has_no_offset, moment
from session_assets.web.mapping import DropMapping
from session_assets.web.model import MOMENT
from session_assets.web.readers import REJECTS, Drop, beginning
from session_assets.web.reasons import Reason

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
REJECTED = pl.Schema({name: REJECTS[name] for name in ("row", "line", "lines", "reason", "raw")})
"""What is kept of a rejected record for people to see. The record itself is in the error file."""
_HASHED = ("session_id", "timestamp", "page", "event_type", "user_id", "client_id", "properties")


@dataclass(frozen=True)
class DropBatch:
    """Some rows of a file: `events` (EVENTS) and `rejected` (`readers.REJECTS`, `raw` cut to 200 characters)."""

    events: pl.DataFrame
    rejected: pl.DataFrame


@dataclass(frozen=True)
class DropSummary:
    """A whole file, read and mapped. rows = events + sum of `rejected`, the count for each reason.

    `rejected_lines` are the physical lines of the rejected rows. `header`: the columns of a CSV file, None of NDJSON.
    `suggested` is an encoding that the file may have. `joined` counts events of several lines that look like rows of their own.
    """

    rows: int
    events: int
    rejected: dict[str, int]
    sha256: str
    bytes: int
    repeats: pl.DataFrame  # row, ordinal (from 1) of each row that equals an earlier one
    rejected_lines: int
    header: list[str] | None
    has_raw: bool
    suggested: str | None
    joined: int

    @property
    def notes(self) -> list[str]:
        """What a person should look at: an encoding that nobody gave, and events that may hold others."""
        found: list[str] = []
        if self.suggested:
            found.append(
                f"records are not valid UTF-8; the file may be {self.suggested}. If so, give `encoding: {self.suggested}` in the"
                " mapping and ingest it again"
            )
        if self.joined:
            found.append(
                f"{self.joined:,} records hold lines that look like records of their own: a quote may be one too many"
            )
        return found


def check_drop(path: Path, mapping: DropMapping, shown: Path | None = None) -> DropSummary:
    """Read and map the whole file, writing nothing. Raises `BadInput` for a file that cannot be used as a whole.

    `shown` is what errors call the file. Memory: one batch, and 24 bytes a row for its digest and number.
    """
    drop = Drop(path, mapping, shown)
    events, lines, raws, reasons = 0, 0, 0, Counter[str]()
    digests: list[pl.DataFrame] = [_digest_frame([], [])]
    for mapped in _mapped(drop, mapping):
        events += mapped.events.height
        reasons.update(mapped.rejected["reason"])
        lines += int(mapped.rejected["lines"].sum())
        raws += mapped.rejected.height - mapped.rejected["record"].null_count()
        digests.append(_digest_frame(mapped.digests, mapped.events["row"]))
    return DropSummary(
        drop.rows,
        events,
        dict(reasons),
        drop.sha256,
        drop.size,
        _repeats(pl.concat(digests)),
        rejected_lines=lines,
        header=drop.header if drop.is_csv else None,
        has_raw=raws > 0,
        suggested=drop.suggested,
        joined=drop.joined,
    )


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
    for read in drop.records():
        texts = read.values.select(pl.col(f".{name}").alias(name) for name in mapping.columns)
        events = texts.select(
            session_id=mapping.session.text(),
            timestamp=moment(pl.col(mapping.timestamp), mapping.timestamp_unit),
            page=_optional(mapping.page),
            event_type=pl.col(mapping.event_type) if mapping.event_type else pl.lit(mapping.event_type_value),
            user_id=_optional(mapping.user),
            client_id=_optional(mapping.client),
            no_offset=has_no_offset(pl.col(mapping.timestamp), mapping.timestamp_unit),
        )
        places = read.values.select("row", "line", "lines", "properties", "record", "fields")
        judged = pl.concat([events, places], how="horizontal").with_columns(reason=_reason())
        good = judged.filter(pl.col("reason").is_null()).select(EVENTS.names()[1:])
        canonical = good.select(_canonical()).to_series().to_list()
        digests = [hashlib.blake2b(text.encode(), digest_size=16).digest() for text in canonical]
        yield _Mapped(good, canonical, digests, _rejected(read.rejected, judged.filter(pl.col("reason").is_not_null())))


def _rejected(unread: pl.DataFrame, wrong: pl.DataFrame) -> pl.DataFrame:
    """Records that cannot be read, and those with wrong values, as `REJECTS` in the order of the file."""
    texts = [
        beginning(raw if raw is not None else ",".join(fields).encode())
        for raw, fields in wrong.select("record", "fields").iter_rows()
    ]
    found = wrong.with_columns(pl.Series("raw", texts, dtype=pl.String)).select(REJECTS.names())
    return pl.concat([unread, found]).sort("row")


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
