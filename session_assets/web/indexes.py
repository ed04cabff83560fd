"""Indexes as an explicit step: nothing else in this project builds one on collections that hold data."""

import dagster as dg

from session_assets.graph.environment import Environment
from session_assets.graph.partition_checks import keep_connections
from session_assets.stores.mongo import database
from session_assets.stores.mongo_indexes import create_event_indexes, create_unique_session_index
from session_assets.web import model
from session_assets.web.stored import web_shape


class IndexConfig(dg.Config):
    """`unique` closes the door to duplicates; it refuses while there are any."""

    unique: bool = False


@dg.op
def create_web_indexes(context: dg.OpExecutionContext, config: IndexConfig) -> None:
    """Create the look-up indexes, or the unique one."""
    keep_connections(context.instance)
    db, shape = database(model.VARIABLE, model.DATABASE), web_shape()
    create = create_unique_session_index if config.unique else create_event_indexes
    names = create(db, shape=shape)
    Environment.load().report(context.run_id, "index", {"indexes": names})
    context.log.info(f"indexes: {', '.join(names)}")


@dg.job(
    name="web_indexes",
    executor_def=dg.in_process_executor,
    description="Create indexes for look-ups by session, or the unique index that stops duplicates.",
)
def web_indexes() -> None:
    create_web_indexes()
