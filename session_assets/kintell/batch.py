"""What passes from the validated file to the store: some rows in file order, and what became of them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

import polars as pl

from session_assets.kintell.model import REASON, REJECTED


@dataclass(frozen=True)
class Batch:
    """Rows `last_row − rows + 1` … `last_row` of the file: each of them accepted, rejected, or skipped.

    `accepted` is an `ACCEPTED` frame, `rejected` a `REJECTED` one; `skipped` counts rows that repeat an earlier one. `texts` are
    the values of accepted rows as they stand in the file: `row`, and `fields`, a list in the order of the file's columns.
    """

    last_row: int
    accepted: pl.DataFrame
    rejected: pl.DataFrame
    skipped: int
    texts: pl.DataFrame

    def without(self, refused: Mapping[int, str]) -> Batch:
        """The batch with some of its accepted rows rejected, since the table does not take them; why, by row."""
        of_table = pl.col("row").is_in(list(refused))
        found = (
            self.accepted.filter(of_table)
            .select("row", "line")
            .join(self.texts, on="row", how="left", maintain_order="left")
        )
        messages = [REASON["refused_by_table"].text.replace("{}", refused[row]) for row in found["row"]]
        rejected = found.select(
            "row",
            "line",
            "fields",
            raw=pl.lit(None, dtype=pl.Binary),
            reasons=pl.concat_list(pl.lit("refused_by_table")),
            message=pl.Series(messages, dtype=pl.String),
        )
        return replace(
            self,
            accepted=self.accepted.filter(~of_table),
            rejected=pl.concat([self.rejected, rejected.cast(pl.Schema(REJECTED))]).sort("row"),
        )

    def but(self, settled: Collection[int]) -> Batch:
        """The batch without the accepted rows of which nothing is left to do."""
        return replace(self, accepted=self.accepted.filter(~pl.col("row").is_in(list(settled))))

    @property
    def first_row(self) -> int:
        return self.last_row - self.rows + 1

    @property
    def rows(self) -> int:
        return self.accepted.height + self.rejected.height + self.skipped


@dataclass(frozen=True)
class Written:
    """What a batch's transaction did. rows of the batch = inserted + updated + skipped + rejected."""

    inserted: int
    updated: int
    skipped: int
    rejected: int
    events: int
    kept: int = 0
    """Rows that left a stored value where their cell is blank; each is among the updated or the skipped ones, too."""
    new_rejects: int = 0
    """Of a retry: rejected rows that were not rejected before. What somebody closed earlier does not hold for them."""
