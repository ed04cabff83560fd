"""Alembic's entry. The graph hands its migration over; `alembic upgrade` alone opens one from the environment.

Every revision works in small transactions of its own, so Alembic's connection commits each statement.
"""

from __future__ import annotations

import os

from alembic import context

from session_assets.changes.owner import Accepted
from session_assets.flow.model import VERSION_TABLE
from session_assets.graph.environment import Environment
from session_assets.stores.flow_migration import Flow
from session_assets.stores.postgres_engine import engine_of

flow = context.config.attributes.get("flow") or Flow.from_env(
    os.environ, print, accepted=Accepted(Environment.load().storage)
)
context.config.attributes["flow"] = flow
with flow.holding() as work, engine_of(flow.database, "flow migrations").connect() as connection:
    context.configure(
        connection=connection.execution_options(isolation_level="AUTOCOMMIT"),
        version_table=VERSION_TABLE,
        version_table_schema=work.layout.schema,
        transactional_ddl=False,
    )
    context.run_migrations()
