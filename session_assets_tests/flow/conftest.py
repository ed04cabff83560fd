"""A small database of the guide's schema for each test."""

from __future__ import annotations

import pytest

from session_assets_tests.flow.scenario import Guide


@pytest.fixture
def guide(postgres_url: str) -> Guide:
    return Guide.new(postgres_url)
