"""How contest sessions are read with their facts, and classified: what the loop of `pipeline.py` asks of a slice.

Nothing here knows Dagster; nothing here writes to a session.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path

import polars as pl

from session_assets.ahead import ahead
from session_assets.changes.change_set import conform
from session_assets.changes.evidence import Holding
from session_assets.changes.tally import FINDINGS
from session_assets.contest.attempts import attempts_of, completed, contest_ids
from session_assets.contest.compose import NOTHING, composed
from session_assets.contest.facts import session_facts
from session_assets.contest.judgement import classify, differences, judged
from session_assets.contest.model import (
    COLLECTED,
    DATABASE,
    FACT_COLUMNS,
    PROBLEMS,
    SESSIONS,
    SLICE,
    UNMATCHED,
    UNREADABLE,
    USERS,
    VARIABLE,
)
from session_assets.contest.source import Batch, ContestSource
from session_assets.failpoints import armed, failpoint
from session_assets.pipeline import Failures, Pipeline, facts_by_partition, has_reason
from session_assets.selection import Progress, Selection
from session_assets.settings import Settings
from session_assets.storage import Storage
from session_assets.stores.mongo import MongoSource, database

_NEEDED = ("held", "repairs", "notes", "found_user", "fills", "document", *FACT_COLUMNS)


@dataclass(frozen=True)
class Contest(Pipeline):
    """The contest slice on the current environment."""

    settings: Settings
    storage: Storage
    source: ContestSource
    name: str = SLICE

    @staticmethod
    def open(settings: Settings, storage: Storage, first: date) -> Contest:
        """Open the collections; raises `NotConfigured`, `StoreUnavailable`."""
        db = database(VARIABLE, DATABASE)
        sessions, problems, users = (MongoSource(db[name], VARIABLE) for name in (SESSIONS, PROBLEMS, USERS))
        return Contest(settings, storage, ContestSource(sessions, problems, users, first, datetime.now(UTC).date()))

    def standing(self) -> list[str]:
        return self.source.standing()

    def unknown(self, selection: Selection) -> list[str]:
        return self.source.unknown(selection)

    def observed(self) -> dict[str, dict[str, int | str]]:
        return {"problems": {"dagster/row_count": self.source.observed_problems()}}

    def buckets(
        self, selection: Selection, scratch: Path, progress: Progress | None = None, failures: Failures | None = None
    ) -> Iterator[pl.DataFrame]:
        """Frames of `COLLECTED`, a wire batch each."""
        yield from ahead(lambda batch: _collected(batch, failures), self.source.scan(selection, progress))

    def classified(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Rows of `COLLECTED` with `class`, `reasons`, `notes`, where planned `after` and `identity`, and `said` where it is
        more than the source has."""
        now, allow_shrink = datetime.now(UTC), self.settings.allow_shrink
        rows = frame.select(_NEEDED).iter_rows(named=True)
        made = [NOTHING if row["held"] else composed(row, now, allow_shrink=allow_shrink) for row in rows]
        texts = pl.List(pl.String)
        return classify(
            frame.with_columns(
                pl.Series("after", [one.after for one in made], dtype=pl.Binary),
                pl.Series("identity", [one.identity for one in made], dtype=pl.Binary),
                pl.Series("said", [one.said for one in made], dtype=pl.String),
                repairs=pl.concat_list("repairs", pl.Series([list(one.repairs) for one in made], dtype=texts)),
                held=pl.concat_list("held", pl.Series([list(one.held) for one in made], dtype=texts)),
            )
        )

    def findings(self, classified: pl.DataFrame) -> pl.DataFrame:
        return findings(classified)

    def holdings(self) -> list[Holding]:
        return self.source.holdings()

    def types(self) -> str:
        return self.source.types()

    def unreadable(self) -> pl.Expr:
        return has_reason(UNREADABLE)

    def unmatched(self) -> pl.Expr:
        """Also a document whose attempts need problems of a contest that nobody knows, so that there is nothing to count."""
        uncounted = pl.any_horizontal(pl.col(name).list.len() == 0 for name in ("topics", "difficulties"))
        said = pl.concat_list("reasons", "notes")
        return has_reason(UNMATCHED) | (said.list.contains("unknown_contest") & uncounted)


def change_rows(classified: pl.DataFrame) -> pl.DataFrame:
    """One `replace` for each document that is `planned`."""
    planned = classified.filter(pl.col("class") == "planned")
    return conform(
        planned.select(
            "partition", "key", "after", "identity", "reasons",
            op=pl.lit("replace"),
            before="document",
        )
    )  # fmt: skip


def findings(classified: pl.DataFrame) -> pl.DataFrame:
    """One row a document and reason, notes included: columns of `FINDINGS`."""
    expected = pl.format(
        "attempted={} correct={} time={} ms topics={}",
        "total_attempted",
        "total_correct",
        "total_time_ms",
        pl.col("topics").list.len(),
    )
    return (
        classified.select(
            "partition",
            "key",
            "class",
            pl.coalesce("session_id", "key").alias("id"),
            pl.concat_list("reasons", "notes").alias("reason"),
            pl.col("said").alias("stored"),
            expected.alias("expected"),
        )
        .filter(pl.col("reason").list.len() > 0)
        .explode("reason")
        .select(FINDINGS.names())
    )


def _collected(batch: Batch, failures: Failures | None) -> pl.DataFrame:
    """Facts of a batch; where they cannot be computed, of each partition alone, and those at fault are named."""

    def facts(sessions: pl.DataFrame) -> pl.DataFrame:
        attempts = batch.attempts
        if sessions is not batch.sessions:
            attempts = attempts.join(sessions, on="row", how="semi")
        return _facts(Batch(sessions, attempts, batch.problems, batch.users))

    return pl.concat([pl.DataFrame(schema=COLLECTED), *facts_by_partition(batch.sessions, facts, failures)])


def _facts(batch: Batch) -> pl.DataFrame:
    if armed():
        for partition in batch.sessions["partition"].unique():
            failpoint(f"contest.facts.{partition}")
    attempts = completed(attempts_of(batch.attempts), contest_ids(batch.sessions), batch.problems)
    facts = session_facts(attempts, batch.sessions)
    rows = judged(batch.sessions, attempts, batch.users).join(facts, on="row", how="left", maintain_order="left")
    placed = rows.join(batch.sessions.select("row", "partition"), on="row", maintain_order="left")
    return differences(placed).select(pl.col(name).cast(dtype) for name, dtype in COLLECTED.items())
