"""Automatic repair: a verify that fails is followed by plan, apply and verify, once, within the share that is allowed."""

from __future__ import annotations

from typing import Any

import dagster as dg
import psycopg
import pytest
from pymongo.database import Database

from session_assets.definitions import defs
from session_assets_tests.alerts.conftest import Location, Told
from session_assets_tests.alerts.receivers import Webhook
from session_assets_tests.web.acceptance.documents import add_duplicates, add_orphans, fill, recounted, wrong_sessions

Web = Database[dict[str, Any]]
REPAIR = "SESSION_ASSETS_REPAIR_WEB"


class Repairs:
    """The repair sensor with its cursor; it executes what the sensor asks for, as the daemon does: each run key once."""

    def __init__(self, location: Location) -> None:
        self._location = location
        self._cursor: str | None = None
        self._keys: set[str | None] = set()

    def asked(self) -> list[dg.RunRequest]:
        found = self._location.sensor("web_repair_sensor", self._cursor)
        self._cursor = found.cursor or self._cursor
        requests = list(found.run_requests or [])
        assert self._keys.isdisjoint(one.run_key for one in requests)
        self._keys.update(one.run_key for one in requests)
        return requests

    def tick(self) -> list[tuple[str, bool]]:
        return [(str(one.job_name), self._location.run(str(one.job_name), one.tags)) for one in self.asked()]


@pytest.fixture
def repairs(location: Location) -> Repairs:
    return Repairs(location)


def test_nothing_is_repaired_unless_it_is_allowed(location: Location, web: Web, repairs: Repairs) -> None:
    fill(web, sessions=8)
    assert location.tick("web_daily_verify") == [True]
    before = wrong_sessions(web)
    assert repairs.tick() == [] and before
    assert wrong_sessions(web) == before


def test_a_failing_verify_is_repaired_once_and_verified(
    location: Location,
    web: Web,
    repairs: Repairs,
    receiver: Webhook,
    checks: Told,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(REPAIR, "automatic")
    wiped = fill(web, sessions=12)
    add_duplicates(web, 2)
    add_orphans(web, 2)
    documents = web.sessions.count_documents({})
    location.tick("web_daily_verify")
    checks.tick()
    alarms = {about for _, about in receiver.take()}
    assert repairs.tick() == [("web_apply", True)]
    assert repairs.tick() == [("web_verify", True)]
    assert repairs.tick() == repairs.tick() == []
    facts = recounted(web)
    for document in web.sessions.find({"session_id": {"$in": [*wiped]}}):
        if web.sessions.count_documents({"session_id": document["session_id"]}) == 1:
            assert document["event_count"] == facts[document["session_id"]]["event_count"]
    assert web.sessions.count_documents({}) == documents  # neither folded nor deleted
    checks.tick()
    kept = "check web/sessions: one_document_per_session"  # that is for a person
    assert {about for status, about in receiver.take() if status == "recovered"} == alarms - {kept} != alarms
    location.tick("web_daily_verify")
    assert repairs.tick() == []


def test_a_repair_beyond_the_share_changes_nothing_and_is_told(
    location: Location, web: Web, repairs: Repairs, receiver: Webhook, runs: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(REPAIR, "automatic")
    monkeypatch.setenv("SESSION_ASSETS_MAX_CHANGE_SHARE", "0.1")
    fill(web, sessions=12)
    location.tick("web_daily_verify")
    before = wrong_sessions(web)
    assert repairs.tick() == [("web_apply", False)]
    assert repairs.tick() == repairs.tick() == []
    assert wrong_sessions(web) == before
    runs.tick()
    (body,) = receiver.bodies
    assert "SESSION_ASSETS_MAX_CHANGE_SHARE=0.1" in body["text"] and "--force" in body["text"]
    location.tick("web_daily_verify")  # the next day it is tried again
    assert [job for job, _ in repairs.tick()] == ["web_apply"]


def test_a_repair_that_was_killed_stands_in_the_way_for_some_hours_only(
    location: Location, web: Web, repairs: Repairs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(REPAIR, "automatic")
    fill(web, sessions=4)
    location.tick("web_daily_verify")
    (request,) = repairs.asked()
    killed = location.instance.create_run_for_job(
        defs.resolve_job_def("web_apply"), tags=dict(request.tags), status=dg.DagsterRunStatus.STARTED
    )
    assert repairs.asked() == []
    location.tick("web_daily_verify")
    assert repairs.asked() == []
    with psycopg.connect(location.database, autocommit=True) as connection:
        query = "UPDATE runs SET create_timestamp = create_timestamp - interval '7 hours' WHERE run_id = %s"
        connection.execute(query, [killed.run_id])
    assert repairs.tick() == []  # given up
    assert repairs.tick() == [("web_apply", True)] and repairs.tick() == [("web_verify", True)]
    assert not wrong_sessions(web)


@pytest.mark.parametrize("gone", ["events", "sessions", "timestamps", "one"])
def test_a_verify_without_evidence_starts_no_repair_and_is_told(
    location: Location,
    web: Web,
    repairs: Repairs,
    receiver: Webhook,
    checks: Told,
    monkeypatch: pytest.MonkeyPatch,
    gone: str,
) -> None:
    monkeypatch.setenv(REPAIR, "automatic")
    fill(web, sessions=12)
    if gone == "timestamps":
        web.events.update_many({}, {"$rename": {"timestamp": "ts"}})
    elif gone == "one":
        web.sessions.update_one({"pages": {"$ne": []}}, {"$set": {"pages": 5}})
    else:
        web[gone].rename("elsewhere")
    before = list(web.sessions.find())
    assert location.tick("web_daily_verify") == [True]
    assert repairs.tick() == []
    assert list(web.sessions.find()) == before
    checks.tick()
    assert any(status == "failing" for status, _ in receiver.take())


def test_a_mistyped_mode_repairs_nothing(location: Location, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(REPAIR, "automatically")
    found = location.sensor("web_repair_sensor", None)
    assert found.run_requests is None or found.run_requests == []
    assert f"{REPAIR} must be manual or automatic" in str(found.skip_message)


@pytest.mark.parametrize("name", ["web", "identity", "contest", "kintell", "flow", "flow_files"])
def test_every_collection_is_verified_each_day_where_it_is_configured(location: Location, web: Web, name: str) -> None:
    fill(web, sessions=2)
    schedule = defs.resolve_schedule_def(f"{name}_daily_verify")
    assert schedule.default_status == dg.DefaultScheduleStatus.RUNNING
    assert len(location.asked(schedule.name)) == (1 if name == "web" else 0)
