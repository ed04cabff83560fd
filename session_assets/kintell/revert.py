"""What taking a job back means: rows it inserted go, rows it updated get their before-image back, edited ones are left.

The undo is that of the job, never that of a time window. Users that were created for a job stay: others may use them by now.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import polars as pl

UNDONE = "undone"
REFUSALS = {
    "edited": "was edited since the import",
    "changed_later": "was changed by a later import: revert that one first",
    "gone": "was deleted since the import",
    "referenced": "is referred to by rows of other tables",
    "kept": "was kept as it is by a trigger of the table",
    "refused": "is refused by the table, or by a trigger of it, as it would be then",
    "user_gone": "had a participant or volunteer who was deleted since",
    "returned": "is there again, although this undo had removed it",
    "unrecorded": "has no record any more in backfill_row_changes: restore that from a backup and run the same revert again",
}
"""Why a row is not undone. It is left exactly as it is."""

REFUSED = pl.Schema(
    {
        "row": pl.Int64,
        "session_id": pl.String,
        "external_session_id": pl.String,
        "change": pl.String,
        "refusal": pl.String,
    }
)
"""Rows of the file that are not undone, each with a word of `REFUSALS`. `change` is what the job did: inserted or updated."""


def left_rows(refused: pl.DataFrame, most: int = 20) -> list[str]:
    """A line for each row that is not undone: its id, the word and the sentence of its reason. In: `REFUSED`."""
    shown = refused.head(most).select("row", "session_id", "external_session_id", "refusal").iter_rows()
    return [f"{external or session} (row {row}): {word}: it {REFUSALS[word]}" for row, session, external, word in shown]


def relied_on(job_id: str, later: Sequence[tuple[str, str, int]]) -> str | None:
    """What to do about imports (job, file, rows) that have skipped rows since, because they were there: by this job, perhaps."""
    if not later:
        return None
    shown = ", ".join(f"{job} ({name}, {rows:,} rows)" for job, name, rows in later[:5])
    return (
        f"Later imports skipped rows that were there already: {shown}{', …' if len(later) > 5 else ''}. Such rows go with job"
        f" {job_id} if it had inserted them. To bring them back, import the file of the later import again."
    )


@dataclass(frozen=True)
class Reverted:
    """What an undo did, or in a dry run would do. removed + restored + refused + unrecorded = the rows that the job changed."""

    removed: int
    restored: int
    refused: pl.DataFrame
    unrecorded: int = 0
    """Rows that the job counted, and of which somebody deleted the record: nobody knows which they are."""

    @property
    def left(self) -> int:
        """Rows that are outstanding. A row that the job inserted and that is gone is not: nothing of it is left."""
        stays = self.refused.filter((pl.col("refusal") != "gone") | (pl.col("change") != "inserted"))
        return stays.height + self.unrecorded

    @property
    def left_by_word(self) -> dict[str, int]:
        """Rows that are not undone, by the word of `REFUSALS`."""
        words = dict(self.refused["refusal"].value_counts(sort=True).iter_rows())
        return words | ({"unrecorded": self.unrecorded} if self.unrecorded else {})

    @property
    def classes(self) -> Mapping[str, int]:
        """The account for people and for `--json`: refusals by name."""
        return {"removed": self.removed, "restored": self.restored, **self.left_by_word}
