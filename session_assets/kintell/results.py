"""What comes of an import beside its sessions: rejected rows, missing users, events, and the summary by day."""

import dagster as dg
import polars as pl

from session_assets.errors import NotConfigured
from session_assets.graph.automation import DAILY
from session_assets.graph.environment import Environment
from session_assets.graph.markdown import md
from session_assets.graph.tables import column_schema
from session_assets.kintell import model
from session_assets.kintell.assets import FILES, OWNERS, key, open_imports, require_job, sessions
from session_assets.kintell.imports import Imports
from session_assets.kintell.preview import plot_days, preview_days, preview_reasons, preview_rejects, preview_users
from session_assets.stores.kintell_outbox import lag, publish_events
from session_assets.stores.kintell_owner import foreign_events
from session_assets.stores.kintell_recount import DAYS, days
from session_assets.stores.kintell_rejects import reason_counts, rejects

_EVENTS = pl.Schema(
    {
        "subject": pl.String,
        "message_id": pl.String,
        "type": pl.String,
        "data": pl.Struct({"sessionId": pl.String, "externalSessionId": pl.String}),
        "metadata": pl.Struct(
            {"id": pl.String, "version": pl.String, "timestamp": pl.String, "correlationId": pl.String}
        ),
    }
)


class UsersConfig(dg.Config):
    """Whether users that are missing are created, with their role and e-mail alone."""

    create: bool = False


@dg.asset(
    key=key("rejected_rows"),
    deps=[sessions],
    partitions_def=FILES,
    group_name=model.SLICE,
    owners=OWNERS,
    kinds={"csv", "postgresql"},
    metadata={"dagster/column_schema": column_schema(model.REJECTED)},
)
def rejected_rows(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
    """Rows of a file that were not imported, with every reason; the error file to correct and to import again."""
    environment = Environment.load()
    imports = open_imports(environment)
    job = require_job(imports, context.partition_key)
    counts = reason_counts(imports.database, job)
    path = imports.write_errors(job)
    environment.report(context.run_id, "rejects", {"reasons": counts, "error_file": path})
    first = next(rejects(imports.database, job, page=20), pl.DataFrame(schema=model.REJECTED))
    return dg.MaterializeResult(
        metadata={
            "dagster/row_count": job.failed_rows,
            "job": job.id,
            "reasons": md(preview_reasons(counts)),
            "preview": md(preview_rejects(first)),
            **({"error_file": dg.MetadataValue.path(path)} if path else {}),
        }
    )


@dg.asset(
    key=key("missing_users"),
    deps=[sessions],
    partitions_def=FILES,
    group_name=model.SLICE,
    owners=OWNERS,
    kinds={"postgresql"},
    metadata={"dagster/column_schema": column_schema(model.MISSING_USERS)},
)
def missing_users(context: dg.AssetExecutionContext, config: UsersConfig) -> dg.MaterializeResult:
    """Who is named by a file and is no user. With `create: true` they become users; then import the error file."""
    environment = Environment.load()
    imports = open_imports(environment)
    partition = context.partition_key
    missing = imports.missing_users(partition)
    created = imports.create_users(imports.still_missing(missing)) if config.create else 0
    still = imports.still_missing(missing)
    full = environment.storage.path(f"kintell/files/{partition}/missing_users.parquet")
    environment.report(context.run_id, "users", {"missing": still["email"].n_unique(), "created": created})
    return dg.MaterializeResult(
        metadata={
            "dagster/row_count": still["email"].n_unique(),
            "missing_when_imported": missing["email"].n_unique(),
            "created": created,
            "rows_concerned": int(still["rows"].sum()),
            "preview": md(preview_users(still)),
            "full_list": dg.MetadataValue.path(str(full)),
        }
    )


@dg.asset(
    key=key("session_events"),
    deps=[sessions],
    partitions_def=FILES,
    group_name=model.SLICE,
    owners=OWNERS,
    kinds={"postgresql", "nats"},
    pool="kintell_nats",
    metadata={"dagster/column_schema": column_schema(_EVENTS)},
)
def session_events(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
    """Events of imported sessions and ratings, from the outbox to NATS JetStream, each once."""
    environment = Environment.load()
    imports = open_imports(environment)
    note = publish(imports)
    if note:
        context.log.warning(note)
    job = require_job(imports, context.partition_key)
    own, all_ = lag(imports.database, job), lag(imports.database)
    environment.report(context.run_id, "events", {"events": own.total, "published": own.published, "note": note})
    return dg.MaterializeResult(
        metadata={
            "dagster/row_count": own.total,
            "published": own.published,
            "waiting": own.waiting,
            "waiting_of_all_jobs": all_.waiting,
            "oldest_waiting": str(all_.oldest or "none"),
            **({"note": note} if note else {}),
        }
    )


@dg.asset(
    key=key("daily_summary"),
    deps=[sessions],
    group_name=model.SLICE,
    owners=OWNERS,
    kinds={"postgresql"},
    metadata={"dagster/column_schema": column_schema(DAYS)},
    freshness_policy=DAILY,
)
def daily_summary() -> dg.MaterializeResult:
    """Completed imports of the last 30 days, by day (the runbook's query C), with a plot."""
    environment = Environment.load()
    found = days(open_imports(environment).database)
    environment.storage.write_parquet("kintell/daily_summary.parquet", found)
    return dg.MaterializeResult(
        metadata={
            "dagster/row_count": found.height,
            "plot": md(plot_days(found)),
            "days": md(preview_days(found)),
            "full_list": dg.MetadataValue.path(str(environment.storage.path("kintell/daily_summary.parquet"))),
        }
    )


def publish(imports: Imports) -> str | None:
    """Publish what waits; without NATS_URL nothing is lost, it waits, and the text says so. So do events of other databases."""
    try:
        publish_events(imports.database, accepted=imports.jobs.accepted)
    except NotConfigured as error:
        return f"{error} The events wait in the outbox."
    with imports.database.connected("kintell events") as connection:
        foreign = sorted(foreign_events(connection, imports.jobs.accepted))
    if foreign:
        return (
            f"Events of {len(foreign):,} jobs, such as {foreign[0]}, were left alone: these jobs were imported into the database"
            " that this one is a copy of, and their events are published from there."
        )
    return None


ASSETS = [rejected_rows, missing_users, session_events, daily_summary]
