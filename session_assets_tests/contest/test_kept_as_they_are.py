"""Documents that the application writes by the rules of S5 are not touched, in whatever numeric types it writes them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pymongo
import pytest
from bson import Int64

from session_assets.embedded.contest_truth import CATALOGUE, Maker, totals
from session_assets_tests.contest.scenario import Document, Slice


def as_written(document: Document) -> Document:
    return document


def with_doubles(value: Any) -> Any:
    return _mapped(value, lambda number: float(number))


def with_longs(value: Any) -> Any:
    return _mapped(value, lambda number: Int64(number) if isinstance(number, int) else number)


def with_more_decimals(document: Document) -> Document:
    """Averages as they come out of a division."""
    average = document["performance_metrics"]["average_metrics"]
    count, ms = len(document["problems_attempted"]), document["total_time_ms"]
    average |= {"average_time_per_problem_ms": ms / count, "average_time_per_problem_seconds": ms / 1000 / count}
    return document


def with_fractions(document: Document) -> Document:
    """Times with a fraction: what they add up to depends on the order."""
    attempts = document["problems_attempted"]
    for place, attempt in enumerate(attempts):
        attempt["time_spent_ms"] += (place % 9 + 1) / 10
        attempt["time_spent_seconds"] = round(attempt["time_spent_ms"] / 1000, 2)
    return document | totals(attempts[::-1]) | {"problems_attempted": attempts}


def with_more_fields(document: Document) -> Document:
    document["performance_metrics"]["streak"] = 3
    document["problems_attempted"][0]["hint"] = None
    return document | {"updated_at": "yesterday", "device": {"os": "x"}}


def _mapped(value: Any, change: Callable[[int | float], Any]) -> Any:
    if isinstance(value, dict):
        return {name: _mapped(one, change) for name, one in value.items()}
    if isinstance(value, list):
        return [_mapped(one, change) for one in value]
    return change(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


@pytest.mark.parametrize(
    "change", [as_written, with_doubles, with_longs, with_more_decimals, with_fractions, with_more_fields]
)
def test_a_conforming_document_plans_no_change(
    mongo_uri: str, tmp_path: Path, change: Callable[[Document], Document]
) -> None:
    maker = Maker(datetime(2026, 3, 1, tzinfo=UTC), 7)
    database = pymongo.MongoClient[Document](mongo_uri).get_default_database()
    database.problems.insert_many([*map(dict, CATALOGUE)])
    database.users.insert_many([{"_id": key, "username": name} for name, key in maker.users.items()])
    database.sessions.insert_many([change(maker.document()) for _ in range(100)])
    planned = Slice.of(database, tmp_path).plan()
    assert (planned.plan.rows, planned.tally.total_reasons()) == (0, {})
    assert planned.tally.total_classes()["unchanged"] == 100


@pytest.mark.parametrize(("fraction", "off", "reasons"), [
    (0, 0.01, {"metrics_mismatch": 1}), (0.1, 0.01, {}), (0.1, 0.02, {"metrics_mismatch": 1}),
])  # fmt: skip
def test_only_sums_of_fractions_may_differ_and_only_in_the_last_place(
    mongo_uri: str, tmp_path: Path, fraction: float, off: float, reasons: dict[str, int]
) -> None:
    maker = Maker(datetime(2026, 3, 1, tzinfo=UTC), 7)
    database = pymongo.MongoClient[Document](mongo_uri).get_default_database()
    database.users.insert_many([{"_id": key, "username": name} for name, key in maker.users.items()])
    attempts = maker.attempts(5)
    attempts[0] |= {"time_spent_ms": 7000 + fraction, "time_spent_seconds": 7.0}
    document = maker.document(attempts)
    document["performance_metrics"]["average_metrics"]["average_time_per_problem_ms"] += off
    database.sessions.insert_one(document)
    assert Slice.of(database, tmp_path).plan().tally.total_reasons() == reasons
