"""The code location in this process, as for alerts."""

from session_assets_tests.alerts.conftest import (  # noqa: F401 - fixtures
    dagster_template,
    dagster_url,
    location,
    web,
)
