"""Web sessions as assets: what they should say, what is wrong, and the repair. Thin: the work is in `pipeline`."""

import os
from typing import Any

import dagster as dg

from session_assets.changes.session import raise_for
from session_assets.changes.target import StoreTarget
from session_assets.errors import StoreUnavailable
from session_assets.graph.automation import DAILY
from session_assets.graph.check_report import Rule
from session_assets.graph.collection import Collection, Texts
from session_assets.graph.environment import Environment
from session_assets.graph.step import Step
from session_assets.graph.tables import column_schema
from session_assets.settings import start_date
from session_assets.stores.mongo import database
from session_assets.stores.mongo_changes import MongoStore
from session_assets.stores.mongo_target import mongo_target
from session_assets.web import model
from session_assets.web.activity import ACTIVITY, user_activity
from session_assets.web.collected import COLLECTED
from session_assets.web.pipeline import Web
from session_assets.web.repairs import repair_rows
from session_assets.web.stored import web_shape

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
    return MongoStore(database(model.VARIABLE, model.DATABASE)[web_shape().sessions.collection], model.VARIABLE)


def target() -> StoreTarget:
    """The sessions, as the server names them."""
    return mongo_target(model.VARIABLE, model.DATABASE, web_shape().sessions.collection)


def mapping_digest() -> str:
    """Of the mapping file that is set now; empty without one."""
    return web_shape().digest


EVENTS = dg.AssetSpec(
    key("events"),
    deps=[key("event_drops")],
    group_name=model.SLICE,
    owners=OWNERS,
    kinds={"mongodb"},
    description="Events as the application wrote them: the source of truth. Observed, never changed by a repair.",
    metadata={"dagster/column_schema": column_schema(model.EVENT_COLUMNS)},
)


SESSIONS = Collection(
    slice_=model.SLICE,
    variable=model.VARIABLE,
    partitions=DAYS,
    open=open_web,
    store=open_store,
    target=target,
    rows_of=repair_rows,
    rules={
        check: [
            Rule(
                reason.name,
                reason.text,
                reason.fix in (model.Fix.REPAIR, model.Fix.FOLD),
                model.next_step(reason),
                needs_person=reason.fix is model.Fix.FOLD,
                unreadable=reason.name in model.UNREADABLE,
            )
            for reason in model.REASONS
            if reason.check == check
        ]
        for check in model.CHECKS
    },
    kinds={"mongodb"},
    owners=OWNERS,
    schema=model.SESSION_COLUMNS,
    collected=COLLECTED,
    read_from=["events"],
    mapping=mapping_digest,
    texts=Texts(
        facts="What each session should say, recomputed from all its events. The stored documents are read first.",
        sessions="The repaired collection: applies the newest plan that is not applied yet, to documents still as planned.",
        verify="Recount all sessions from their events (verify_sessions.py).",
        apply="Plan and repair (fix_empty_sessions.py). Verify afterwards recounts.",
    ),
)


@SESSIONS.asset("user_activity", {"polars", "parquet"}, ACTIVITY, deps=[key("session_facts")], freshness_policy=DAILY)
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
            metadata[partition] = {"rows": frame.height, "path": dg.MetadataValue.path(path)}
        except StoreUnavailable:  # not the fault of this partition
            raise
        except Exception as error:
            failures[partition] = f"{type(error).__name__}: {error}"
    step.finish(metadata, failures)
    raise_for(failures, "web/user_activity")


ASSETS = [EVENTS, *SESSIONS.assets(), web_user_activity]
