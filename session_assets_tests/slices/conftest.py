"""Terminals and stores of all slices, for what must hold in each of them."""

from session_assets_tests.web.acceptance.conftest import (  # noqa: F401 - fixtures
    dagster_template,
    dagster_url,
    nothing_left,
    open_terminal,
)
