"""Deletions as their own plans: duplicates of one session_id are folded into one document, empty orphans are removed.

Both are planned over the whole collection, since a duplicate or a late event may stand in any partition. Each delete recounts
inside its transaction. Neither runs as part of `apply web`.
"""

from datetime import UTC, datetime
from typing import Any

import dagster as dg
import polars as pl

from session_assets.changes.change_set import CHANGES
from session_assets.changes.session import raise_for
from session_assets.errors import PlanRefused
from session_assets.graph.collection import plan_summary
from session_assets.graph.environment import Environment
from session_assets.graph.loop import ApplyConfig, Loop, apply_loop, apply_summary
from session_assets.graph.partition_checks import keep_connections
from session_assets.graph.preview import preview_changes
from session_assets.graph.tables import column_schema, markdown
from session_assets.graph.target import Target
from session_assets.selection import Selection
from session_assets.settings import Settings
from session_assets.stores.mongo import database
from session_assets.stores.mongo_changes import MongoStore
from session_assets.stores.mongo_recounts import stays_if_found, stays_if_last
from session_assets.web import model
from session_assets.web.assets import LOCK, OWNERS, key, open_web, target
from session_assets.web.repairs import OTHER_VALUES, fold_rows, orphan_rows

_PLACE = ("session_id",)
_MATERIALIZED = "__ASSET_JOB"  # launched from the graph, where *Materialize all* is one click away


def _orphan_store() -> MongoStore:
    db = database(model.VARIABLE, model.DATABASE)
    recount = stays_if_found(db[model.EVENTS], "session_id", "events of this session have arrived since it was planned")
    return MongoStore(db[model.SESSIONS], model.VARIABLE, place=_PLACE, recount=recount)


def _duplicate_store() -> MongoStore:
    sessions = database(model.VARIABLE, model.DATABASE)[model.SESSIONS]
    recount = stays_if_last(sessions, "session_id", "it has become the only document of its session_id")
    return MongoStore(sessions, model.VARIABLE, place=_PLACE, recount=recount)


def _orphans(classified: pl.DataFrame) -> pl.DataFrame:
    return orphan_rows(classified, now=datetime.now(UTC), grace_days=Settings.from_env().orphan_grace_days)


def _plan(loop: Loop, rows_of: Any, environment: Environment, run_id: str) -> dict[str, Any]:
    web, ledger = open_web(environment), loop.ledger(environment)
    keys = web.standing()
    with loop.lock(ledger, keys, f"plan {loop.name}"):
        planned = web.plan_now(ledger, Selection(), rows_of, run_id, visited=keys)
    summary = plan_summary(loop.name, planned)
    if others := sum(_with_other_values(rows) for part in planned.plan.parts for rows in ledger.rows(part)):
        summary["reasons"][OTHER_VALUES] = others
    environment.report(run_id, "plan", summary)
    parts = [part for part in planned.plan.parts if part.rows]
    shown = preview_changes(next(ledger.rows(parts[0])).head(10)) if parts else "nothing"
    return {
        "plan_id": planned.plan.plan_id,
        "planned": planned.plan.rows,
        "documents": summary["read"],
        "reasons": dg.MetadataValue.md(markdown(summary["reasons"].items(), ["reason", "documents"])),
        "preview": dg.MetadataValue.md(shown),
    }


def _with_other_values(rows: pl.DataFrame) -> int:
    """Deletes of documents that hold values of their own; their names stand in the reasons of the row."""
    return int(rows["reasons"].list.eval(pl.element().str.starts_with(OTHER_VALUES)).list.any().sum())


def _cleanup(step: str, plan_asset: str, apply_asset: str, store: Any, rows_of: Any, texts: tuple[str, str]) -> Any:
    """The plan asset, the apply asset, their jobs and target of one clean-up."""
    name = f"{model.SLICE}/{step}"

    def plan_first(environment: Environment, _partitions: list[str] | None, run_id: str) -> None:
        raise PlanRefused(f"{name} deletes documents: look at a plan first, `session-assets plan {name}`.")

    loop = Loop(name, LOCK, store, plan_first, target)
    common: dict[str, Any] = {"group_name": model.SLICE, "owners": OWNERS, "pool": "web_mongodb"}
    metadata = {"dagster/column_schema": column_schema(CHANGES)}

    @dg.asset(
        key=key(plan_asset),
        deps=[key("sessions"), key("events")],
        kinds={"polars", "parquet"},
        description=texts[0],
        metadata=metadata,
        **common,
    )
    def plan(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
        keep_connections(context.instance)
        return dg.MaterializeResult(metadata=_plan(loop, rows_of, Environment.load(), context.run_id))

    @dg.asset(
        key=key(apply_asset),
        deps=[key(plan_asset)],
        kinds={"mongodb"},
        description=texts[1],
        metadata={"dagster/column_schema": column_schema(model.SESSION_COLUMNS)},
        **common,
    )
    def apply(context: dg.AssetExecutionContext, config: ApplyConfig) -> dg.MaterializeResult:
        keep_connections(context.instance)
        environment = Environment.load()
        if context.run.job_name == _MATERIALIZED and loop.ledger(environment).planned_by(context.run_id):
            raise PlanRefused(
                f"{name} deletes documents: look at the plan that this run made, then materialize this alone."
            )
        report = apply_loop(loop, environment, None, config, context.run_id, context.log)
        raise_for(report.failed, name)
        summary = apply_summary(name, report)
        return dg.MaterializeResult(metadata={"planned": summary["planned"], **summary["outcomes"]})

    job = f"web_{step}"
    jobs = [
        dg.define_asset_job(f"{job}_plan", selection=dg.AssetSelection.assets(key(plan_asset)), description=texts[0]),
        dg.define_asset_job(
            f"{job}_apply", selection=dg.AssetSelection.assets(key(plan_asset), key(apply_asset)), description=texts[1]
        ),
        dg.define_asset_job(
            f"{job}_apply_pending",
            selection=dg.AssetSelection.assets(key(apply_asset)),
            description="Apply the newest plan.",
        ),
    ]
    return [plan, apply], jobs, Target(loop, model.VARIABLE, f"{job}_plan", f"{job}_apply", f"{job}_apply_pending")


_ORPHANS = _cleanup(
    "orphans",
    "orphan_sessions",
    "removed_orphans",
    _orphan_store,
    _orphans,
    (
        "The dry run of the orphan clean-up: sessions without events, count or pages, older than the grace period.",
        "Deletes the planned orphans, each after a recount in its own transaction; journaled whole.",
    ),
)
_DUPLICATES = _cleanup(
    "duplicates",
    "duplicate_sessions",
    "folded_duplicates",
    _duplicate_store,
    fold_rows,
    (
        "The dry run of the fold: several documents for one session_id become the most complete one, recomputed.",
        "Writes each survivor, reads it back, then deletes the other documents of its session_id; journaled whole.",
    ),
)

ASSETS = [*_ORPHANS[0], *_DUPLICATES[0]]
JOBS = [*_ORPHANS[1], *_DUPLICATES[1]]
TARGETS = [_DUPLICATES[2], _ORPHANS[2]]
