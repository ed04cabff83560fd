"""How web sessions are read with their facts, and classified: what the loop of `pipeline.py` asks of a slice.

Nothing here knows Dagster; nothing here writes to a session.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import partial
from pathlib import Path

import polars as pl

from session_assets.ahead import ahead
from session_assets.changes.evidence import Holding
from session_assets.changes.parts import PlanWriter
from session_assets.changes.tally import Tally
from session_assets.failpoints import armed, failpoint
from session_assets.pipeline import Failures, Pipeline, facts_by_partition, has_reason
from session_assets.selection import Progress, Selection
from session_assets.settings import Settings
from session_assets.storage import Storage
from session_assets.stores.mongo import MongoSource, database
from session_assets.stores.mongo_types import types_text
from session_assets.web.collected import collected
from session_assets.web.facts import classify, session_facts
from session_assets.web.findings import findings, loose_findings
from session_assets.web.model import (
    DATABASE,
    FACT_COLUMNS,
    SESSION_COLUMNS,
    SLICE,
    UNMATCHED,
    UNREADABLE,
    UNREADABLE_EVENT,
    VARIABLE,
)
from session_assets.web.repairs import held_if_too_large
from session_assets.web.source import Bucket, WebSource
from session_assets.web.stored import PLAIN, WebShape, web_shape


@dataclass(frozen=True)
class Web(Pipeline):
    """The web slice on the current environment."""

    settings: Settings
    storage: Storage
    source: WebSource
    shape: WebShape = PLAIN
    name: str = SLICE

    @staticmethod
    def open(settings: Settings, storage: Storage, first: date) -> Web:
        """Open the collections; raises `NotConfigured`, `UsageError` for a wrong mapping file, `StoreUnavailable`."""
        shape = web_shape()
        db = database(VARIABLE, DATABASE)
        names = (shape.sessions.collection, shape.events.collection)
        sessions, events = (MongoSource(db[name], VARIABLE) for name in names)
        return Web(settings, storage, WebSource(sessions, events, first, datetime.now(UTC).date(), shape), shape)

    @property
    def mapping_digest(self) -> str:
        """Of the mapping file (WEB_MAPPING): facts and plans that were made under another one are not used."""
        return self.shape.digest

    # -- facts ---------------------------------------------------------------------------------------------------------

    def standing(self) -> list[str]:
        return self.source.standing()["partition"].to_list()

    def buckets(
        self, selection: Selection, scratch: Path, progress: Progress | None = None, failures: Failures | None = None
    ) -> Iterator[pl.DataFrame]:
        """Frames of `COLLECTED`, bucket by bucket."""
        buckets = self.source.scan(selection, scratch, progress)
        yield from ahead(lambda bucket: self._facts(bucket, failures), buckets)

    def _facts(self, bucket: Bucket, failures: Failures | None) -> pl.DataFrame:
        others = collected(bucket.others)

        def joined(sessions: pl.DataFrame) -> pl.DataFrame:
            events = bucket.events
            if sessions is not bucket.sessions:
                events = events.join(sessions, on="session_id", how="semi")
            return _joined(sessions, events)

        return pl.concat([*facts_by_partition(bucket.sessions, joined, failures), others])

    def unknown(self, selection: Selection) -> list[str]:
        return self.source.unknown(selection.sessions)

    def observed(self) -> dict[str, dict[str, int | str]]:
        count, newest = self.source.observed_events()
        return {"events": {"dagster/row_count": count} | ({"newest_event": newest.isoformat()} if newest else {})}

    # -- classes and changes -------------------------------------------------------------------------------------------

    def classified(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Rows of `COLLECTED` with `class`, `reasons` and `notes`; all documents of a session must be in the frame."""
        apart = frame.filter(pl.col("session_id").is_null())
        sessions = frame.filter(pl.col("session_id").is_not_null())
        facts = sessions.filter(pl.col("fact_event_count").is_not_null()).select(FACT_COLUMNS.names())
        judged = classify(
            sessions.select(SESSION_COLUMNS.names()),
            facts.unique("session_id"),
            now=datetime.now(UTC),
            settle_minutes=self.settings.settle_minutes,
            allow_shrink=self.settings.allow_shrink,
        )
        judged = held_if_too_large(judged, self.shape)
        login = pl.col("login").fill_null(False)
        reason = pl.when(pl.col("malformed").fill_null(False)).then(pl.lit("malformed_session"))
        others = apart.with_columns(
            pl.when(login).then(pl.lit("not_applicable")).otherwise(pl.lit("listed")).alias("class"),
            reasons=pl.when(login)
            .then(pl.lit([], dtype=pl.List(pl.String)))
            .otherwise(pl.concat_list(reason.otherwise(pl.lit("no_session_id")))),
            notes=pl.lit([], dtype=pl.List(pl.String)),
        )
        return pl.concat([judged, others], how="diagonal_relaxed")

    def findings(self, classified: pl.DataFrame) -> pl.DataFrame:
        return findings(classified)

    def _plan_frame(
        self, classified: pl.DataFrame, tally: Tally, writer: PlanWriter, rows_of: Callable[..., pl.DataFrame]
    ) -> None:
        super()._plan_frame(classified, tally, writer, partial(rows_of, shape=self.shape))

    # -- evidence ------------------------------------------------------------------------------------------------------

    def holdings(self) -> list[Holding]:
        return self.source.holdings(self.settings.max_unreadable_share)

    def types(self) -> str:
        """Fields with types that are not understood, and both session ids: with counts, and an example."""
        events, sessions = self.shape.events, self.shape.sessions
        ids = [f"{one.collection}.{one.stored('session_id')}" for one in (sessions, events)]
        time = f"{events.collection}.{events.stored('timestamp')}"
        return types_text(self.source.types_found(), needed=[time], always=ids)

    def unclaimed(self) -> str:
        """Events that name a session, while no session has an id: its field may have another name."""
        return "events that name a session" if self.source.claims_nothing() else ""

    def unreadable(self) -> pl.Expr:
        return has_reason(UNREADABLE)

    def unmatched(self) -> pl.Expr:
        """A session without any event: where no session has one, the ids of both collections are not the same."""
        return has_reason(UNMATCHED)

    # -- verify --------------------------------------------------------------------------------------------------------

    def loose_events(self, scratch: Path, run_id: str) -> tuple[Tally, dict[str, str]]:
        """Events that no session document claims, and events without a session_id; asked of the whole collection.

        An event whose session_id is neither a text nor an ObjectId is unreadable: it may belong to any session.
        """
        tally = Tally(scratch)
        for frame, reason in self.source.loose_events(scratch):
            tally.reads["all"] += frame.height
            states = {"class": pl.lit("judged"), "unreadable": reason == UNREADABLE_EVENT, "unmatched": False}
            tally.look(frame.with_columns(partition=pl.lit("all"), **states))
            tally.find(loose_findings(frame.filter("loose"), reason))
        return tally, self.publish_lists("checks", run_id, tally)


def _joined(sessions: pl.DataFrame, events: pl.DataFrame) -> pl.DataFrame:
    if armed():
        for partition in sessions["partition"].unique():
            failpoint(f"web.facts.{partition}")
    return collected(sessions.join(session_facts(events), on="session_id", how="left"))
