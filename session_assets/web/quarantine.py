"""The error file of a dropped event file: its rejected records, to be corrected and ingested again, with their mapping."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import polars as pl

from session_assets.drops.error_file import error_lines, write_lines
from session_assets.drops.json_lines import json_error_lines
from session_assets.storage import Storage
from session_assets.web.drops import DropSummary
from session_assets.web.mapping import MAPPING_SUFFIX, mapping_file


def error_file_name(original: Path, summary: DropSummary) -> str:
    """What the error file of a dropped file is called: `clicks.csv.gz` has `clicks_errors.csv`."""
    stem = original.name.split(".")[0] or "drop"
    stem = stem.removesuffix("_errors")
    return f"{stem}_errors.{'ndjson' if summary.header is None else 'csv'}"


def keep_rejected(
    storage: Storage, folder: str, original: Path, summary: DropSummary, rejected: Iterator[pl.DataFrame], scratch: Path
) -> str | None:
    """Write the error file and its mapping into a folder of the storage; the path of the file, None where nothing was rejected.

    In: all rejected records, `readers.REJECTS`. The files are readable by their owner alone.
    """
    if not summary.rejected:
        return None
    name = error_file_name(original, summary)
    messages = (frame.with_columns(message=_message()) for frame in rejected)
    if summary.header is None:
        lines = json_error_lines(frame.with_columns(raw="record") for frame in messages)
    else:
        lines = error_lines(
            summary.header, (frame.with_columns(raw="record") for frame in messages), with_raw=summary.has_raw
        )
    write_lines(scratch / name, lines)
    storage.put(f"{folder}/{name}", scratch / name)
    write_lines(scratch / "mapping", iter([mapping_file(original).read_text(encoding="utf-8")]))
    storage.put(f"{folder}/{name}{MAPPING_SUFFIX}", scratch / "mapping")
    return str(storage.path(f"{folder}/{name}"))


def _message() -> pl.Expr:
    lines = pl.format("{}; it holds {} lines", "reason", "lines")
    return pl.when(pl.col("lines") > 1).then(lines).otherwise("reason")
