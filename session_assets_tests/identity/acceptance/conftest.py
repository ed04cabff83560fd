"""A terminal on containers of its own and on a Dagster database."""

from __future__ import annotations

import pytest

from session_assets_tests.identity.scenario import Cosmos
from session_assets_tests.web.acceptance.conftest import (  # noqa: F401 - fixtures
    Open,
    dagster_template,
    dagster_url,
    nothing_left,
    open_terminal,
)
from session_assets_tests.web.acceptance.terminal import Terminal


@pytest.fixture
def cli(open_terminal: Open, stored: Cosmos, cosmos: dict[str, str]) -> Terminal:  # noqa: F811
    """A terminal on empty containers."""
    return open_terminal(None, **cosmos)
