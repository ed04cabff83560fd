"""The loop as Dagster sees it, once for all slices: what a slice must say of a loop, and apply and revert on top of it."""

from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import dagster as dg

from session_assets.changes.ledger import Ledger
from session_assets.changes.outcomes import OUTCOME_NAMES
from session_assets.changes.revert import preview, revert
from session_assets.changes.session import (
    ApplyReport,
    Progress,
    apply_plans,
    chosen,
    raise_for,
    refuse_large,
    refuse_other_mapping,
)
from session_assets.changes.store import Store
from session_assets.changes.target import Known, StoreTarget
from session_assets.errors import RowsLeft
from session_assets.graph.environment import Environment
from session_assets.graph.evidence import require_evidence
from session_assets.graph.partition_checks import keep_connections
from session_assets.graph.step import LogProgress
from session_assets.masking import safe_text
from session_assets.stores.locks import collection_lock

PlanFirst = Callable[[Environment, list[str] | None, str], None]
"""Plans partitions (None: all that hold documents) for a run id, where nothing is pending."""


@dataclass(frozen=True)
class Loop:
    """One collection and kind of change. `name` is what people type after `plan`, `apply` and `revert`."""

    name: str
    collection: str  # what is locked, on each target
    store: Callable[[], Store]
    plan_first: PlanFirst
    target: Callable[[], StoreTarget]
    """Asks the server which collection this is."""
    batch_size: int = 5000
    """Rows of a batch, where nobody says otherwise."""
    spent: Callable[[], Mapping[str, float]] | None = None
    """What the requests of this process cost so far, where the store tells."""
    mapping: Callable[[], str] = lambda: ""
    """Digest of the mapping file that is set now, empty without one: plans of another one are not applied."""

    def known(self, environment: Environment) -> Known:
        """The target that answers now."""
        return environment.known(self.target())

    def ledger(self, environment: Environment) -> Ledger:
        """The ledger of that target."""
        return environment.ledger(self.name, self.known(environment))

    def lock(self, ledger: Ledger, partitions: Iterable[str], purpose: str) -> AbstractContextManager[None]:
        """The locks of some partitions of the ledger's target: another database does not wait for them."""
        assert ledger.target is not None
        return collection_lock(f"{self.collection} of {ledger.target.coarse}", partitions, purpose)


class ApplyConfig(dg.Config):
    """Which plan to apply, and how."""

    plan_id: str | None = None
    force: bool = False
    batch_size: int = 0  # 0: that of the collection


def apply_loop(
    loop: Loop,
    environment: Environment,
    partitions: list[str] | None,
    config: ApplyConfig,
    run_id: str,
    log: Any,
    progress: Progress | None = None,
) -> ApplyReport:
    """Apply what is pending, or the named plan; plans first where nothing is pending, and says so."""
    ledger = loop.ledger(environment)
    todo = chosen(ledger, partitions, config.plan_id)
    if config.plan_id is None:
        covered = {partition for keys in todo.values() for partition in keys} | ledger.planned_by(run_id)
        fresh = not covered if partitions is None else [key for key in partitions if key not in covered]
        if fresh:
            log.info(f"{loop.name}: nothing is pending, so the changes are planned first")
            loop.plan_first(environment, fresh if isinstance(fresh, list) else None, run_id)
            todo = chosen(ledger, partitions, None)
    assert ledger.target is not None
    refuse_other_mapping(ledger, todo, loop.mapping())
    keys = sorted({partition for keys in todo.values() for partition in keys})
    require_evidence(environment, loop.name.split("/")[0], ledger.target, keys)
    refuse_large(ledger, todo, 1.0 if config.force else environment.settings.max_change_share)
    before = _spent(loop)
    with loop.lock(ledger, keys, f"apply {loop.name}"):
        report = apply_plans(
            ledger,
            todo,
            loop.store(),
            run_id=run_id,
            batch_size=config.batch_size or loop.batch_size,
            progress=progress or LogProgress(log.info, "rows"),
        )
    report.failed |= {partition: str(error) for partition, error in ledger.damaged.items() if partition not in keys}
    report.spent = {name: round(value - before.get(name, 0), 2) for name, value in _spent(loop).items()}
    environment.report(run_id, "apply", apply_summary(loop.name, report))
    return report


def _spent(loop: Loop) -> dict[str, float]:
    return {} if loop.spent is None else dict(loop.spent())


def apply_summary(name: str, report: ApplyReport) -> dict[str, Any]:
    totals = report.totals()
    return {
        "loop": name,
        "plan_ids": report.plan_ids,
        "planned": sum(report.planned.values()),
        "outcomes": totals.as_dict(),
        "errors": {safe_text(key): reason for key, reason in totals.errors.items()},
        "conflicts": [safe_text(key) for key in totals.conflicts],
        "failed": report.failed,
        "spent": report.spent,
    }


def outcome_metadata(report: ApplyReport, partition: str) -> dict[str, Any]:
    """Counts of one partition for the UI."""
    outcomes = report.outcomes[partition]
    counts = {name: outcomes.counts[name] for name in OUTCOME_NAMES.values()}
    return {"planned": report.planned[partition], **counts} | {f"run_{name}": one for name, one in report.spent.items()}


class RevertConfig(dg.Config):
    """What to undo."""

    loop: str
    plan_id: str
    dry_run: bool = False
    batch_size: int = 0  # 0: that of the collection


def revert_loop(loop: Loop, environment: Environment, config: RevertConfig, run_id: str, log: Any) -> None:
    """Undo a plan, or look what that would undo. Raises `RowsLeft` where documents are left."""
    ledger = loop.ledger(environment)
    plan = ledger.plan(config.plan_id)
    if config.dry_run:
        report = preview(ledger, plan, loop.store())
    else:
        keys = [part.partition for part in plan.parts]
        progress = LogProgress(log.info, "rows undone")
        done = 0

        def tell(outcomes: Any) -> None:
            nonlocal done
            done += sum(outcomes.counts.values())
            progress(done, plan.rows)

        with loop.lock(ledger, keys, f"revert {loop.name}"):
            report = revert(
                ledger,
                plan,
                loop.store(),
                run_id=run_id,
                batch_size=config.batch_size or loop.batch_size,
                progress=tell,
            )
    summary = {"loop": loop.name, "plan_id": plan.plan_id, "dry_run": config.dry_run, **report.as_dict()}
    environment.report(run_id, "revert", summary)
    log.info(f"undone: {report.undoable}, left: {report.refused_count} {dict(report.left) or ''}")
    raise_for(report.damaged, f"revert {loop.name}")
    left = report.unexplained or (0 if config.dry_run else report.refused_count)
    if left:
        raise RowsLeft(left, report.undoable)


def revert_job(slice_name: str, loops: Iterable[Loop]) -> dg.JobDefinition:
    """The undo of a slice's plans as a run."""
    by_name = {loop.name: loop for loop in loops}

    @dg.op(name=f"revert_{slice_name}_plan")
    def revert_plan(context: dg.OpExecutionContext, config: RevertConfig) -> None:
        keep_connections(context.instance)
        revert_loop(by_name[config.loop], Environment.load(), config, context.run_id, context.log)

    @dg.job(
        name=f"{slice_name}_revert",
        executor_def=dg.in_process_executor,
        description="Undo the latest apply of a plan, where documents are still as it left them. Start with dry_run.",
    )
    def job() -> None:
        revert_plan()

    return job
