"""Performance by topic and difficulty: the same figures as plain Python, a Parquet file a month, plots in the metadata."""

from __future__ import annotations

import base64
import re
from collections import Counter
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import dagster as dg
import polars as pl
import pyarrow.dataset as ds
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pymongo import MongoClient

from session_assets.contest.model import COLLECTED
from session_assets.contest.performance import across_users, performance, schema_of, trend
from session_assets.definitions import defs
from session_assets.embedded.contest_sample import plant, seed_session
from session_assets.embedded.contest_truth import CATALOGUE
from session_assets.errors import NoEvidence
from session_assets.graph.plots import Bar, share_bars, share_lines, stacked_bars

NAMES = ["Algebra", "Geometry", "Counting & Probability"]
COUNT = st.tuples(st.sampled_from(NAMES), st.integers(1, 9), st.integers(0, 9))
SESSION = st.tuples(
    st.sampled_from(["amy", "bob"]), st.booleans(), st.lists(COUNT, max_size=3, unique_by=lambda one: one[0])
)


def facts_of(sessions: list[tuple[str, bool, list[tuple[str, int, int]]]]) -> pl.DataFrame:
    rows: list[dict[str, Any]] = [
        {
            "username": user,
            "held": ["wrong_type"] if held else [],
            "topics": [
                {"name": name, "attempted": attempted, "correct": min(correct, attempted), "accuracy": 0.0}
                for name, attempted, correct in counts
            ],
        }
        for user, held, counts in sessions
    ]
    return pl.DataFrame([{**dict.fromkeys(COLLECTED.names()), **row} for row in rows], schema=COLLECTED)


@given(st.lists(st.lists(SESSION, max_size=5), max_size=3))
def test_a_month_has_the_sums_of_its_sessions(frames: list[list[tuple[str, bool, list[tuple[str, int, int]]]]]) -> None:
    found = performance([facts_of(sessions) for sessions in frames], "2025-05-01", "topics")
    wanted: Counter[tuple[str, str, str]] = Counter()
    for user, held, counts in (session for sessions in frames for session in sessions):
        for name, attempted, correct in [] if held else counts:
            wanted.update({(user, name, "sessions"): 1, (user, name, "attempted"): attempted})
            wanted[user, name, "correct"] += min(correct, attempted)
    assert found.schema == schema_of("topics")
    assert {(row["username"], row["topic"]) for row in found.rows(named=True)} == {key[:2] for key in wanted}
    for row in found.rows(named=True):
        user, topic = row["username"], row["topic"]
        assert row["month"] == date(2025, 5, 1)
        assert all(row[name] == wanted[user, topic, name] for name in ("sessions", "attempted", "correct"))
        assert row["accuracy"] == round(100 * wanted[user, topic, "correct"] / wanted[user, topic, "attempted"], 2)


def test_a_trend_has_a_gap_where_nothing_was_attempted() -> None:
    sessions = [("amy", False, [("Algebra", 4, 1)]), ("bob", False, [("Geometry", 1, 1)])]
    may = performance([facts_of(sessions)], "2025-05-01", "topics")
    june = performance([facts_of([("amy", False, [("Algebra", 3, 2)])])], "2025-06-01", "topics")
    totals = pl.concat([across_users(may, "topics"), across_users(june, "topics")])
    assert trend(totals, "topics", 2) == (
        [date(2025, 5, 1), date(2025, 6, 1)],
        [("all topics", [40.0, 66.67]), ("Algebra", [25.0, 66.67]), ("Geometry", [100.0, None])],
    )


def test_plots_are_well_formed_whatever_things_are_called() -> None:
    name = 'x & y <b> "z" ](a) ' * 9
    plots = [
        share_bars(name, [Bar(name, 22.22, "2 of 9"), Bar("", 0, "0 of 3"), Bar("a", 100, "1 of 1")]),
        share_lines(name, [name, "b"], [(name, [1.0, None]), ("none", [None, None])]),
        share_lines(name, ["2025-05"], [("one", [50.0])]),
        stacked_bars(name, [(name, 3, 1), ("b", 0, 0)], ("imported", "rejected")),
        share_bars(name, []),
        stacked_bars(name, [], ("imported", "rejected")),
    ]
    for plot in plots:
        root = ElementTree.fromstring(svg_of(plot))
        assert root.tag.endswith("svg")
        card = root[1]
        assert card.get("fill") == "#ffffff"  # readable in dark themes, too


