"""Activity per user and day: what other engines read equals a plain count of the events."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import pyarrow.dataset as ds
import pytest
from pymongo import MongoClient

from session_assets.definitions import defs
from session_assets_tests.web.acceptance.documents import Web, fill, recounted

_NAMES = ("sessions", "events", "pages", "duration_seconds")


def counted(web: Web) -> dict[tuple[str, str | None], Counter[str]]:
    """By day of the first event, and user: the sums; a session of several users is nobody's."""
    sums: dict[tuple[str, str | None], Counter[str]] = {}
    for fact in recounted(web).values():
        user = next(iter(fact["user_id"])) if len(fact["user_id"]) == 1 else None
        seconds = (fact["last_event_at"] - fact["first_event_at"]).total_seconds()
        row = dict(zip(_NAMES, (1, fact["event_count"], len(fact["pages"]), seconds), strict=True))
        sums.setdefault((fact["first_event_at"].date().isoformat(), user), Counter()).update(row)
    return sums


def test_days_are_files_that_equal_a_count_of_the_events(
    mongo_uri: str, postgres_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SESSION_ASSETS_HOME", str(tmp_path))
    monkeypatch.setenv("WEB_MONGO_URI", mongo_uri)
    monkeypatch.setenv("DAGSTER_POSTGRES_URL", postgres_url.replace("postgresql://", "postgresql+psycopg2://", 1))
    job = defs.resolve_implicit_global_asset_job_def()
    names = [dg.AssetKey(["web", name]) for name in ("session_facts", "user_activity")]
    partitions = job.asset_layer.get(names[1]).partitions_def
    assert partitions is not None
    days = list(partitions.get_partition_keys())[-5:-1]
    with MongoClient[dict[str, Any]](mongo_uri, tz_aware=True) as client:
        web = client.get_default_database()
        fill(web, days=[datetime.fromisoformat(day).replace(tzinfo=UTC) for day in days[:3]])
        session = f"65{0:022x}"
        web.events.update_one({"_id": f"{session}-0"}, {"$set": {"user_id": "somebody else"}})
        web.events.update_many({"session_id": f"65{1:022x}"}, {"$unset": {"user_id": ""}})
        web.events.update_many({"session_id": f"65{3:022x}"}, {"$set": {"user_id": f"66{0:022x}"}})
        expected = counted(web)
    tags = {"dagster/asset_partition_range_start": days[0], "dagster/asset_partition_range_end": days[-1]}
    with dg.DagsterInstance.ephemeral() as instance:
        assert job.execute_in_process(instance=instance, asset_selection=names, tags=tags).success
    folder = tmp_path / "storage" / "web" / "user_activity"
    assert sorted(one.name for one in folder.iterdir()) == [f"day={day}" for day in days]
    rows = ds.dataset(folder, partitioning=None, format="parquet").to_table().to_pylist()
    assert {(row["day"].isoformat(), row["user_id"]): {name: row[name] for name in _NAMES} for row in rows} == expected
    assert len(rows) == len(expected) > 10
