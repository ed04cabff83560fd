"""A partitioned collection as assets: facts, changes, and the repaired collection. A slice says what differs, once."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import dagster as dg
import polars as pl

from session_assets.changes.change_set import CHANGES
from session_assets.changes.evidence import Lack
from session_assets.changes.store import Store
from session_assets.changes.tally import Tally
from session_assets.changes.target import StoreTarget
from session_assets.graph.check_report import Rule, Share
from session_assets.graph.environment import Environment
from session_assets.graph.evidence import Evidence
from session_assets.graph.health import health_spec
from session_assets.graph.loop import ApplyConfig, Loop, PlanFirst, apply_loop, outcome_metadata
from session_assets.graph.markdown import Markdown, md, md_table
from session_assets.graph.planned import Judged
from session_assets.graph.preview import preview_changes
from session_assets.graph.step import LogProgress, Step
from session_assets.graph.tables import column_schema
from session_assets.pipeline import Pipeline, Planned, RowBuilder
from session_assets.selection import Progress


@dataclass(frozen=True)
class Texts:
    """What the UI says of the assets and jobs."""

    facts: str
    sessions: str
    verify: str
    apply: str


@dataclass(frozen=True)
class Collection:
    """The sessions of a slice."""

    slice_: str
    variable: str
    partitions: dg.PartitionsDefinition[Any]
    open: Callable[[Environment], Pipeline]
    store: Callable[[], Store]
    """Guarded writes."""
    target: Callable[[], StoreTarget]
    """Asks the server which collection this is."""
    rows_of: RowBuilder
    """Change rows of classified documents."""
    rules: Mapping[str, Sequence[Rule]]
    """What each check counts."""
    kinds: set[str]
    owners: list[str]
    schema: pl.Schema
    """Of a stored document."""
    collected: pl.Schema
    """Of a document with its facts."""
    read_from: Sequence[str]
    """Assets that facts are made of."""
    texts: Texts
    name: str = "sessions"
    """Of the repaired collection, as an asset."""
    driver: str = "mongodb"
    """Names the pool of steps that use the store."""
    batch_size: int = 5000
    """Rows of a batch, where nobody says otherwise."""
    spent: Callable[[], Mapping[str, float]] | None = None
    """What the requests of this process cost so far, where the store tells."""
    preview: Callable[[pl.DataFrame], Markdown] = preview_changes
    """Change rows as Markdown."""
    shares: Sequence[Share] = ()
    """Shares that are checked beside the rules."""
    mapping: Callable[[], str] = lambda: ""
    """Digest of the mapping file that is set now, empty without one."""

    def key(self, name: str) -> dg.AssetKey:
        return dg.AssetKey([self.slice_, name])

    @property
    def lock(self) -> str:
        return f"{self.slice_}.{self.name}"

    @property
    def pool(self) -> str:
        return f"{self.slice_}_{self.driver}"

    @cached_property
    def loop(self) -> Loop:
        return self.loop_named(self.slice_, self._plan_first)

    def loop_named(self, name: str, plan_first: PlanFirst) -> Loop:
        """A loop on the collection."""
        return Loop(name, self.lock, self.store, plan_first, self.target, self.batch_size, self.spent, self.mapping)

    def lack(
        self,
        environment: Environment,
        pipeline: Pipeline,
        tally: Tally,
        run_id: str,
        tags: Mapping[str, str],
        partitions: Sequence[str] | None,
        *,
        of_plan: bool = True,
    ) -> Lack | None:
        """Whether what a run read of these partitions (None: all) is evidence at all; the answer is kept for what follows."""
        known = self.loop.known(environment)
        figures, unmatched = tally.all_figures(), tally.unmatched
        unclaimed = "" if figures.applicable else pipeline.unclaimed()
        return Evidence(environment, self.slice_, self.variable, known).look(
            pipeline.holdings(),
            figures,
            unmatched,
            run_id=run_id,
            tags=tags,
            partitions=partitions,
            types=pipeline.types,
            unclaimed=unclaimed,
            of_plan=of_plan,
        )

    def _plan_first(self, environment: Environment, partitions: list[str] | None, run_id: str) -> None:
        pipeline = self.open(environment)
        keys = partitions if partitions is not None else pipeline.standing()
        ledger = self.loop.ledger(environment)
        judged = self._judged(environment, pipeline, run_id, {}, partitions)
        with self.loop.lock(ledger, keys, f"plan {self.slice_}"):
            selection = pipeline.selection(keys)
            planned = pipeline.plan_now(ledger, selection, self.rows_of, run_id, visited=keys, judge=judged)
        judged.tell(planned)

    def _judged(
        self,
        environment: Environment,
        pipeline: Pipeline,
        run_id: str,
        tags: Mapping[str, str],
        partitions: Sequence[str] | None,
    ) -> Judged:
        def lack_of(tally: Tally) -> Lack | None:
            return self.lack(environment, pipeline, tally, run_id, tags, partitions)

        return Judged(environment, run_id, self.slice_, lack_of)

    def _plan_metadata(self, environment: Environment, planned: Planned) -> Mapping[str, Mapping[str, Any]]:
        ledger = environment.ledger(planned.plan.loop)
        result: dict[str, dict[str, Any]] = {}
        for partition, read in planned.tally.reads.items():
            part = planned.plan.part(partition)
            result[partition] = {
                "documents": read,
                "plan_id": planned.plan.plan_id,
                **planned.tally.classes[partition],
                "reasons": md(md_table(sorted(planned.tally.reasons[partition].items()), ["reason", "documents"])),
            }
            if part is not None:
                result[partition]["preview"] = md(self.preview(next(ledger.rows(part)).head(10)))
        return result

    # -- assets --------------------------------------------------------------------------------------------------------

    def asset(self, name: str, kinds: set[str], schema: pl.Schema, **options: Any) -> Any:
        """The decorator of an asset with the partitions of the collection."""
        return dg.asset(
            key=self.key(name),
            group_name=self.slice_,
            owners=self.owners,
            kinds=kinds,
            partitions_def=self.partitions,
            backfill_policy=dg.BackfillPolicy.single_run(),
            metadata={"dagster/column_schema": column_schema(schema)},
            pool=self.pool,
            **options,
        )

    def facts_asset(self) -> dg.AssetsDefinition:
        kinds = {*self.kinds, "polars", "parquet"}
        deps = [self.key(name) for name in self.read_from]

        @self.asset("session_facts", kinds, self.collected, deps=deps, description=self.texts.facts)
        def session_facts(context: dg.AssetExecutionContext) -> None:
            step = Step(context, self.key("session_facts"))
            pipeline = self.open(step.environment)
            wanted, ledger = step.wanted(), self.loop.ledger(step.environment)
            assert ledger.target is not None
            with self.loop.lock(ledger, wanted, f"plan {self.slice_}"):
                counts, failures = pipeline.collect(
                    wanted, step.run_id, ledger.target, log_progress(context.log), whole=step.whole
                )
            for name, metadata in pipeline.observed().items():
                context.log_event(dg.AssetObservation(self.key(name), metadata=metadata))
            held = {partition: {"documents": count} for partition, count in counts.items() if count}
            step.finish(held, failures)

        return session_facts

    def changes_asset(self) -> dg.AssetsDefinition:
        @self.asset("session_changes", {"polars", "parquet"}, CHANGES, deps=[self.key("session_facts")])
        def session_changes(context: dg.AssetExecutionContext) -> None:
            """The dry run: one row per document that is wrong, with before and after. Writes nothing to any collection."""
            step = Step(context, self.key("session_changes"))
            pipeline = self.open(step.environment)
            wanted, ledger = step.wanted(), self.loop.ledger(step.environment)
            about = None if step.whole else wanted
            judged = self._judged(step.environment, pipeline, step.run_id, context.run.tags, about)
            with self.loop.lock(ledger, wanted, f"plan {self.slice_}"):
                planned = pipeline.plan(ledger, wanted, self.rows_of, step.run_id, judge=judged)
            judged.tell(planned)
            step.finish(self._plan_metadata(step.environment, planned), planned.failures)

        return session_changes

    def sessions_asset(self) -> dg.AssetsDefinition:
        deps = [self.key("session_changes")]

        @self.asset(self.name, self.kinds, self.schema, deps=deps, description=self.texts.sessions)
        def sessions(context: dg.AssetExecutionContext, config: ApplyConfig) -> None:
            step = Step(context, self.key(self.name))
            report = apply_loop(self.loop, step.environment, step.wanted(), config, step.run_id, context.log)
            step.finish(
                {partition: outcome_metadata(report, partition) for partition in report.outcomes}, report.failed
            )

        return sessions

    def assets(self) -> list[dg.AssetsDefinition | dg.AssetSpec]:
        """Facts → changes → sessions → health."""
        return [self.facts_asset(), self.changes_asset(), self.sessions_asset(), health_spec(self)]


def log_progress(log: Any) -> Progress:
    """A log line now and then for each thing that is read."""
    lines: dict[str, LogProgress] = {}

    def tell(what: str, done: int, total: int) -> None:
        lines.setdefault(what, LogProgress(log.info, f"{what} read"))(min(done, total), total)

    return tell