def test_months_are_files_that_other_engines_read_and_have_plots(
    mongo_uri: str, postgres_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with MongoClient[dict[str, Any]](mongo_uri, tz_aware=True) as client:
        plant(client.get_default_database(), now=datetime.now(UTC), sessions=100)
    monkeypatch.setenv("SESSION_ASSETS_HOME", str(tmp_path))
    monkeypatch.setenv("CONTEST_MONGO_URI", mongo_uri)
    monkeypatch.setenv("DAGSTER_POSTGRES_URL", postgres_url.replace("postgresql://", "postgresql+psycopg2://", 1))
    job = defs.resolve_job_def("contest_performance")
    months = job.partitions_def.get_partition_keys()[-6:] if job.partitions_def else []
    tags = {"dagster/asset_partition_range_start": months[0], "dagster/asset_partition_range_end": months[-1]}
    with dg.DagsterInstance.ephemeral() as instance:
        result = job.execute_in_process(instance=instance, tags=tags)
        made: dict[Any, dict[str, Any]] = {
            (event.asset_key.path[-1], event.partition): {
                name: one.value for name, one in event.materialization.metadata.items()
            }
            for event in result.get_asset_materialization_events()
            if event.asset_key
        }
    folder = tmp_path / "storage" / "contest" / "topic_performance"
    assert sorted(one.name for one in folder.iterdir()) == [f"month={month}" for month in months]
    rows = ds.dataset(folder, partitioning=None, format="parquet").to_table()
    assert rows.num_rows == sum(made["topic_performance", month]["rows"] for month in months) > 0
    assert pl.from_arrow(rows.select(["attempted"])).sum().item() > 0  # pyright: ignore[reportAttributeAccessIssue]
    newest = max(month for (asset, month), one in made.items() if asset == "topic_performance" and one["rows"])
    for asset, plot in (
        ("topic_performance", "accuracy_by_topic"),
        ("difficulty_performance", "accuracy_by_difficulty"),
    ):
        metadata = made[asset, newest]
        assert metadata["accuracy"] > 0
        for name in (plot, "trend"):
            assert "<title>Accuracy by" in svg_of(metadata[name])


def test_months_are_left_as_they_are_if_the_problems_are_gone(
    mongo_uri: str, postgres_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SESSION_ASSETS_HOME", str(tmp_path))
    monkeypatch.setenv("CONTEST_MONGO_URI", mongo_uri)
    monkeypatch.setenv("DAGSTER_POSTGRES_URL", postgres_url.replace("postgresql://", "postgresql+psycopg2://", 1))
    job = defs.resolve_job_def("contest_performance")
    file = tmp_path / "storage/contest/topic_performance/month=2025-05-01/part-0.parquet"
    with MongoClient[dict[str, Any]](mongo_uri) as client, dg.DagsterInstance.ephemeral() as instance:
        database = client.get_default_database()
        database.create_collection("users")
        database.problems.insert_many([*map(dict, CATALOGUE)])
        database.sessions.insert_one(seed_session())
        assert job.execute_in_process(instance=instance, partition_key="2025-05-01").success
        before = file.read_bytes()
        assert pl.read_parquet(file).height == 30
        database.problems.rename("problem_bank")
        with pytest.raises(NoEvidence, match=r"_performance is left as it is: .* has no problems"):
            job.execute_in_process(instance=instance, partition_key="2025-05-01")
    assert file.read_bytes() == before


def svg_of(markdown: str) -> str:
    found = re.fullmatch(r"!\[(?:\\.|[^\]\\])*\]\(data:image/svg\+xml;base64,([A-Za-z0-9+/=]+)\)", markdown)
    assert found, markdown
    return base64.b64decode(found[1]).decode()
