"""How session documents are read with what their user ids resolve to, and classified: what `pipeline.py` asks of a slice.

Nothing here knows Dagster; nothing here writes to a session.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import polars as pl

from session_assets.ahead import ahead
from session_assets.changes.evidence import Holding
from session_assets.changes.tally import FINDINGS
from session_assets.failpoints import armed, failpoint
from session_assets.identity.facts import classify, session_facts
from session_assets.identity.model import (
    AUTH,
    CANONICAL,
    COLLECTED,
    ODD_ACTIVITY,
    SESSION,
    SESSIONS,
    SLICE,
    UNMATCHED,
    other_types,
)
from session_assets.identity.repairs import folds
from session_assets.identity.source import IdentitySource
from session_assets.pipeline import Failures, Pipeline, facts_by_partition, has_reason
from session_assets.selection import Progress, Selection
from session_assets.settings import Settings
from session_assets.storage import Storage
from session_assets.stores.cosmos import container


@dataclass(frozen=True)
class Identity(Pipeline):
    """The identity slice on the current environment. `now` is what `backfill_updated_at` of its plan says."""

    settings: Settings
    storage: Storage
    source: IdentitySource
    now: datetime
    name: str = SLICE

    @staticmethod
    def open(settings: Settings, storage: Storage) -> Identity:
        """Open the containers; raises `NotConfigured`, `UsageError`, `StoreUnavailable`."""
        source = IdentitySource(container(SESSIONS), container(AUTH))
        return Identity(settings, storage, source, datetime.now(UTC))

    def standing(self) -> list[str]:
        return self.source.standing()

    def unknown(self, selection: Selection) -> list[str]:
        return self.source.unknown(selection.sessions)

    def observed(self) -> dict[str, dict[str, int | str]]:
        return {AUTH: {"dagster/row_count": self.source.observed_auth()}}

    def buckets(
        self, selection: Selection, scratch: Path, progress: Progress | None = None, failures: Failures | None = None
    ) -> Iterator[pl.DataFrame]:
        """Frames of `COLLECTED`; all documents of an id are in the same one."""
        yield from ahead(lambda read: _collected(*read, failures), self.source.scan(selection, scratch, progress))

    def classified(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Rows of `COLLECTED` with `class`, `reasons`, `notes`, and what `repairs.change_rows` needs of them."""
        planned_at = self.now.isoformat()
        if ODD_ACTIVITY not in frame.columns:  # facts that an earlier version stored
            frame = frame.with_columns(pl.lit(False).alias(ODD_ACTIVITY))
        rows = classify(
            frame,
            folds(frame, planned_at) if self.source.moves else folds(frame.clear(), planned_at),
            moves=self.source.moves,
            now=datetime.now(UTC),
            settle_minutes=self.settings.settle_minutes,
            allow_shrink=self.settings.allow_shrink,
            other_types=other_types(),
        )
        return rows.with_columns(planned_at=pl.lit(planned_at))

    def findings(self, classified: pl.DataFrame) -> pl.DataFrame:
        return findings(classified)

    def holdings(self) -> list[Holding]:
        return self.source.holdings()

    def unreadable(self) -> pl.Expr:
        """A document of an unknown type, or without one; a session whose user id is missing or no text: nobody can tell whose
        it is. Or a session that is to be moved, and nobody can tell whether it has settled."""
        is_session = pl.col("type") == SESSION
        return (is_session & pl.col("user_id").is_null()) | has_reason(["unknown_type", "unreadable_activity"])

    def unmatched(self) -> pl.Expr:
        return has_reason(UNMATCHED)

    def figures(self, classified: pl.DataFrame) -> pl.DataFrame:
        """Sessions that were to get a GUID so far (`asked`), and those that have it by now (`answered`)."""
        has_guid = pl.col("resolution") == CANONICAL
        asked = pl.col("resolution").is_not_null() & (~has_guid | pl.col("user_id_original").is_not_null())
        return classified.group_by("partition").agg(asked=asked.sum(), answered=(asked & has_guid).sum())


def findings(classified: pl.DataFrame) -> pl.DataFrame:
    """One row a document and reason: columns of `FINDINGS`."""
    return (
        classified.select(
            "partition",
            "key",
            "class",
            pl.col("key").alias("id"),
            pl.concat_list("reasons", "notes").alias("reason"),
            pl.col("user_id").alias("stored"),
            pl.col("guid").alias("expected"),
        )
        .filter(pl.col("reason").list.len() > 0)
        .explode("reason")
        .select(FINDINGS.names())
    )


def _collected(documents: pl.DataFrame, auth: pl.DataFrame, failures: Failures | None) -> pl.DataFrame:
    """Facts of a frame; where they cannot be worked out, of each partition alone, and those at fault are named."""
    parts = facts_by_partition(documents, lambda some: _facts(some, auth), failures)
    return pl.concat([pl.DataFrame(schema=COLLECTED), *parts])


def _facts(documents: pl.DataFrame, auth: pl.DataFrame) -> pl.DataFrame:
    if armed():
        for partition in documents["partition"].unique():
            failpoint(f"identity.facts.{partition}")
    return session_facts(documents, auth)
