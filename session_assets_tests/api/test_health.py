"""Health as monitors ask for it: what does not answer, what fails, and what was not verified lately."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import httpx
import pymongo
import pytest
from pymongo.database import Database

from session_assets.slices import NAMES
from session_assets_tests.api.server import Api, started
from session_assets_tests.web.acceptance.conftest import Open
from session_assets_tests.web.acceptance.documents import fill
from session_assets_tests.web.acceptance.terminal import Terminal

SESSIONS = "/api/health/sessions"


@pytest.fixture
def cli(open_terminal: Open, mongo_uri: str) -> Terminal:
    return open_terminal(mongo_uri)


@pytest.fixture
def kintell_cli(open_terminal: Open, postgres_url: str) -> Terminal:
    """As of somebody who runs Kintell imports only."""
    return open_terminal(None, KINTELL_DATABASE_URL=postgres_url)


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


@pytest.mark.parametrize("wrong", [10, None])
def test_a_verify_of_another_database_says_nothing_of_this_one(
    open_terminal: Open, cli: Terminal, mongo_uri: str, web: Database[dict[str, Any]], wrong: int | None
) -> None:
    """One home, two databases: neither green nor red is said of the one that nobody looked at."""
    fill(web, sessions=20, wrong=wrong)
    assert cli("verify", "web").code == (1 if wrong else 0)
    other = mongo_uri.replace("/test_", "/other_")
    with started(open_terminal(other)) as api:
        found = told(api, 503)
        assert (found["status"], found["last_verify"], found["failing_checks"]) == ("never verified", None, [])
    with started(cli) as api:
        assert told(api, 503 if wrong else 200)["status"] == ("failing" if wrong else "healthy")


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


def test_a_live_server_says_so_to_anybody_and_asks_no_store(cli: Terminal) -> None:
    away = "postgresql://127.0.0.1:1/kintell"
    with started(cli, KINTELL_DATABASE_URL=away) as api, anonymous(api) as anybody:
        for _ in range(3):
            response = anybody.get("/livez")
            assert (response.status_code, response.json()) == (200, {"status": "ok"})
        assert anybody.get("/health").status_code == 401
        assert api.get("/health").status_code == 503
        assert anybody.get("/livez").status_code == 200


def test_a_live_server_answers_while_its_stores_hang(cli: Terminal) -> None:
    """Each call of an endpoint that waits for a store holds a thread: a probe needs none of them."""
    with socket.create_server(("127.0.0.1", 0)) as hanging:
        place = f"http://127.0.0.1:{hanging.getsockname()[1]}"
        stores = {"AZURE_COSMOS_ENDPOINT": place, "AZURE_COSMOS_KEY": "Y2FuYXJ5", "COSMOS_DATABASE_NAME": "identity"}
        with started(cli, **stores) as api, anonymous(api) as anybody, ThreadPoolExecutor(60) as pool:
            waiting = [pool.submit(api.get, "/api/analytics/debug/sessions") for _ in range(60)]
            held = hanging.accept()  # the first of them has come to the store
            began = time.monotonic()
            assert anybody.get("/livez").status_code == 200
            assert api.get("/health?slice=web").status_code == 200
            assert time.monotonic() - began < 5
            assert not all(one.done() for one in waiting)
            held[0].close()


def test_readiness_is_decided_by_the_slices_that_are_asked_for(kintell_cli: Terminal) -> None:
    with started(kintell_cli, WEB_MONGO_URI="mongodb://127.0.0.1:1/web?serverSelectionTimeoutMS=200") as api:
        response = api.get("/health")
        assert (response.status_code, response.json()["status"]) == (503, "unavailable")

        ready = api.get("/health?slice=kintell")
        assert (ready.status_code, ready.json()["status"]) == (200, "ok")
        assert set(ready.json()["stores"]) == {"DAGSTER_POSTGRES_URL", "SESSION_ASSETS_STORAGE", "KINTELL_DATABASE_URL"}
        (kintell,) = ready.json()["slices"].values()
        assert kintell["status"] == "ok"
        assert kintell["stores"]["KINTELL_DATABASE_URL"] == "ok"
        assert kintell["stores"]["NATS_URL"].startswith("not set: ")

        both = api.get("/health?slice=kintell&slice=web")
        assert (both.status_code, both.json()["status"]) == (503, "unavailable")
        assert "Connection refused" in both.json()["slices"]["web"]["stores"]["WEB_MONGO_URI"]


def test_a_slice_that_is_not_configured_is_named(kintell_cli: Terminal) -> None:
    with started(kintell_cli) as api:
        response = api.get("/health")
        assert response.status_code == 200
        found = response.json()["slices"]
        assert {name: one["status"] for name, one in found.items()} == {
            "web": "not configured",
            "identity": "not configured",
            "contest": "not configured",
            "kintell": "ok",
            "flow": "not configured",
        }
        assert found["identity"]["stores"]["AZURE_COSMOS_ENDPOINT"].startswith("not set")
        asked = api.get("/health?slice=identity")
        assert (asked.status_code, asked.json()["status"]) == (503, "not configured")

        sessions = api.get(SESSIONS).json()
        assert [one["collection"] for one in sessions["collections"]] == ["kintell"]
        assert sessions["not_configured"]["identity"] == ["AZURE_COSMOS_ENDPOINT"]
        assert set(sessions["not_configured"]) == {"web", "identity", "contest", "flow"}


def test_a_slice_that_does_not_exist_is_refused_with_those_that_do(kintell_cli: Terminal) -> None:
    with started(kintell_cli) as api:
        for wrong in ("kintel", "", "web,kintell", "kintell&slice=orders"):
            response = api.get(f"/health?slice={wrong}")
            assert response.status_code == 422, response.text
            assert ", ".join(NAMES) in response.json()["detail"]


def test_nothing_configured_is_not_healthy(open_terminal: Open) -> None:
    with started(open_terminal(None)) as api:
        for path in ("/health", SESSIONS):
            response = api.get(path)
            assert (response.status_code, response.json()["status"]) == (503, "not configured")


def test_monitors_may_ask_with_head(kintell_cli: Terminal) -> None:
    with started(kintell_cli) as api, anonymous(api) as anybody:
        for client, path in (
            (anybody, "/livez"),
            (api.client, "/health"),
            (api.client, "/health?slice=kintell"),
            (api.client, "/health?slice=web"),
            (api.client, SESSIONS),
        ):
            response = client.head(path)
            assert (response.status_code, response.content) == (client.get(path).status_code, b"")
        assert anybody.head("/health").status_code == 401


@contextmanager
def anonymous(api: Api) -> Iterator[httpx.Client]:
    """A caller without the token."""
    with httpx.Client(base_url=api.url, timeout=30, trust_env=False) as client:
        yield client
