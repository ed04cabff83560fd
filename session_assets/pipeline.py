"""The loop of a partitioned collection, step by step, for assets, checks and jobs alike: collect, plan, inspect.

A slice says how its documents are read with their facts, and how they are classified. Nothing here knows Dagster; nothing here
writes to a collection.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from session_assets.ahead import ahead
from session_assets.changes.change_set import Plan
from session_assets.changes.evidence import Holding
from session_assets.changes.ledger import Ledger
from session_assets.changes.parts import PlanWriter
from session_assets.changes.tally import Tally
from session_assets.changes.target import Known
from session_assets.errors import SessionAssetsError, StoreUnavailable
from session_assets.failpoints import failpoint
from session_assets.partition_files import PartitionWriter
from session_assets.selection import Progress, Selection
from session_assets.storage import Storage
from session_assets.stored_facts import StoredFacts

_ANY = (Exception, pl.exceptions.PanicException)  # a panic of Polars is no Exception
RowBuilder = Callable[[pl.DataFrame], pl.DataFrame]
Locked = Callable[[list[str]], AbstractContextManager[None]]
Judge = Callable[[Tally], None]
Failures = dict[str, str]
"""Partitions that failed, with the reason."""


@dataclass(frozen=True)
class Planned:
    """A plan as it was made: what was read and found, the full lists by reason, the partitions that failed."""

    plan: Plan
    tally: Tally
    lists: dict[str, str]
    failures: Failures


def has_reason(names: Iterable[str]) -> pl.Expr:
    """Whether a classified document has one of some reasons."""
    return pl.col("reasons").list.set_intersection(pl.lit([*names], dtype=pl.List(pl.String))).list.len() > 0


def facts_by_partition(
    documents: pl.DataFrame, facts: Callable[[pl.DataFrame], pl.DataFrame], failures: Failures | None
) -> list[pl.DataFrame]:
    """Facts of documents; where they cannot be computed, of each partition alone, and those at fault are named.

    `documents` has `partition`; `facts` gets it as it is, or the rows of one partition. Without `failures` the error is raised.
    """
    try:
        return [facts(documents)]
    except _ANY:  # not swallowed: each partition is tried alone below
        if failures is None:
            raise
    parts: list[pl.DataFrame] = []
    for (partition,), some in documents.partition_by("partition", as_dict=True).items():
        try:
            parts.append(facts(some))
        except _ANY as error:  # whatever it is: the others go on, and the run fails for this one
            failures[str(partition)] = f"{type(error).__name__}: {error}"
    return parts


class Pipeline(ABC):
    """One slice on the current environment."""

    name: str
    storage: Storage

    # -- what a slice says ---------------------------------------------------------------------------------------------

    @abstractmethod
    def standing(self) -> list[str]:
        """The partitions that hold documents now."""

    @abstractmethod
    def unknown(self, selection: Selection) -> list[str]:
        """Those of the chosen sessions, or users, that no document names; in order."""

    @abstractmethod
    def buckets(
        self, selection: Selection, scratch: Path, progress: Progress | None = None, failures: Failures | None = None
    ) -> Iterator[pl.DataFrame]:
        """Documents with their facts, one frame at a time, each with its `partition`.

        A partition whose facts cannot be computed goes to `failures` with the reason, the others go on; without
        `failures` the error is raised.
        """

    @abstractmethod
    def classified(self, frame: pl.DataFrame) -> pl.DataFrame:
        """The rows of a bucket with `class`, `reasons` and `notes`."""

    @abstractmethod
    def findings(self, classified: pl.DataFrame) -> pl.DataFrame:
        """One row a document and reason: columns of `FINDINGS`."""

    def holdings(self) -> list[Holding]:
        """The collections that the slice relies on, each with its documents as the server counts them."""
        return []

    def unreadable(self) -> pl.Expr:
        """Whether a classified document holds a value that nobody understood."""
        return pl.lit(False)

    def unmatched(self) -> pl.Expr:
        """Whether a classified document has nothing that it could be compared with."""
        return pl.lit(False)

    def unclaimed(self) -> str:
        """What belongs to documents while no document of the whole collection claims any; asked if no rule was about one."""
        return ""

    def types(self) -> str:
        """The types that the fields compared hold, with counts and an example each: asked only for the text of a lack."""
        return ""

    def figures(self, classified: pl.DataFrame) -> pl.DataFrame:
        """What a slice counts beside classes and reasons: `partition`, and a column of counts each."""
        return classified.select("partition").unique()

    def observed(self) -> dict[str, dict[str, int | str]]:
        """After a read: what is known of the slice's assets that nobody materializes, by name."""
        return {}

    # -- facts ---------------------------------------------------------------------------------------------------------

    @property
    def mapping_digest(self) -> str:
        """Tells how the documents are stored (a mapping file), if that is not as by default: facts and plans belong to it."""
        return ""

    @property
    def stored(self) -> StoredFacts:
        """Facts as they were stored by an earlier step."""
        return StoredFacts(self.storage, self.name, self.mapping_digest)

    def selection(self, partitions: Iterable[str], *, whole: bool = False) -> Selection:
        """Partitions as a selection: the whole collection where they hold all its documents, which is read fastest."""
        if whole:
            return Selection()
        keys = frozenset(partitions)
        return Selection() if keys.issuperset(self.standing()) else Selection(keys)

    def collect(
        self,
        partitions: Iterable[str],
        run_id: str,
        target: Known,
        progress: Progress | None = None,
        *,
        whole: bool = False,
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
                    self.stored.publish(partition, files.get(partition, []), run_id, counts[partition], target)
        return {partition: count for partition, count in counts.items() if partition not in failures}, failures

    # -- changes -------------------------------------------------------------------------------------------------------

    def plan(
        self,
        ledger: Ledger,
        partitions: Iterable[str],
        rows_of: RowBuilder,
        run_id: str,
        progress: Progress | None = None,
        *,
        judge: Judge = lambda _: None,
    ) -> Planned:
        """Plan changes from the stored facts of partitions. A partition that fails is left out and named with its error.

        `judge` sees what was read before the plan is recorded; where it raises, nothing is left that could be applied later.
        """
        partitions = sorted(partitions)
        assert ledger.target is not None
        failures: Failures = {}
        with self.storage.scratch() as scratch:
            tally, writer = Tally(scratch), PlanWriter(scratch)
            for number, partition in enumerate(partitions):
                try:
                    failpoint(f"{self.name}.plan.{partition}")
                    self.stored.require(partition, ledger.target)
                    tally.reads[partition] = self.stored.count(partition)
                    for classified in ahead(self.classified, self.stored.frames(partition)):
                        self._plan_frame(classified, tally, writer, rows_of)
                except StoreUnavailable:  # not the fault of this partition
                    raise
                except _ANY as error:
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
            judge(tally)
            failpoint(f"{self.name}.before_record")
            plan = ledger.record(writer, run_id, done, tally.summary() | {"lists": lists} | self._mapping())
        return Planned(plan, tally, lists, failures)

    def plan_now(
        self,
        ledger: Ledger,
        selection: Selection,
        rows_of: RowBuilder,
        run_id: str,
        *,
        visited: Iterable[str] = (),
        locked: Locked = lambda _: nullcontext(),
        noted: Mapping[str, int] | None = None,
        judge: Judge = lambda _: None,
    ) -> Planned:
        """Plan changes from the collections as they stand, without stored facts. `visited` counts as planned, if empty.

        `noted` goes into the recording of the plan; `judge` as for `plan`.

        `locked` is what the plan is recorded in, where its partitions were not known and locked before.
        """
        with self.storage.scratch() as scratch:
            tally, writer = Tally(scratch), PlanWriter(scratch)
            for frame in self.buckets(selection, scratch):
                tally.read(frame)
                self._plan_frame(self.classified(frame), tally, writer, rows_of)
            unaccounted = tally.unaccounted()
            if unaccounted:
                raise SessionAssetsError(f"documents are not accounted for, nothing is planned: {unaccounted}")
            lists = self.publish_lists("plans", run_id, tally)
            partitions = sorted({*visited, *tally.reads})
            judge(tally)
            with locked(partitions):
                summary = tally.summary() | {"lists": lists} | dict(noted or {}) | self._mapping()
                plan = ledger.record(writer, run_id, partitions, summary)
        return Planned(plan, tally, lists, {})

    def _mapping(self) -> dict[str, str]:
        """What the recording of a plan says of the mapping that it was made under."""
        return {"mapping": self.mapping_digest} if self.mapping_digest else {}

    def _plan_frame(self, classified: pl.DataFrame, tally: Tally, writer: PlanWriter, rows_of: RowBuilder) -> None:
        self._count(tally, classified)
        rows = rows_of(classified)
        for (partition,), part in rows.partition_by("partition", as_dict=True, maintain_order=True).items():
            writer.add(str(partition), part)

    def _count(self, tally: Tally, classified: pl.DataFrame) -> None:
        tally.classify(classified)
        states = classified.select("partition", "class", unreadable=self.unreadable(), unmatched=self.unmatched())
        tally.look(states)
        tally.find(self.findings(classified))

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
                self._count(tally, classified)
                tally.measure(self.figures(classified))
            return tally, self.publish_lists("checks", run_id, tally)

    def publish_lists(self, kind: str, run_id: str, tally: Tally) -> dict[str, str]:
        """Store the full lists: reason → path (a folder of Parquet files)."""
        paths: dict[str, str] = {}
        for reason, files in tally.finish().items():
            folder = f"{self.name}/findings/{kind}/{run_id}/{reason}"
            for number, file in enumerate(files):
                self.storage.put(f"{folder}/{number:03d}.parquet", file)
            paths[reason] = str(self.storage.path(folder))
        return paths
