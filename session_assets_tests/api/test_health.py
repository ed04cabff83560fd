"""Health as monitors ask for it: what does not answer, what fails, and what was not verified lately."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pymongo
import pytest
from pymongo.database import Database

from session_assets_tests.api.server import Api, started
from session_assets_tests.web.acceptance.conftest import Open
from session_assets_tests.web.acceptance.documents import fill
from session_assets_tests.web.acceptance.terminal import Terminal

SESSIONS = "/api/health/sessions"


@pytest.fixture
def cli(open_terminal: Open, mongo_uri: str) -> Terminal:
    return open_terminal(mongo_uri)


@pytest.fixture
def web(mongo_uri: str) -> Iterator[Database[dict[str, Any]]]:
    with pymongo.MongoClient[dict[str, Any]](mongo_uri, tz_aware=True) as client:
        yield client.get_default_database()


def told(api: Api, status: int) -> dict[str, Any]:
    response = api.get(SESSIONS)
    assert response.status_code == status, response.text
    (found,) = response.json()["collections"]
    return found


def test_a_collection_is_as_its_last_verify_found_it(cli: Terminal, web: Database[dict[str, Any]]) -> None:
    fill(web, sessions=20, wrong=10)
    with started(cli) as api:
        assert told(api, 503)["status"] == "never verified"
        assert cli("verify", "web").code == 1
        found = told(api, 503)
        assert (found["collection"], found["status"], found["fresh"]) == ("web", "failing", True)
        failing = {one["check"]: one for one in found["failing_checks"]}
        wrong = failing["web/sessions: pages_present"]
        assert (wrong["severity"], wrong["count"]) == ("ERROR", 2)
        assert "session-assets plan web" in wrong["description"]
        assert cli("apply", "web").code == 0
        assert cli("verify", "web").code == 0
        found = told(api, 200)
        assert (found["status"], [one for one in found["failing_checks"] if one["severity"] == "ERROR"]) == (
            "healthy",
            [],
        )
        assert found["last_verify"] > wrong["seen"]
    with started(cli, SESSION_ASSETS_VERIFIED_WITHIN_HOURS="0") as api:
        found = told(api, 503)
        assert (found["status"], found["fresh"]) == ("stale", False)


def test_a_store_that_hangs_does_not_hang_the_server(cli: Terminal) -> None:
    with socket.create_server(("127.0.0.1", 0)) as hanging:
        place = f"127.0.0.1:{hanging.getsockname()[1]}"
        stores = {
            "WEB_MONGO_URI": f"mongodb://{place}/web",
            "AZURE_COSMOS_ENDPOINT": f"http://{place}",
            "AZURE_COSMOS_KEY": "Y2FuYXJ5",
            "COSMOS_DATABASE_NAME": "identity",
            "KINTELL_DATABASE_URL": f"postgresql://{place}/k",
        }
        with started(cli, **stores) as api, ThreadPoolExecutor() as pool:
            began = time.monotonic()
            paths = ("/health", "/api/analytics/debug/sessions", "/api/analytics/users/x/session-summary")
            answers = list(pool.map(api.get, paths))
            assert time.monotonic() - began < 15
            assert [one.status_code for one in answers] == [503] * 3, [one.text for one in answers]
            found = answers[0].json()["stores"]
            assert found["DAGSTER_POSTGRES_URL"] == "ok" and "ok" not in {
                found[name] for name in stores if name in found
            }


def test_a_store_that_is_away_is_named(cli: Terminal) -> None:
    away = "mongodb://mary:hunter2-canary@127.0.0.1:1/web?serverSelectionTimeoutMS=200"
    with started(cli, WEB_MONGO_URI=away) as api:
        response = api.get("/health")
        assert (response.status_code, response.json()["status"]) == (503, "unavailable")
        stores = response.json()["stores"]
        assert stores["DAGSTER_POSTGRES_URL"] == "ok"
        assert "Connection refused" in stores["WEB_MONGO_URI"]
        assert "canary" not in response.text + api.log
