"""A server on a Kintell database of its own, and on a Dagster database."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from session_assets_tests.api.server import Api, started
from session_assets_tests.kintell.scenario import Kintell
from session_assets_tests.web.acceptance.conftest import (  # noqa: F401 - fixtures
    Open,
    dagster_template,
    dagster_url,
    nothing_left,
    open_terminal,
)
from session_assets_tests.web.acceptance.terminal import Terminal


@pytest.fixture
def kintell(postgres_url: str) -> Kintell:
    """What the database says; it holds participant0…9 and volunteer0…4 already."""
    return Kintell.new(postgres_url)


@pytest.fixture
def cli(open_terminal: Open, postgres_url: str) -> Terminal:  # noqa: F811
    return open_terminal(None, KINTELL_DATABASE_URL=postgres_url)


@pytest.fixture
def api(cli: Terminal, kintell: Kintell) -> Iterator[Api]:
    with started(cli) as running:
        yield running
