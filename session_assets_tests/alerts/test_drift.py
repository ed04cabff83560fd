"""A drift of 1 % of web sessions is told within one tick of the daily verify, once, and its recovery after the apply."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from pymongo.database import Database

from session_assets.graph.collection_jobs import partitions_request
from session_assets.web.assets import SESSIONS
from session_assets_tests.alerts.conftest import Location, Told
from session_assets_tests.alerts.receivers import Webhook, free_port, mail_server
from session_assets_tests.web.acceptance.documents import DAYS, fill, wipe

Web = Database[dict[str, Any]]
EMPTY, ZERO = "check web/sessions: pages_present", "check web/sessions: event_count_present"


def test_drift_is_told_once_and_so_is_its_recovery(
    location: Location, web: Web, receiver: Webhook, checks: Told, runs: Told
) -> None:
    fill(web, sessions=200, wrong=None)
    assert location.tick("web_daily_verify") == [True]
    checks.tick()
    assert receiver.take() == []

    wiped = fill_again(web)
    assert len(wiped) == 2  # 1 %
    assert location.tick("web_daily_verify") == [True]
    checks.tick()
    alarms = [*receiver.bodies]
    assert {status for status, _ in receiver.take()} == {"failing"}
    assert len({one["about"] for one in alarms}) == len(alarms) > 0
    text = "\n".join(one["text"] for one in alarms)
    for wanted in (
        "web/sessions",
        "2 of 201",
        "session-assets plan web",
        "https://dagster.example.com/assets/web/sessions?view=checks",
    ):
        assert wanted in text, text

    for _ in range(3):
        checks.tick()
    assert location.tick("web_daily_verify") == [True]
    checks.tick()
    assert receiver.take() == []

    assert location.run("web_apply", tags_of(location))
    checks.tick()
    assert receiver.take() == []  # an apply is not believed: a recount tells
    assert location.tick("web_daily_verify") == [True]
    checks.tick()
    assert sorted(receiver.take()) == sorted(("recovered", one["about"]) for one in alarms)
    checks.tick()
    runs.tick()
    assert receiver.take() == []


def test_a_receiver_that_is_away_gets_everything_later_once(
    location: Location, web: Web, receiver: Webhook, checks: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = free_port()
    monkeypatch.setenv("SESSION_ASSETS_ALERT_SMTP_URL", f"smtp://127.0.0.1:{port}")
    monkeypatch.setenv("SESSION_ASSETS_ALERT_EMAIL_TO", "ops@example.com, mary@example.com")
    fill(web, sessions=20, wrong=10)
    location.tick("web_daily_verify")
    receiver.status = 307  # not followed: the URL is a secret
    told = checks.tick()
    assert "answers 307" in told and "ConnectionRefusedError" in told
    assert "secret-canary" not in told + str(checks.cursor) and "mary@" not in told + str(checks.cursor)
    with mail_server(port) as (mailbox, _):
        checks.tick()
        assert receiver.take() == []
        subjects = [str(one["Subject"]) for one in mailbox.mails]
        assert subjects and all("web: " in one and " fails, 2 findings" in one for one in subjects)
        assert mailbox.to[0] == ["ops@example.com", "mary@example.com"]
        receiver.status = 200
        checks.tick()
        assert len(receiver.take()) == len(subjects)
        assert location.run("web_apply", tags_of(location))
        location.tick("web_daily_verify")
        checks.tick()
        checks.tick()
        assert len(mailbox.mails) == 2 * len(subjects) == 2 * len(receiver.take())
        assert len({one["Message-ID"] for one in mailbox.mails}) == len(mailbox.mails)


def test_a_partition_that_is_well_does_not_speak_for_the_others(
    location: Location, web: Web, receiver: Webhook, checks: Told
) -> None:
    fill(web, sessions=20, wrong=2)
    location.tick("web_daily_verify")
    checks.tick()
    alarms = receiver.take()
    day = partitions_request(SESSIONS, [DAYS[0].date().isoformat()]).tags
    assert location.run("web_apply", day) and location.run("web_verify", day)
    checks.tick()
    assert receiver.take() == [] and len(alarms) > 0  # the other days are as they were
    rest = partitions_request(SESSIONS, [one.date().isoformat() for one in DAYS[1:]]).tags
    assert location.run("web_apply", rest) and location.run("web_verify", rest)
    checks.tick()
    assert sorted(receiver.take()) == sorted(("recovered", about) for _, about in alarms)


def test_a_failed_run_is_told_until_the_same_work_goes_through(
    location: Location, web: Web, receiver: Webhook, runs: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(web, sessions=4, wrong=None)
    monkeypatch.setenv("SESSION_ASSETS_FAILPOINTS", "web.before_record=raise")
    assert not location.run("web_plan", tags_of(location))
    runs.tick()
    (body,) = receiver.bodies
    assert (body["status"], body["about"]) == ("failing", "run web_plan")
    for wanted in ("slice web", "failpoint web.before_record", "Next step", "https://dagster.example.com/runs/"):
        assert wanted in body["text"], body
    receiver.take()
    assert not location.run("web_plan", tags_of(location))
    runs.tick()
    assert receiver.take() == []
    monkeypatch.delenv("SESSION_ASSETS_FAILPOINTS")
    assert location.run("web_plan", tags_of(location))
    runs.tick()
    runs.tick()
    assert receiver.take() == [("recovered", "run web_plan")]


def test_nobody_is_told_where_nothing_is_set(location: Location, checks: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "SESSION_ASSETS_ALERT_WEBHOOK_URL" in checks.tick()
    monkeypatch.setenv("SESSION_ASSETS_ALERT_WEBHOOK_URL", "ftp://secret-canary")
    told = checks.tick()
    assert "SESSION_ASSETS_ALERT_WEBHOOK_URL must be a URL" in told and "secret-canary" not in told


def test_a_verify_of_another_database_is_none_of_this_one(
    location: Location, web: Web, mongo_uri: str, receiver: Webhook, checks: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The variable leads elsewhere, and nobody has verified since: the sensor went on with what it had seen before."""
    fill(web, sessions=4, wrong=None)
    assert location.tick("web_daily_verify") == [True]
    checks.tick()
    monkeypatch.setenv("WEB_MONGO_URI", mongo_uri.replace("/test_", "/other_"))
    checks.tick()
    noticed(checks, hours_ago=27)
    checks.tick()
    assert "web was never verified" in receiver.bodies[-1]["text"]


