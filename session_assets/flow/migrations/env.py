"""Alembic's entry. The graph hands its migration over; `alembic upgrade` alone opens one from the environment.

Every revision works in small transactions of its own, so Alembic's connection commits each statement. Alone, what a person can
mend ends the program with our message and exit code, as in our own terminal.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from alembic import context
from sqlalchemy.exc import DBAPIError

from session_assets.changes.owner import Accepted
from session_assets.errors import SessionAssetsError
from session_assets.flow.model import VERSION_TABLE
from session_assets.flow.twin_record import DEPLOYED, Waiver
from session_assets.graph.environment import Environment
from session_assets.masking import safe_lines
from session_assets.stores.flow_alembic import explained
from session_assets.stores.flow_migration import Flow
from session_assets.stores.postgres_engine import engine_of


def migrate(flow: Flow) -> None:
    context.config.attributes["flow"] = flow
    with flow.holding() as work, engine_of(flow.database, "flow migrations").connect() as connection:
        context.configure(
            connection=connection.execution_options(isolation_level="AUTOCOMMIT"),
            version_table=VERSION_TABLE,
            version_table_schema=work.layout.schema,
            transactional_ddl=False,
        )
        context.run_migrations()


@contextmanager
def ending_the_program() -> Iterator[None]:
    try:
        yield
    except SessionAssetsError as error:
        sys.stderr.write(f"error: {safe_lines(error)}\n")
        sys.exit(error.exit_code)


def migrate_alone() -> None:
    with ending_the_program():
        environment = Environment.load()
        flow = Flow.from_env(os.environ, print, accepted=Accepted(environment.storage))
        Waiver(deployed=os.environ.get(DEPLOYED)).give(environment, flow)
        try:
            migrate(flow)
        except DBAPIError as error:
            raise explained(flow, error) from None


given = context.config.attributes.get("flow")
if given is None:
    migrate_alone()
else:
    migrate(given)
