"""What passes from the validated file to the store: some rows in file order, and what became of them."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl


@dataclass(frozen=True)
class Batch:
    """Rows `last_row − rows + 1` … `last_row` of the file: each of them accepted, rejected, or skipped.

    `accepted` is an `ACCEPTED` frame, `rejected` a `REJECTED` one; `skipped` counts rows that repeat an earlier one.
    """

    last_row: int
    accepted: pl.DataFrame
    rejected: pl.DataFrame
    skipped: int

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
