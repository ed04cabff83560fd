"""Contest sessions as assets: what their attempts amount to, what is wrong, and the repair. Thin: the work is in `pipeline`."""

import os

import dagster as dg
import polars as pl

from session_assets.changes.target import StoreTarget
from session_assets.contest import model
from session_assets.contest.pipeline import Contest, change_rows
from session_assets.graph.check_report import Rule
from session_assets.graph.collection import Collection, Texts
from session_assets.graph.environment import Environment
from session_assets.graph.tables import column_schema
from session_assets.settings import start_date
from session_assets.stores.mongo import database
from session_assets.stores.mongo_changes import MongoStore
from session_assets.stores.mongo_target import mongo_target

FIRST_MONTH = start_date(os.environ, model.START_VARIABLE).replace(day=1)
MONTHS = dg.MonthlyPartitionsDefinition(start_date=FIRST_MONTH.isoformat(), end_offset=1)
OWNERS = ["team:data-platform"]


def key(name: str) -> dg.AssetKey:
    return dg.AssetKey([model.SLICE, name])


def open_contest(environment: Environment) -> Contest:
    """The contest slice on the current environment."""
    return Contest.open(environment.settings, environment.storage, FIRST_MONTH)


def open_store() -> MongoStore:
    """Guarded writes to the sessions."""
    return MongoStore(database(model.VARIABLE, model.DATABASE)[model.SESSIONS], model.VARIABLE)


def target() -> StoreTarget:
    """The sessions, as the server names them."""
    return mongo_target(model.VARIABLE, model.DATABASE, model.SESSIONS)


def _external(name: str, description: str, schema: pl.Schema) -> dg.AssetSpec:
    return dg.AssetSpec(
        key(name),
        group_name=model.SLICE,
        owners=OWNERS,
        kinds={"mongodb"},
        description=description,
        metadata={"dagster/column_schema": column_schema(schema)},
    )


PROBLEMS = _external(
    "problems", "The problems of all contests, with answer, difficulty and topics. Read, never changed.", model.PROBLEM
)
USERS = _external("users", "Who a session's username stands for. Read, never changed.", model.USER)

SESSIONS = Collection(
    slice_=model.SLICE,
    variable=model.VARIABLE,
    partitions=MONTHS,
    open=open_contest,
    store=open_store,
    target=target,
    rows_of=change_rows,
    rules={
        check: [
            Rule(
                reason.name,
                reason.text,
                reason.fix is model.Fix.REPAIR,
                reason.next_step,
                unreadable=reason.name in model.UNREADABLE,
            )
            for reason in model.REASONS
            if reason.check == check
        ]
        for check in model.CHECKS
    },
    kinds={"mongodb"},
    owners=OWNERS,
    schema=model.DOCUMENT,
    collected=model.COLLECTED,
    read_from=["problems", "users"],
    texts=Texts(
        facts="What the attempts of each session amount to, and what its document lacks. The documents are read first.",
        sessions="The 19-field collection: applies the newest plan that is not applied yet, to documents still as planned.",
        verify="Recount all sessions from their attempts (test_migrated_session_verification.py).",
        apply="Plan and bring documents to the 19 fields (migrate_real_user_sessions.py). Verify afterwards recounts.",
    ),
)

ASSETS = [PROBLEMS, USERS, *SESSIONS.assets()]
