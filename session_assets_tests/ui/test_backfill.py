"""A backfill launched in the UI: one run, each day with its own checks; a poisoned day fails alone and can be healed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pymongo

from session_assets_tests.ui.conftest import Ui
from session_assets_tests.ui.graphql import asset, run_backfill

CHAIN = ["web/session_facts", "web/session_changes", "web/sessions"]
DAYS = [(datetime(2025, 3, 1) + timedelta(days=number)).strftime("%Y-%m-%d") for number in range(30)]
POISONED = DAYS[11]


def test_a_poisoned_day_fails_alone_and_is_healed_by_running_it_again(ui: Ui) -> None:
    _plant_wiped_sessions(ui.environment["WEB_MONGO_URI"])
    (ui.home / "failpoints").write_text(f"web.facts.{POISONED}=raise")

    backfill = run_backfill(ui, CHAIN, DAYS)

    assert [run["status"] for run in backfill["runs"]] == ["FAILURE"]  # one run for thirty days
    for name in CHAIN:
        found = asset(ui, name)
        assert (found["numMaterialized"], found["numFailed"]) == (29, 1), name
        assert found["status"]["FAILED"] == [(POISONED, POISONED)]
    checks = asset(ui, "web/sessions")["checks"]
    assert checks["pages_present"]["SUCCEEDED"] == [(DAYS[0], DAYS[10]), (DAYS[12], DAYS[29])]
    assert checks["partitions_finished"]["FAILED"] == [(POISONED, POISONED)]
    assert _wiped(ui) == {POISONED}

    (ui.home / "failpoints").write_text("")
    again = run_backfill(ui, CHAIN, [POISONED])

    assert [run["status"] for run in again["runs"]] == ["SUCCESS"]
    for name in CHAIN:
        assert asset(ui, name)["numFailed"] == 0
    checks = asset(ui, "web/sessions")["checks"]
    assert checks["pages_present"] == {"SUCCEEDED": [(DAYS[0], DAYS[29])]}
    assert checks["partitions_finished"] == {"SUCCEEDED": [(DAYS[0], DAYS[29])]}
    assert _wiped(ui) == set()


def _plant_wiped_sessions(uri: str) -> None:
    """Ten sessions a day with two events each, all without pages and count."""
    with pymongo.MongoClient(uri) as client:
        database = client.get_default_database()
        for day in DAYS:
            start = datetime.fromisoformat(day).replace(tzinfo=UTC, hour=9)
            for number in range(10):
                session = f"{day}-{number}"
                database.events.insert_many(
                    {"session_id": session, "timestamp": start + timedelta(minutes=minute), "page": f"/{minute}"}
                    for minute in range(2)
                )
                database.sessions.insert_one(
                    {"session_id": session, "event_count": 0, "pages": [], "first_event_at": start}
                )


def _wiped(ui: Ui) -> set[str]:
    with pymongo.MongoClient(ui.environment["WEB_MONGO_URI"]) as client:
        found = client.get_default_database().sessions.find({"pages": []}, {"session_id": 1})
        return {session["session_id"].rsplit("-", 1)[0] for session in found}
