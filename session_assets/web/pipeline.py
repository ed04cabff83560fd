"""The loop of web sessions, step by step, for assets, checks and jobs alike: collect, plan, inspect.

Nothing here knows Dagster; nothing here writes to a session.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path

import polars as pl

from session_assets.ahead import ahead
from session_assets.changes.change_set import Plan
from session_assets.changes.ledger import Ledger, PlanWriter
from session_assets.changes.tally import Tally
from session_assets.errors import SessionAssetsError
from session_assets.failpoints import armed, failpoint
from session_assets.partition_files import PartitionWriter
from session_assets.settings import Settings
from session_assets.storage import Storage
from session_assets.stores.mongo import MongoSource, database
from session_assets.web.collected import StoredFacts, collected
from session_assets.web.facts import classify, session_facts
from session_assets.web.findings import findings, loose_findings
from session_assets.web.model import DATABASE, EVENTS, FACT_COLUMNS, SESSION_COLUMNS, SESSIONS, VARIABLE
from session_assets.web.source import Bucket, Progress, Selection, WebSource

RowBuilder = Callable[[pl.DataFrame], pl.DataFrame]
Failures = dict[str, str]
"""Partitions that failed, with the reason."""


@dataclass(frozen=True)
class Planned:
    """A plan as it was made: what was read and found, the full lists by reason, the partitions that failed."""

    plan: Plan
    tally: Tally
    lists: dict[str, str]
    failures: Failures


@dataclass(frozen=True)
class Web:
    """The web slice on the current environment."""

    settings: Settings
    storage: Storage
    source: WebSource

    @property
    def stored(self) -> StoredFacts:
        """Facts as they were stored by an earlier step."""
        return StoredFacts(self.storage)

    @staticmethod
    def open(settings: Settings, storage: Storage, first: date) -> Web:
        """Open the collections; raises `NotConfigured`, `StoreUnavailable`."""
        db = database(VARIABLE, DATABASE)
        sessions, events = MongoSource(db[SESSIONS], VARIABLE), MongoSource(db[EVENTS], VARIABLE)
        return Web(settings, storage, WebSource(sessions, events, first, datetime.now(UTC).date()))

    # -- facts ---------------------------------------------------------------------------------------------------------

    def selection(self, partitions: Iterable[str], *, whole: bool = False) -> Selection:
        """Partitions as a selection: the whole collection where they hold all its documents, which is read fastest."""
        if whole:
            return Selection()
        keys = frozenset(partitions)
        standing = frozenset(self.source.standing()["partition"])
        return Selection() if standing <= keys else Selection(keys)

    def buckets(
        self, selection: Selection, scratch: Path, progress: Progress | None = None, failures: Failures | None = None
    ) -> Iterator[pl.DataFrame]:
        """Frames of `COLLECTED`, bucket by bucket.

        A partition whose facts cannot be computed goes to `failures` with the reason, the others go on; without
        `failures` the error is raised.
        """
        buckets = self.source.scan(selection, scratch, progress)
        yield from ahead(lambda bucket: self._facts(bucket, failures), buckets)

    def _facts(self, bucket: Bucket, failures: Failures | None) -> pl.DataFrame:
        others = collected(bucket.others)
        try:
            return pl.concat([_joined(bucket.sessions, bucket.events), others])
        except Exception:  # not swallowed: each partition is tried alone below, and those at fault are named
            if failures is None:
                raise
        parts = [others]
        for (partition,), sessions in bucket.sessions.partition_by("partition", as_dict=True).items():
            try:
                parts.append(_joined(sessions, bucket.events.join(sessions, on="session_id", how="semi")))
            except Exception as error:
                failures[str(partition)] = f"{type(error).__name__}: {error}"
        return pl.concat(parts)

    def collect(
        self, partitions: Iterable[str], run_id: str, progress: Progress | None = None, *, whole: bool = False
    ) -> tuple[dict[str, int], Failures]:
        """Store documents and facts of partitions; returns how many documents each holds, and those that failed."""
        partitions = sorted(partitions)
        counts: dict[str, int] = dict.fromkeys(partitions, 0)
        failures: Failures = {}
        with self.storage.scratch() as scratch:
            writer = PartitionWriter(scratch)
            for frame in self.buckets(self.selection(partitions, whole=whole), scratch, progress, failures):
                for (partition,), rows in frame.partition_by("partition", as_dict=True, maintain_order=True).items():
                    if partition in counts:  # a live document may stand elsewhere by now: it is another run's
                        counts[str(partition)] += rows.height
                        writer.add(str(partition), rows)
            files = writer.finish()
            for partition in partitions:
                if partition not in failures:
                    self.stored.publish(partition, files.get(partition, []), run_id, counts[partition])
        return {partition: count for partition, count in counts.items() if partition not in failures}, failures

    def observed_events(self) -> dict[str, int | str]:
        """What is known of the events collection after a read."""
        count, newest = self.source.observed_events()
        return {"dagster/row_count": count} | ({"newest_event": newest.isoformat()} if newest else {})

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

    def plan(
        self,
        ledger: Ledger,
        partitions: Iterable[str],
        rows_of: RowBuilder,
        run_id: str,
        progress: Progress | None = None,
    ) -> Planned:
        """Plan changes from the stored facts of partitions. A partition that fails is left out and named with its error."""
        partitions = sorted(partitions)
        failures: Failures = {}
        with self.storage.scratch() as scratch:
            tally, writer = Tally(scratch), PlanWriter(scratch)
            for number, partition in enumerate(partitions):
                try:
                    failpoint(f"web.plan.{partition}")
                    tally.reads[partition] = self.stored.count(partition)
                    for classified in ahead(self.classified, self.stored.frames(partition)):
                        self._plan_frame(classified, tally, writer, rows_of)
                except Exception as error:
                    failures[partition] = f"{type(error).__name__}: {error}"
                    tally.drop(partition)
                    writer.drop(partition)
                if progress is not None:
                    progress("partitions", number + 1, len(partitions))
            for partition, reason in tally.unaccounted().items():
                failures[partition] = f"documents are not accounted for: {reason}"
                writer.drop(partition)
            lists = self.publish_lists("plans", run_id, tally)
            done = [partition for partition in partitions if partition not in failures]
            failpoint("web.before_record")
            plan = ledger.record(writer, run_id, done, tally.summary() | {"lists": lists})
        return Planned(plan, tally, lists, failures)

    def plan_now(
        self,
        ledger: Ledger,
        selection: Selection,
        rows_of: RowBuilder,
        run_id: str,
        *,
        visited: Iterable[str] = (),
        progress: Progress | None = None,
    ) -> Planned:
        """Plan changes from the collections as they stand, without stored facts. `visited` counts as planned, if empty."""
        with self.storage.scratch() as scratch:
            tally, writer = Tally(scratch), PlanWriter(scratch)
            for frame in self.buckets(selection, scratch, progress):
                tally.read(frame)
                self._plan_frame(self.classified(frame), tally, writer, rows_of)
            unaccounted = tally.unaccounted()
            if unaccounted:
                raise SessionAssetsError(f"documents are not accounted for, nothing is planned: {unaccounted}")
            lists = self.publish_lists("plans", run_id, tally)
            partitions = sorted({*visited, *tally.reads})
            plan = ledger.record(writer, run_id, partitions, tally.summary() | {"lists": lists})
        return Planned(plan, tally, lists, {})

    def _plan_frame(self, classified: pl.DataFrame, tally: Tally, writer: PlanWriter, rows_of: RowBuilder) -> None:
        tally.classify(classified)
        tally.find(findings(classified))
        rows = rows_of(classified)
        for (partition,), part in rows.partition_by("partition", as_dict=True, maintain_order=True).items():
            writer.add(str(partition), part)

    # -- verify --------------------------------------------------------------------------------------------------------

    def inspect(
        self, selection: Selection, run_id: str, progress: Progress | None = None
    ) -> tuple[Tally, dict[str, str]]:
        """Recount from the source of truth, without anything that was stored. Returns the tally and the full lists."""
        with self.storage.scratch() as scratch:
            tally = Tally(scratch)
            for frame in self.buckets(selection, scratch, progress):
                tally.read(frame)
                classified = self.classified(frame)
                tally.classify(classified)
                tally.find(findings(classified))
            return tally, self.publish_lists("checks", run_id, tally)

    def loose_events(self, scratch: Path, run_id: str) -> tuple[Tally, dict[str, str]]:
        """Events that no session document claims, and events without a session_id; asked of the whole collection."""
        tally = Tally(scratch)
        for frame, reason in self.source.loose_events(scratch):
            tally.reads["all"] += frame.height
            tally.find(loose_findings(frame.filter("loose"), reason))
        return tally, self.publish_lists("checks", run_id, tally)

    def publish_lists(self, kind: str, run_id: str, tally: Tally) -> dict[str, str]:
        """Store the full lists: reason → path (a folder of Parquet files)."""
        paths: dict[str, str] = {}
        for reason, files in tally.finish().items():
            folder = f"web/findings/{kind}/{run_id}/{reason}"
            for number, file in enumerate(files):
                self.storage.put(f"{folder}/{number:03d}.parquet", file)
            paths[reason] = str(self.storage.path(folder))
        return paths


def _joined(sessions: pl.DataFrame, events: pl.DataFrame) -> pl.DataFrame:
    if armed():
        for partition in sessions["partition"].unique():
            failpoint(f"web.facts.{partition}")
    return collected(sessions.join(session_facts(events), on="session_id", how="left"))