def test_a_collection_that_nobody_verifies_is_told_once_until_the_next_verify(
    location: Location, web: Web, receiver: Webhook, checks: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(web, sessions=4, wrong=None)
    checks.tick()
    assert receiver.take() == []  # never verified, but seen for the first time
    noticed(checks, hours_ago=27)
    checks.tick()
    assert "web was never verified" in receiver.bodies[0]["text"]
    assert receiver.take() == [("failing", "verify web")]
    assert location.tick("web_daily_verify") == [True]
    checks.tick()
    assert receiver.take() == [("recovered", "verify web")]

    age_verifies(location, hours=27)
    checks.cursor = None  # it holds the time of the last verify
    day = partitions_request(SESSIONS, [DAYS[0].date().isoformat()]).tags
    assert location.run("web_verify", day)  # of one day: says nothing of the others
    checks.tick()
    text = receiver.bodies[0]["text"]
    for wanted in (
        "26 hours",
        "SESSION_ASSETS_VERIFIED_WITHIN_HOURS",
        "web_daily_verify",
        "https://dagster.example.com/automation",
    ):
        assert wanted in text, text
    checks.tick()
    assert receiver.take() == [("failing", "verify web")]  # and nothing of slices that are not configured
    assert location.tick("web_daily_verify") == [True]
    checks.tick()
    checks.tick()
    assert receiver.take() == [("recovered", "verify web")]

    monkeypatch.setenv("SESSION_ASSETS_VERIFIED_WITHIN_HOURS", "0")
    monkeypatch.delenv("WEB_MONGO_URI")
    checks.tick()
    assert receiver.take() == []


def noticed(checks: Told, hours_ago: float) -> None:
    """Let the sensor have seen the collections for some time."""
    kept = json.loads(checks.cursor or "")
    kept["more"]["noticed"]["web"] = (datetime.now(UTC) - timedelta(hours=hours_ago)).isoformat()
    checks.cursor = json.dumps(kept)


def age_verifies(location: Location, hours: float) -> None:
    """Let all that was checked so far have been checked some hours earlier."""
    with psycopg.connect(location.database, autocommit=True) as connection:
        rows = connection.execute("SELECT id, evaluation_event FROM asset_check_executions").fetchall()
        for key, event in rows:
            told = json.loads(event)
            told["timestamp"] -= hours * 3600
            connection.execute(
                "UPDATE asset_check_executions SET evaluation_event = %s WHERE id = %s", [json.dumps(told), key]
            )
        assert rows


def fill_again(web: Web) -> set[str]:
    some = [one["session_id"] for one in web.sessions.find({"session_id": {"$exists": True}}).limit(2)]
    wipe(web, some)
    return set(some)


def tags_of(location: Location) -> Any:
    """Tags of a run over all days that hold documents."""
    (request,) = location.asked("web_daily_verify")
    return request.tags


def test_nothing_personal_or_secret_is_told(
    location: Location, receiver: Webhook, runs: Told, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KINTELL_DATABASE_URL", "postgresql://mary.canary@example.com:hunter2-canary@127.0.0.1:1/k")
    file = tmp_path / "from-mary.canary@example.com.csv"
    config = {"ops": {"validate_files": {"config": {"paths": [str(file)]}}}}
    assert not location.run("kintell_dry_run", config=config)
    runs.tick()
    (body,) = receiver.bodies
    assert (body["about"], "slice kintell" in body["text"]) == ("run kintell_dry_run", True)
    assert "canary" not in receiver.raw[0] + str(runs.cursor)
