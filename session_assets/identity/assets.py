"""Canonical user ids as assets: who an e-mail is, what is wrong, the moved sessions, their summaries. Thin: see `pipeline`."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import dagster as dg
import polars as pl

from session_assets.changes.target import StoreTarget
from session_assets.graph.automation import DAILY
from session_assets.graph.check_report import Rule, Share
from session_assets.graph.collection import Collection, Texts
from session_assets.graph.environment import Environment
from session_assets.graph.tables import column_schema
from session_assets.identity import model
from session_assets.identity.answers import BY_EMAIL_FILE, BY_GUID_FILE
from session_assets.identity.canonical import CANONICAL_USERS, canonical_users
from session_assets.identity.pipeline import Identity
from session_assets.identity.preview import preview_moves
from session_assets.identity.repairs import change_rows
from session_assets.identity.summaries import BY_USER, DAYS, by_email, by_user
from session_assets.stores.cosmos import container, cosmos_target
from session_assets.stores.cosmos_changes import CosmosStore
from session_assets.stores.reachable import cosmos_db

SHARDS = dg.StaticPartitionsDefinition(list(model.SHARDS))
OWNERS = ["team:data-platform"]
STORE = cosmos_db(model.SESSIONS)


def key(name: str) -> dg.AssetKey:
    return dg.AssetKey([model.SLICE, name])


def open_identity(environment: Environment) -> Identity:
    """The identity slice on the current environment."""
    return Identity.open(environment.settings, environment.storage)


def open_store() -> CosmosStore:
    """Guarded writes to the sessions."""
    return CosmosStore(container(model.SESSIONS), model.UPDATED, model.CREATED)


def target() -> StoreTarget:
    """The sessions, as the account names them."""
    return cosmos_target(model.SESSIONS)


def spent() -> Mapping[str, float]:
    """What the requests of this process cost so far."""
    return container(model.SESSIONS).usage.as_dict()


AUTH = dg.AssetSpec(
    key("auth"),
    group_name=model.SLICE,
    owners=OWNERS,
    kinds={"cosmosdb"},
    description="Users as they registered: the source of truth. Observed, never changed by a repair.",
    metadata={"dagster/column_schema": column_schema(model.AUTH_COLUMNS)},
)

USER_SESSIONS = Collection(
    slice_=model.SLICE,
    variable=model.VARIABLE,
    partitions=SHARDS,
    open=open_identity,
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
    kinds={"cosmosdb"},
    owners=OWNERS,
    schema=model.SESSION_COLUMNS,
    collected=model.COLLECTED,
    read_from=["auth"],
    texts=Texts(
        facts="What each session's user id resolves to. The documents are read first, then auth.",
        sessions="Sessions under their GUID: applies the newest plan that is not applied yet, to documents still as planned.",
        verify="Recount all sessions and their user ids, and the audit fields of those that were changed.",
        apply="Plan and bring sessions to canonical GUIDs (session_guid_backfill.py). Verify afterwards recounts.",
    ),
    name=model.SESSIONS,
    driver="cosmosdb",
    batch_size=500,
    spent=spent,
    preview=preview_moves,
    shares=[
        Share(
            "success_rate",
            "answered",
            "asked",
            0.99,
            "sessions that stood under something else than a GUID stand under one now",
            "Look at user_ids_canonical for those that are left.",
        )
    ],
)


def _table(name: str, schema: pl.Schema, **options: Any) -> Any:
    return dg.asset(
        key=key(name),
        group_name=model.SLICE,
        owners=OWNERS,
        kinds={"polars", "parquet"},
        metadata={"dagster/column_schema": column_schema(schema)},
        pool=USER_SESSIONS.pool,
        freshness_policy=DAILY,
        **options,
    )


@_table("canonical_users", CANONICAL_USERS, deps=[AUTH.key])
def identity_canonical_users(context: dg.AssetExecutionContext) -> dg.MaterializeResult[Any]:
    """The GUID of each e-mail in auth, or why there is none: Parquet for joins elsewhere. A plan reads auth itself, anew."""
    environment = Environment.load()
    users = canonical_users(open_identity(environment).source.auth())
    path = _store(environment, f"{model.SLICE}/canonical_users.parquet", users)
    counts = users.group_by("resolution").len().sort("resolution").iter_rows()
    return dg.MaterializeResult(metadata={"dagster/row_count": users.height, "path": path, **dict(counts)})


class SummaryConfig(dg.Config):
    """How far back."""

    days: int = DAYS


@_table("session_summaries", BY_USER, deps=[key(model.SESSIONS), key("canonical_users")])
def identity_session_summaries(context: dg.AssetExecutionContext, config: SummaryConfig) -> dg.MaterializeResult[Any]:
    """Sessions, activity and duration of each user in the last 30 days, by GUID and by e-mail, recounted from the documents."""
    environment = Environment.load()
    source = open_identity(environment).source
    sessions, auth, now = source.activity(), source.auth(), datetime.now(UTC)
    users = by_user(sessions, auth, now=now, days=config.days)
    emails = by_email(users, sessions, auth)
    paths = {"by_guid": _store(environment, BY_GUID_FILE, users)}
    paths["by_email"] = _store(environment, BY_EMAIL_FILE, emails)
    counts = {
        "dagster/row_count": users.height,
        "sessions": int(users["total_sessions"].sum()),
        "emails": emails.height,
    }
    return dg.MaterializeResult(metadata={**counts, **paths})


def _store(environment: Environment, name: str, frame: pl.DataFrame) -> dg.MetadataValue:
    environment.storage.write_parquet(name, frame)
    return dg.MetadataValue.path(str(environment.storage.path(name)))


TABLES = [identity_canonical_users, identity_session_summaries]
ASSETS = [AUTH, *USER_SESSIONS.assets(), *TABLES]
