"""The sample has each kind of defect, and exactly what was planted is found: the demo and the documentation rely on it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from pymongo import MongoClient

from session_assets.contest.model import REASONS
from session_assets.embedded.contest_sample import plant
from session_assets_tests.contest.scenario import Slice

NOT_PLANTED = {"too_large", "unknown_contest"}
"""One needs 16 MiB, the other a second contest."""


@pytest.fixture
def slice_(mongo_uri: str, tmp_path: Path) -> Iterator[Slice]:
    with MongoClient[dict[str, Any]](mongo_uri, tz_aware=True) as client:
        yield Slice.of(client.get_default_database(), tmp_path)


@pytest.mark.parametrize("seed", [1, 2])
def test_what_was_planted_is_found_and_left_after_a_repair(slice_: Slice, seed: int) -> None:
    planted = plant(slice_.database, now=datetime(2026, 5, 1, tzinfo=UTC), seed=seed)
    assert {reason.name for reason in REASONS} - planted.ids.keys() == NOT_PLANTED
    planned = slice_.plan()
    assert found(planned.lists) == planted.ids
    assert slice_.apply(planned.plan).totals().counts["applied"] == planted.repairable
    again = slice_.plan()
    assert again.plan.rows == 0
    left = found(again.lists)
    assert left == {reason: planted.ids[reason] for reason in left}


def found(lists: dict[str, str]) -> dict[str, list[str]]:
    return {reason: sorted(pl.read_parquet(Path(path) / "*.parquet")["id"]) for reason, path in sorted(lists.items())}
