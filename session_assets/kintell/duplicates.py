"""Rows of one file that have the same id: identical ones, and ones that contradict each other. In bounded memory.

Rows are spread over buckets on disk by their id; within a bucket only the first row of each id is held.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import polars as pl

from session_assets.partition_files import PartitionWriter
from session_assets.spill import Buckets

_ID = "external_session_id"
IDENTITIES = pl.Schema({_ID: pl.String, "row": pl.Int64, "valid": pl.Boolean, "high": pl.UInt64, "low": pl.UInt64})
VERDICTS = pl.Schema({"row": pl.Int64, "other": pl.Int64, "valid": pl.Boolean})
"""Rows that do not stand alone: `other` is the row that a row contradicts, null where it only repeats an earlier one."""
_BYTES_TOGETHER = 32 * 1024 * 1024  # of the file, for each bucket
_MOST_BUCKETS = 256
_ROWS_TOGETHER = 100_000


class Duplicates:
    """Takes `facts.identities` of a whole file; then knows the verdict of each row."""

    def __init__(self, folder: Path, file_size: int) -> None:
        self._folder = folder
        count = min(2 + file_size // _BYTES_TOGETHER, _MOST_BUCKETS)
        self._buckets = Buckets(folder, "identities", count, _ID, IDENTITIES)
        self._files: dict[str, list[Path]] = {}
        self._cached: tuple[int, pl.DataFrame] = (-1, pl.DataFrame(schema=VERDICTS))
        self.repeated = 0  # valid rows that repeat an earlier one
        self.contradicting = 0
        self.spoiled = 0  # of these, rows that were valid so far

    def add(self, identities: pl.DataFrame) -> None:
        self._buckets.add(identities)

    def close(self) -> None:
        """No more rows: decide."""
        self._buckets.close()
        writer = PartitionWriter(self._folder)
        for number in range(len(self._buckets)):
            for verdicts in self._decide(number):
                contradicts = pl.col("other").is_not_null()
                counts = verdicts.select(
                    (~contradicts & pl.col("valid")).sum().alias("repeated"),
                    contradicts.sum().alias("contradicting"),
                    (contradicts & pl.col("valid")).sum().alias("spoiled"),
                ).row(0)
                self.repeated += counts[0]
                self.contradicting += counts[1]
                self.spoiled += counts[2]
                for (place,), part in verdicts.group_by(pl.col("row") // _ROWS_TOGETHER):
                    writer.add(f"verdicts-{place}", part)
        self._files = writer.finish()

    def verdicts(self, first: int, last: int) -> pl.DataFrame:
        """`VERDICTS` of the rows from `first` to `last`."""
        parts = [self._together(place) for place in range(first // _ROWS_TOGETHER, last // _ROWS_TOGETHER + 1)]
        return pl.concat(parts).filter(pl.col("row").is_between(first, last))

    def _together(self, place: int) -> pl.DataFrame:
        if self._cached[0] != place:
            files = self._files.get(f"verdicts-{place}", [])
            parts = [pl.DataFrame(schema=VERDICTS), *(pl.read_parquet(file) for file in files)]
            self._cached = place, pl.concat(parts)
        return self._cached[1]

    def _decide(self, number: int) -> Iterator[pl.DataFrame]:
        firsts = pl.DataFrame(schema=IDENTITIES)
        rows = 0
        for part in self._buckets.parts(number):
            rows += part.height
            firsts = pl.concat([firsts, part]).unique(_ID, keep="first", maintain_order=True)
        if firsts.height == rows:
            return
        differing = pl.DataFrame(schema={_ID: pl.String, "differing": pl.Int64})
        for part in self._compared(number, firsts):
            found = part.filter("differs").select(_ID, differing="row")
            differing = pl.concat([differing, found]).unique(_ID, keep="first", maintain_order=True)
        for part in self._compared(number, firsts):
            judged = part.join(differing, on=_ID, how="left", maintain_order="left")
            other = pl.when("differs").then("first").otherwise("differing")
            is_alone = pl.col("differing").is_null() & (pl.col("row") == pl.col("first"))
            yield judged.filter(~is_alone).select("row", "valid", other=other).select(VERDICTS.names())

    def _compared(self, number: int, firsts: pl.DataFrame) -> Iterator[pl.DataFrame]:
        """Rows of a bucket with the number of the first row of the same id, and whether they differ from it."""
        first = firsts.select(_ID, first="row", first_high="high", first_low="low")
        for part in self._buckets.parts(number):
            differs = (pl.col("high") != pl.col("first_high")) | (pl.col("low") != pl.col("first_low"))
            yield part.join(first, on=_ID, how="left", maintain_order="left").with_columns(differs=differs)
