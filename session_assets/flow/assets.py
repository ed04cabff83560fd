"""The flow migration as assets: what there is, what would change, and the steps. Each is read or made as a whole."""

from collections.abc import Iterable
from typing import Any

import dagster as dg
import polars as pl

from session_assets.changes.owner import Accepted
from session_assets.errors import PlanRefused
from session_assets.flow import model
from session_assets.flow.evidence import Look
from session_assets.flow.map_target import STORED, keep_target
from session_assets.flow.rehearsal import rehearse
from session_assets.flow.twin_record import Waiver, require_twin, try_again
from session_assets.graph.environment import Environment
from session_assets.graph.markdown import md, md_table, prose
from session_assets.graph.tables import column_schema
from session_assets.masking import safe_text
from session_assets.storage import file_name
from session_assets.stores.flow_changes import Counted, changes, classes, inventory, session_map
from session_assets.stores.flow_gates import GatesShut
from session_assets.stores.flow_migration import Flow
from session_assets.stores.flow_obstacles import refuse_obstacles
from session_assets.stores.flow_steps import StepRecord, describe

OWNERS = ["team:data-platform"]
POOL = "flow_postgres"
STEPS = pl.Schema(
    {"id": pl.String, "kind": pl.String, "state": pl.String, "started_at": pl.String, "finished_at": pl.String,
     "who": pl.String, "fingerprint": pl.String, "counts": pl.String, "note": pl.String}
)  # fmt: skip
_SHOWN = 20


def key(name: str) -> dg.AssetKey:
    return dg.AssetKey([model.SLICE, name])


def open_flow(context: Any = None, waived_by: str | None = None, waiver: Waiver = Waiver()) -> Flow:  # noqa: B008 - frozen
    """Raises `NotConfigured` where FLOW_DATABASE_URL is unset."""
    say = (lambda text: context.log.info(safe_text(text))) if context is not None else (lambda _: None)
    environment = Environment.load()
    flow = Flow.from_env(say=say, waived_by=waived_by, accepted=Accepted(environment.storage))
    waiver.give(environment, flow)
    return flow


