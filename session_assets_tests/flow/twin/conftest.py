"""A terminal that tries the road on a twin, on a sample database."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest

from session_assets_tests.conftest import with_database
from session_assets_tests.flow.acceptance.conftest import (  # noqa: F401 - fixtures
    Open,
    dagster_template,
    dagster_url,
    nothing_left,
    open_terminal,
    stored,
)
from session_assets_tests.flow.scenario import Guide
from session_assets_tests.web.acceptance.terminal import Terminal


@pytest.fixture
def cli(open_terminal: Open, stored: Guide) -> Terminal:  # noqa: F811 - fixtures
    return open_terminal(None, FLOW_DATABASE_URL=stored.url, FLOW_BATCH_ROWS="60", FLOW_WAIVE_TWIN="")


@pytest.fixture
def server(postgres_server: str) -> Iterator[psycopg.Connection]:
    """A connection beside the database that is migrated."""
    with psycopg.connect(with_database(postgres_server, "postgres"), autocommit=True) as connection:
        yield connection
