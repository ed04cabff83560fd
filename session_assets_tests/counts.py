"""How many examples and kills a test tries: few by default, many when SESSION_ASSETS_TEST_FULL is set."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TypeVar

from hypothesis import HealthCheck, settings

Item = TypeVar("Item")
FULL = os.environ.get("SESSION_ASSETS_TEST_FULL") == "1"


def examples(count: int) -> settings:
    """Settings of a property test that talks to a server."""
    return settings(
        max_examples=count * 10 if FULL else count,
        suppress_health_check=[
            HealthCheck.function_scoped_fixture,
            HealthCheck.too_slow,
            HealthCheck.data_too_large,
            HealthCheck.large_base_example,
        ],
    )


def times(few: int, many: int) -> int:
    """A number of repetitions."""
    return many if FULL else few


def some(every: Sequence[Item], few: int) -> list[Item]:
    """All of them in the full run, else a few that lie apart."""
    return list(every) if FULL else [every[at * len(every) // few] for at in range(few)]
