"""Web sessions as assets: what they should say, what is wrong, and the repair. Thin: the work is in `pipeline`."""

import os
from collections.abc import Mapping
from typing import Any

import dagster as dg
import polars as pl

from session_assets.changes.session import raise_for
from session_assets.graph.environment import Environment
from session_assets.graph.loop import ApplyConfig, Loop, apply_loop, outcome_metadata
from session_assets.graph.step import LogProgress, Step
from session_assets.graph.tables import column_schema, markdown
from session_assets.settings import start_date
from session_assets.stores.locks import collection_lock
from session_assets.stores.mongo import database, source_name
from session_assets.stores.mongo_changes import MongoStore
from session_assets.web import model
from session_assets.web.activity import ACTIVITY, user_activity
from session_assets.web.collected import COLLECTED
from session_assets.web.pipeline import Planned, Web
from session_assets.web.preview import preview_changes
from session_assets.web.repairs import repair_rows

FIRST_DAY = start_date(os.environ, "WEB_START_DATE")
DAYS = dg.DailyPartitionsDefinition(start_date=FIRST_DAY.isoformat(), end_offset=1)
OWNERS = ["team:data-platform"]
LOCK = "web.sessions"


def key(name: str) -> dg.AssetKey:
    return dg.AssetKey([model.SLICE, name])


def open_web(environment: Environment) -> Web:
    """The web slice on the current environment."""
    return Web.open(environment.settings, environment.storage, FIRST_DAY)


def open_store() -> MongoStore:
    """Guarded writes to the sessions."""
    return MongoStore(database(model.VARIABLE, model.DATABASE)[model.SESSIONS], model.VARIABLE)


def source() -> str:
    """The database, as ledgers name it."""
    return source_name(model.VARIABLE, model.DATABASE)


def _asset(name: str, kinds: set[str], schema: pl.Schema, **options: Any) -> Any:
    return dg.asset(
        key=key(name),
        group_name=model.SLICE,
        owners=OWNERS,
        kinds=kinds,
        partitions_def=DAYS,
        backfill_policy=dg.BackfillPolicy.single_run(),
        metadata={"dagster/column_schema": column_schema(schema)},
        pool="web_mongodb",
        **options,
    )


EVENTS = dg.AssetSpec(
    key("events"),
    deps=[key("event_drops")],
    group_name=model.SLICE,
    owners=OWNERS,
    kinds={"mongodb"},
    description="Events as the application wrote them: the source of truth. Observed, never changed by a repair.",
    metadata={"dagster/column_schema": column_schema(model.EVENT_COLUMNS)},
)


@_asset("session_facts", {"mongodb", "polars", "parquet"}, COLLECTED, deps=[key("events")])
def session_facts(context: dg.AssetExecutionContext) -> None:
    """What each session should say, recomputed from all its events. The stored documents are read first."""
    step = Step(context, key("session_facts"))
    web = open_web(step.environment)
    progress = {name: LogProgress(context.log.info, f"{name} read") for name in ("sessions", "events")}
    wanted = step.wanted()
    with collection_lock(LOCK, wanted, "plan web"):
        counts, failures = web.collect(
            wanted,
            step.run_id,
            lambda what, done, total: progress[what](min(done, total), total),
            whole=step.whole,
        )
    context.log_event(dg.AssetObservation(key("events"), metadata=web.observed_events()))
    held = {partition: {"documents": count} for partition, count in counts.items() if count}
    step.finish(held, failures)


@_asset("session_changes", {"polars", "parquet"}, COLLECTED, deps=[key("session_facts")])
def session_changes(context: dg.AssetExecutionContext) -> None:
    """The dry run: one row per document that is wrong, with before and after. Writes nothing to any collection."""
    step = Step(context, key("session_changes"))
    web = open_web(step.environment)
    wanted = step.wanted()
    with collection_lock(LOCK, wanted, "plan web"):
        planned = web.plan(LOOP.ledger(step.environment), wanted, repair_rows, step.run_id)
    step.environment.report(step.run_id, "plan", plan_summary(model.SLICE, planned))
    step.finish(_plan_metadata(step.environment, planned), planned.failures)


def plan_summary(loop: str, planned: Planned) -> dict[str, Any]:
    """What the terminal prints of a plan."""
    return {
        "loop": loop,
        "plan_id": planned.plan.plan_id,
        "partitions": planned.tally.partitions,
        "read": sum(planned.tally.reads.values()),
        "planned": planned.plan.rows,
        "classes": planned.tally.total_classes(),
        "reasons": planned.tally.total_reasons(),
        "lists": planned.lists,
        "failed": planned.failures,
    }


def _plan_metadata(environment: Environment, planned: Planned) -> Mapping[str, Mapping[str, Any]]:
    ledger = environment.ledger(planned.plan.loop)
    result: dict[str, dict[str, Any]] = {}
    for partition, read in planned.tally.reads.items():
        part = planned.plan.part(partition)
        result[partition] = {
            "documents": read,
            "plan_id": planned.plan.plan_id,
            **planned.tally.classes[partition],
            "reasons": dg.MetadataValue.md(
                markdown(sorted(planned.tally.reasons[partition].items()), ["reason", "documents"])
            ),
        }
        if part is not None:
            result[partition]["preview"] = dg.MetadataValue.md(preview_changes(next(ledger.rows(part)).head(10)))
    return result


def _plan_first(environment: Environment, partitions: list[str] | None, run_id: str) -> None:
    web = open_web(environment)
    keys = partitions if partitions is not None else web.source.standing()["partition"].to_list()
    with collection_lock(LOCK, keys, "plan web"):
        planned = web.plan_now(LOOP.ledger(environment), web.selection(keys), repair_rows, run_id, visited=keys)
    environment.report(run_id, "plan", plan_summary(model.SLICE, planned))


LOOP = Loop(model.SLICE, LOCK, open_store, _plan_first, source)


@_asset("sessions", {"mongodb"}, model.SESSION_COLUMNS, deps=[key("session_changes")])
def sessions(context: dg.AssetExecutionContext, config: ApplyConfig) -> None:
    """The repaired collection: applies the newest plan that is not applied yet, to documents still as planned."""
    step = Step(context, key("sessions"))
    report = apply_loop(LOOP, step.environment, step.wanted(), config, step.run_id, context.log)
    step.finish({partition: outcome_metadata(report, partition) for partition in report.outcomes}, report.failed)


@_asset("user_activity", {"polars", "parquet"}, ACTIVITY, deps=[key("session_facts")])
def web_user_activity(context: dg.AssetExecutionContext) -> None:
    """Sessions, events, pages and time per user and day: Parquet that Spark, DuckDB and Polars read."""
    step = Step(context, key("user_activity"))
    web = open_web(step.environment)
    metadata: dict[str, dict[str, Any]] = {}
    failures: dict[str, str] = {}
    for partition in step.wanted():
        try:
            frame = user_activity(web.stored.frames(partition), partition)
            name = f"web/user_activity/day={partition}/part-0.parquet"
            step.environment.storage.write_parquet(name, frame)
            path = str(step.environment.storage.path(name))
            metadata[partition] = {"documents": frame.height, "path": dg.MetadataValue.path(path)}
        except Exception as error:
            failures[partition] = f"{type(error).__name__}: {error}"
    step.finish(metadata, failures)
    raise_for(failures, "web/user_activity")


ASSETS = [EVENTS, session_facts, session_changes, sessions, web_user_activity]