@dg.asset(
    key=key("session_inventory"),
    group_name=model.SLICE,
    owners=OWNERS,
    kinds={"postgresql", "parquet"},
    pool=POOL,
    metadata={"dagster/column_schema": column_schema(model.INVENTORY)},
)
def session_inventory(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
    """Tables and columns that hold session ids, by exact names: types, counts, indexes, foreign keys."""
    environment, flow = Environment.load(), open_flow(context)
    _require_clear_way(environment, flow, context)
    with flow.reading() as work:
        found = inventory(work)
        fingerprint, obstacles = work.layout.fingerprint, work.layout.obstacles
    environment.storage.write_parquet(f"{model.SLICE}/session_inventory.parquet", found)
    shown = found.select("table", "column", "type", "role", "rows", "non_null", "indexes").iter_rows()
    return dg.MaterializeResult(
        metadata={
            "dagster/row_count": found.height,
            "schema": fingerprint,
            "obstacles": ", ".join(obstacles) or "none",
            "preview": md(md_table(shown, ["table", "column", "type", "role", "rows", "non-null", "indexes"])),
        }
    )


@dg.asset(
    key=key("session_flow_map"),
    deps=[session_inventory],
    group_name=model.SLICE,
    owners=OWNERS,
    kinds={"postgresql", "parquet"},
    pool=POOL,
    metadata={"dagster/column_schema": column_schema(model.MAP)},
)
def session_flow_map(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
    """Each session with its flow, those with several, and those that get one made. After contract it stays as it was."""
    environment, flow = Environment.load(), open_flow(context)
    look = _look(environment, flow, context)
    _require_old_columns(flow)
    with flow.reading() as work:
        found = session_map(work)
    name = f"{STORED}.parquet"
    environment.storage.write_parquet(name, found)
    keep_target(environment, look.known)
    counts = dict(found["state"].value_counts(sort=True).iter_rows())
    odd = found.filter(pl.col("state") != "mapped").head(_SHOWN).iter_rows()
    return dg.MaterializeResult(
        metadata={
            "dagster/row_count": found.height,
            "target": look.known.shown,
            **counts,
            "full_list": dg.MetadataValue.path(str(environment.storage.path(name))),
            "preview": md(md_table(odd, list(model.MAP))),
        }
    )


@dg.asset(
    key=key("changes"),
    deps=[session_flow_map],
    group_name=model.SLICE,
    owners=OWNERS,
    kinds={"postgresql", "parquet"},
    pool=POOL,
    metadata={"dagster/column_schema": column_schema(model.CHANGES)},
)
def flow_changes(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
    """The dry run: which row gets which flow, and why; which get none. Writes nothing to the database."""
    environment, flow = Environment.load(), open_flow(context)
    _look(environment, flow, context)
    _require_old_columns(flow)
    counted: dict[str, Counted] = {}
    folder = f"{model.SLICE}/changes"
    environment.storage.remove(folder)
    samples = []
    with flow.reading() as work:
        mapped = session_map(work)
        for place in work.layout.followed:
            counted[place.name] = Counted()
            for number, page in enumerate(changes(work, place, mapped, counted[place.name])):
                environment.storage.write_parquet(f"{folder}/{file_name(place.name)}-{number:05d}.parquet", page)
                samples.append(page.group_by("reason", maintain_order=True).head(2))
    reasons = sum((one.reasons for one in counted.values()), start=Counted().reasons)
    to_make = mapped.filter(pl.col("state") == "to_make").height
    report = {
        "read": sum(one.read for one in counted.values()),
        "classes": classes(counted),
        "reasons": dict(reasons.most_common()),
        "tables": {name: dict(one.reasons) for name, one in counted.items()},
        "to_make": to_make,
        "lists": {"changes": str(environment.storage.path(folder))},
    }
    environment.report(context.run_id, "plan", report)
    table = [[name, reason, f"{count:,}"] for name, one in counted.items() for reason, count in one.reasons.items()]
    shown = pl.concat(samples).head(_SHOWN).iter_rows() if samples else []
    return dg.MaterializeResult(
        metadata={
            "dagster/row_count": sum(reasons.values()),
            "flows_to_make": to_make,
            "full_list": dg.MetadataValue.path(report["lists"]["changes"]),
            "by_table": md(md_table(table, ["table", "reason", "rows"])),
            "preview": md(md_table(shown, list(model.CHANGES))),
        }
    )


class ApplyConfig(dg.Config):
    """By whom the try of the road on a twin is waived."""

    waive_twin: str | None = None


@dg.asset(
    key=key("backfilled_tables"),
    deps=[flow_changes, key("twin")],
    group_name=model.SLICE,
    owners=OWNERS,
    kinds={"postgresql"},
    pool=POOL,
    metadata={"dagster/column_schema": column_schema(STEPS)},
)
def backfilled_tables(context: dg.AssetExecutionContext, config: ApplyConfig) -> dg.MaterializeResult:
    """Expand and backfill: flow columns, triggers and the archive are added, rows get their flows. Goes on where it stopped."""
    environment, flow = Environment.load(), open_flow(context, waiver=Waiver(config.waive_twin))
    _require_clear_way(environment, flow, context)
    if flow.before_expand is not None:
        with flow.reading() as work:
            require_twin(environment, flow, work, tries=True)
    return _finished(context, flow.apply())


@dg.asset(
    key=key("backup_rehearsal"),
    deps=[backfilled_tables],
    group_name=model.SLICE,
    owners=OWNERS,
    kinds={"postgresql"},
    pool=POOL,
    metadata={"dagster/column_schema": column_schema(STEPS)},
)
def backup_rehearsal(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
    """A backup of the whole database, restored into a scratch database and compared by counts and checksums."""
    environment, flow = Environment.load(), open_flow(context)
    step = flow.rehearse(lambda step: rehearse(flow.database, environment.storage, step.id, flow.say))
    try_again(environment, flow, context.run_id)
    return _finished(context, step)


class ContractConfig(dg.Config):
    """Contract is never done by the way: without `contract` the asset only looks at the schema."""

    contract: bool = False
    waive_staging: str | None = None  # by whom; else the steps must be recorded on FLOW_STAGING_DATABASE_URL
    waive_twin: str | None = None  # by whom; else the rest of the road must have been tried on a twin
    deployed: str | None = None  # the list of statements, by its digest, that the application does not send any more


@dg.asset(
    key=key("schema"),
    deps=[backup_rehearsal],
    group_name=model.SLICE,
    owners=OWNERS,
    kinds={"postgresql"},
    pool=POOL,
    metadata={"dagster/column_schema": column_schema(STEPS)},
)
def schema(context: dg.AssetExecutionContext, config: ContractConfig) -> dg.MaterializeResult:
    """The schema and the steps that it went through. With `contract: true` the old columns are dropped, if all gates are open."""
    flow = open_flow(context, config.waive_staging, Waiver(config.waive_twin, config.deployed))
    if config.contract:
        _look(Environment.load(), flow, context)
        try:
            step = flow.contract()
        except GatesShut as shut:
            Environment.load().report(context.run_id, "gates", {"gates": [vars(one) for one in shut.gates]})
            raise
        return _finished(context, step)
    with flow.reading() as work:
        steps = [describe(one) for one in work.steps.all()]
        fingerprint = work.layout.fingerprint
    shown = [[one["id"], one["kind"], one["state"], one["finished_at"], one["who"]] for one in steps[:_SHOWN]]
    return dg.MaterializeResult(
        metadata={
            "dagster/row_count": len(steps),
            "schema": fingerprint,
            "state": flow.state(),
            "steps": md(md_table(shown, ["step", "kind", "state", "finished", "who"])),
        }
    )


def _finished(context: dg.AssetExecutionContext, step: StepRecord) -> dg.MaterializeResult:
    """A step for the terminal and for the UI."""
    Environment.load().report(context.run_id, "step", describe(step))
    rows = [*_flat({name: value for name, value in step.counts.items() if name not in model.PROOF})]
    undo = {"undo": md(prose(f"`session-assets revert flow --plan-id {step.id}`"))}
    return dg.MaterializeResult(
        metadata={
            "step": step.id,
            "state": step.state,
            "counts": md(md_table(rows, ["what", "count"])),
            **(undo if step.kind in model.REVISIONS else {}),
        }
    )


def _flat(counts: dict[str, Any], path: str = "") -> Iterable[tuple[str, str]]:
    for name, value in counts.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{path}{name} ")
        else:
            yield f"{path}{name}", f"{value:,}" if isinstance(value, int) else str(value)


def _look(environment: Environment, flow: Flow, context: dg.AssetExecutionContext) -> Look:
    """Raises `NoEvidence` or `PlanRefused` where too little is known: *nothing to do* would be said of the wrong database."""
    look = Look(environment, flow, context.run_id, context.run.tags)
    look.refuse()
    return look


def _require_clear_way(environment: Environment, flow: Flow, context: dg.AssetExecutionContext) -> None:
    """Report all obstacles at once; raises what `_look` raises, and `Obstructed` if one of them stops expand or backfill."""
    found = flow.obstacles()
    environment.report(context.run_id, "obstacles", {"obstacles": [vars(one) for one in found]})
    for one in found:
        context.log.warning(safe_text(f"{one.object}: {one.why}. {one.remedy}"))
    _look(environment, flow, context)
    refuse_obstacles(found)


def _require_old_columns(flow: Flow) -> None:
    state = flow.state()
    if state == "half contracted":
        raise PlanRefused("A contract is half done. Finish it (`apply flow/contract`), or revert it, first.")
    if state == "contracted":
        raise PlanRefused("The old columns are gone: there is nothing left to map. The lists of the last plan stay.")


ASSETS = [session_inventory, session_flow_map, flow_changes, backfilled_tables, backup_rehearsal, schema]
