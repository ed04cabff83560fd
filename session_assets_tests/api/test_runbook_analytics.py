"""The verification of the GUID runbook (seed S1) with its own commands, and what a contest user is told."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pymongo
import pytest

from session_assets.definitions import defs
from session_assets.embedded.contest_sample import seed_session
from session_assets.embedded.contest_truth import CATALOGUE
from session_assets_tests.api.server import HAS_CURL, Api, started
from session_assets_tests.identity.scenario import EMAIL, GUID, Cosmos, session, user
from session_assets_tests.web.acceptance.conftest import Open
from session_assets_tests.web.acceptance.terminal import Terminal

DEBUG = """curl -H "Authorization: Bearer <token>" \\
     "https://your-app.azurewebsites.net/api/analytics/debug/sessions"
"""
SUMMARY = """curl -H "Authorization: Bearer <token>" \\
     "https://your-app.azurewebsites.net/api/analytics/users/$WHO/session-summary"
"""


@pytest.fixture
def cli(open_terminal: Open, mongo_uri: str, cosmos: dict[str, str]) -> Terminal:
    return open_terminal(None, CONTEST_MONGO_URI=mongo_uri, **cosmos)


@pytest.fixture
def api(cli: Terminal) -> Iterator[Api]:
    with started(cli) as running:
        yield running


@pytest.fixture
def stored(cosmos: dict[str, str]) -> Cosmos:
    created = Cosmos.create()
    now = datetime.now(UTC)
    times = {
        "created_at": (now - timedelta(hours=30)).isoformat(),
        "last_activity": (now - timedelta(hours=29)).isoformat(),
    }
    documents = [session(EMAIL if n < 7 else GUID, n, **times) for n in range(10)]
    documents += [session(GUID, 20), {"id": "audit-1", "type": "audit", "user_id": EMAIL}]
    created.fill(documents, [user(EMAIL.lower())])
    return created


@pytest.mark.skipif(not HAS_CURL, reason="the runbook needs bash, curl, jq and awk on the PATH")
def test_verification_after_the_backfill(stored: Cosmos, cli: Terminal, tmp_path: Path) -> None:
    figures = {
        "total_sessions": 10,
        "active_sessions": 10,
        "total_activity_events": 30,
        "total_requests": 20,
        "average_session_duration": 60.0,
    }
    with started(cli) as api:  # the one thing that the original could not do is right before the backfill already
        before = json.loads(api.runbook(DEBUG, tmp_path))
        assert {one["user_id"] for one in before["sample_sessions"]} <= {"M***@example.com", GUID}
        assert EMAIL not in json.dumps(before)
        assert cli("apply", "identity", "--json").body["outcomes"]["applied"] == 7
        seen = json.loads(api.runbook(DEBUG, tmp_path))
        sample = seen.pop("sample_sessions")
        assert seen == {
            "has_sessions_container": True,
            "container_available": True,
            "total_sessions": 11,
            "container_info": {"id": "user_sessions", "partition_key": ["/user_id"]},
            "any_documents": True,
            "total_documents": 12,
        }
        assert len(sample) == 5 and {one["user_id"] for one in sample} == {GUID}
        assert all(set(one) == {"id", "user_id", "created_at", "status"} for one in sample)
        for who in (GUID, GUID.upper(), EMAIL, EMAIL.lower()):
            found = json.loads(api.runbook(SUMMARY, tmp_path, WHO=who))
            assert (found["user_id"], found["period_days"], found["summary"]) == (who, 30, figures)
            assert datetime.fromisoformat(found["query_timestamp"]).utcoffset() == timedelta(0)
        today = api.get(f"/api/analytics/users/{EMAIL}/session-summary", params={"days": 1}).json()
        assert (today["period_days"], today["summary"]["total_sessions"]) == (1, 0)
        nobody = api.get("/api/analytics/users/nobody@example.com/session-summary").json()
        assert nobody["summary"]["total_sessions"] == 0


def test_without_containers_nothing_is_there(api: Api) -> None:
    found = api.get("/api/analytics/debug/sessions").json()
    assert (found["has_sessions_container"], found["total_documents"], found["sample_sessions"]) == (False, 0, [])


def test_performance_of_a_user_is_that_of_the_runbook(
    api: Api, cli: Terminal, mongo_uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = "/api/analytics/users/goAmy"
    early = api.get(f"{url}/topic-performance")
    assert (early.status_code, "job contest_performance" in early.json()["detail"]) == (422, True)
    with pymongo.MongoClient[dict[str, Any]](mongo_uri) as client:
        client.get_default_database().sessions.insert_one(dict(seed_session()))
        client.get_default_database().problems.insert_many([*map(dict, CATALOGUE)])
        client.get_default_database().create_collection("users")
    for name in ("SESSION_ASSETS_HOME", "CONTEST_MONGO_URI", "DAGSTER_POSTGRES_URL"):
        monkeypatch.setenv(name, cli.variables[name])
    with dg.DagsterInstance.ephemeral() as instance:
        defs.resolve_job_def("contest_performance").execute_in_process(instance=instance, partition_key="2025-05-01")
    topics = {one["topic"]: one for one in api.get(f"{url}/topic-performance").json()["topics"]}
    assert len(topics) == 30
    published = {"Algebra": (9, 2, 22.22), "Geometry": (8, 1, 12.5), "Number Theory": (3, 0, 0.0)}
    for name, figures in published.items():
        assert (topics[name]["attempted"], topics[name]["correct"], topics[name]["accuracy"]) == figures
    levels = api.get(f"{url}/difficulty-performance").json()
    counts = {one["difficulty"]: (one["attempted"], one["correct"]) for one in levels["difficulties"]}
    assert counts == {"easy": (10, 2), "medium": (10, 1), "hard": (5, 0)}
    assert api.get(f"{url}/topic-performance", params={"since": "2100-01-01"}).json()["topics"] == []
    assert api.get("/api/analytics/users/nobody/topic-performance").json()["topics"] == []
