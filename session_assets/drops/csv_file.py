"""A CSV file as frames of its records, in bounded memory: every physical record comes out, with its fields or its problem."""

from __future__ import annotations

import codecs
from collections.abc import Collection, Iterator
from pathlib import Path

import polars as pl

from session_assets.drops import limits
from session_assets.drops.content import Damaged, open_drop, utf8_chunks
from session_assets.drops.encodings import suggest_encoding
from session_assets.drops.error_file import ERROR_ROW, ESCAPED_VALUE
from session_assets.drops.header import Advice, Names, read_names
from session_assets.drops.source import Source
from session_assets.drops.split import RECORDS, split_block
from session_assets.drops.structure import Rules

_SAMPLED = 100  # records that are looked at to suggest an encoding


class CsvFile:
    """One pass over a file. `rows` and `lines` count what was read; `suggested` is an encoding that rejected records may have."""

    def __init__(
        self,
        path: Path,
        *,
        advice: Advice,
        encoding: str | None = None,
        known: Collection[str] = (),
        field_limit: int = limits.RECORD_LIMIT,
        name: str | None = None,
    ) -> None:
        """`known` are names of columns, in lower case, that tell the delimiter; `name` is what messages call the file."""
        self.source = Source(path, encoding, name or path.name)
        self.advice = advice
        self._encoding, self._known, self._field_limit = encoding, known, field_limit
        self.suggested: str | None = None
        self.joined = 0
        """Accepted records of several lines, most of which look like records: a quote may be missing, and another too many."""

    def records(self) -> Iterator[tuple[Names, pl.DataFrame]]:
        """The header with no records, and then all records as `split.RECORDS`, at most 50,000 together.

        Raises `BadInput`: the file is empty, cut off, or has no header that can be read.
        """
        with self.source.opened():
            names, first = read_names(self.source.buffer, self._known, self.advice, self.source.name)
            self.source.consume(first.consumed, first.lines)
            yield names, RECORDS.to_frame()
            least = limits.BLOCK
            while self.source.buffer or not self.source.is_last:
                self.source.fill(least)
                left = len(self.source.buffer)
                for frame in self._block(names):
                    yield names, frame
                least = limits.BLOCK if len(self.source.buffer) < left else left + limits.BLOCK

    def _block(self, names: Names) -> Iterator[pl.DataFrame]:
        source = self.source
        limit = limits.ERROR_RECORD_LIMIT if names.is_error_file else limits.RECORD_LIMIT
        found = split_block(
            source.buffer,
            Rules(names.delimiter, names.width, limit, self._field_limit),
            is_last=source.is_last,
            row=source.rows + 1,
            line=source.lines + 1,
        )
        cut = source.buffer[found.consumed : found.consumed + limits.RAW_KEPT]
        source.consume(found.consumed, found.lines)
        self.joined += found.joined
        self._sample(found.frame)
        for place in range(0, found.frame.height, limits.MOST_RECORDS):
            frame = found.frame.slice(place, limits.MOST_RECORDS)
            source.count(frame.height)
            yield _unescaped(frame, names) if names.is_error_file else frame
        if found.is_cut:
            line = source.lines + 1
            source.skip_line()
            source.count(1)
            yield pl.DataFrame([(source.rows, line, 1, "record_too_large", cut, None)], schema=RECORDS, orient="row")

    def _sample(self, frame: pl.DataFrame) -> None:
        if self.suggested is None and self._encoding is None:
            wrong = frame.filter(pl.col("problem") == "wrong_encoding")["raw"].head(_SAMPLED)
            self.suggested = suggest_encoding(b"\n".join(wrong)) if wrong.len() else None


def is_error_file(path: Path) -> bool:
    """Whether a file is an error file of ours: UTF-8 with commas, whatever the dialect of its source."""
    decoder, start = codecs.getincrementaldecoder("utf-8")(), True
    try:
        with open_drop(path) as raw:
            for chunk in utf8_chunks(raw, None, most=limits.most_expanded(path.lstat().st_size)):
                if start and ERROR_ROW.encode() not in chunk.lower():
                    return False
                start = False
                decoder.decode(chunk)
            decoder.decode(b"", True)
    except (UnicodeDecodeError, Damaged):
        return False
    return not start


def _unescaped(frame: pl.DataFrame, names: Names) -> pl.DataFrame:
    """Records of an error file: values without the mark against formulas, whole records out of `_raw`."""
    fields = pl.col("fields").list.eval(pl.element().str.replace(ESCAPED_VALUE, "$1"))
    if names.raw is None:
        return frame.with_columns(fields)
    text = pl.col("fields").list.get(names.raw, null_on_oob=True)
    is_blank = pl.col("fields").list.gather(names.own, null_on_oob=True).list.join("") == ""
    still_raw = (text != "") & is_blank
    decoded = pl.coalesce(text.str.decode("base64", strict=False), text.cast(pl.Binary))
    return frame.with_columns(still_raw=still_raw.fill_null(False), decoded=decoded).select(
        "row",
        "line",
        "lines",
        problem=pl.when("still_raw").then(pl.lit("still_raw")).otherwise("problem"),
        raw=pl.when("still_raw").then("decoded").otherwise("raw"),
        fields=pl.when(~pl.col("still_raw")).then(fields),
    )
