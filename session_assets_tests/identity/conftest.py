"""Containers of a test's own in the emulator."""

from __future__ import annotations

import pytest

from session_assets_tests.identity.scenario import Cosmos


@pytest.fixture
def stored(cosmos: dict[str, str]) -> Cosmos:
    """Empty containers; sessions are partitioned by /user_id."""
    return Cosmos.create()
