"""A migrated Kintell database for each test."""

from __future__ import annotations

import pytest

from session_assets_tests.kintell.scenario import Kintell


@pytest.fixture
def kintell(postgres_url: str) -> Kintell:
    return Kintell.new(postgres_url)
