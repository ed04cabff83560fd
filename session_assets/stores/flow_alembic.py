"""Driving Alembic: the history of the flow migration stands in a version table of its own."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
from sqlalchemy.exc import DBAPIError

from session_assets.flow.model import VERSION_TABLE
from session_assets.stores.flow_layout import q

if TYPE_CHECKING:
    from session_assets.stores.flow_migration import Flow
    from session_assets.stores.flow_work import Work

_MIGRATIONS = Path(__file__).parent.parent / "flow" / "migrations"


def move(flow: Flow, revision: str, *, down: bool = False) -> None:
    """Run the migrations up or down to a revision, each by the same code as the graph."""
    from alembic import command  # here: every command of the terminal would wait 0.3 s for it
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS))
    config.attributes["flow"] = flow
    try:
        (command.downgrade if down else command.upgrade)(config, revision)
    except DBAPIError as error:  # of Alembic's own connection
        raise explained(flow, error) from None


def explained(flow: Flow, error: DBAPIError) -> Exception:
    """An error of Alembic's own connection as one of ours, where it is the driver's."""
    return flow.database.explained(error.orig) if isinstance(error.orig, psycopg.Error) else error


def version(work: Work) -> str | None:
    """The revision that the database is at; None before the first."""
    found = work.one(
        "SELECT count(*) FROM pg_tables WHERE schemaname = %s AND tablename = %s", [work.layout.schema, VERSION_TABLE]
    )
    if not found:
        return None
    row = work.connection.execute(q("SELECT version_num FROM {table}", table=work.layout.own(VERSION_TABLE))).fetchone()
    return row[0] if row else None
