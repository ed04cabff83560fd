"""Other processes ingest events while commands plan and apply: nothing is lost, and the next run ends clean."""

from __future__ import annotations

import random
import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import pymongo
import pytest
from bson import ObjectId

from session_assets.web.ingest import ingest_event
from session_assets_tests.counts import times
from session_assets_tests.fork_server import CONTEXT
from session_assets_tests.web.acceptance.documents import DAYS, Web, fill, recounted, wrong_sessions
from session_assets_tests.web.acceptance.terminal import Terminal

WRITERS, CALLS = 2, times(200, 1000)
SESSIONS = 120


def traffic(uri: str, writer: int, live: bool) -> None:
    """Calls of one application process, on sessions that are there and on new ones."""
    chance = random.Random(writer)
    with pymongo.MongoClient[dict[str, Any]](uri, tz_aware=True) as client:
        web = client.get_default_database()
        for number in range(CALLS):
            one, user = chance.randrange(SESSIONS), None
            session_id = f"65{one:022x}"
            if number % 4 == 0:
                session_id = f"new-{one % 30}"  # both writers make the same ones
            else:
                user = ObjectId(f"66{one:022x}")
            past = DAYS[0] + timedelta(days=chance.randrange(40), seconds=number)
            event = {
                "_id": f"live-{writer}-{number}",
                "session_id": session_id,
                "timestamp": datetime.now(UTC) if live else past,
                "page": f"/live/{number % 9}",
                "event_type": "pageview",
                "user_id": user,
            }
            assert ingest_event(event, web).inserted == 1
            time.sleep(0.01)


@pytest.mark.parametrize(("live", "settle_minutes"), [(False, "0"), (True, "30")], ids=["settled", "unsettled"])
def test_no_event_or_update_is_lost(cli: Terminal, web: Web, mongo_uri: str, live: bool, settle_minutes: str) -> None:
    cli.options["SESSION_ASSETS_SETTLE_MINUTES"] = settle_minutes
    fill(web, SESSIONS)
    cli("index", "web")
    writers = [CONTEXT.Process(target=traffic, args=(mongo_uri, number, live)) for number in range(WRITERS)]
    planned = cli("plan", "web", "--json").body["planned"]
    assert planned == SESSIONS / 2
    for writer in writers:
        writer.start()
    _wait_for_traffic(web, 10)
    outcomes: Counter[str] = Counter()
    while not outcomes or any(writer.is_alive() for writer in writers):
        answer = cli("apply", "web", "--json")  # the plan that is pending, then plans of its own
        assert answer.code == 0, answer
        assert sum(answer.body["outcomes"].values()) == answer.body["planned"]
        outcomes.update(answer.body["outcomes"])
    for writer in writers:
        writer.join()
        assert writer.exitcode == 0
    assert outcomes["conflicted"] > 0
    assert (outcomes["failed"], outcomes["already_applied"]) == (0, 0)

    cli.options["SESSION_ASSETS_SETTLE_MINUTES"] = "0"
    assert cli("apply", "web", "--json").code == 0
    verified = cli("verify", "web", "--json")
    assert (verified.code, verified.body["reasons"]) == (0, {})
    assert web.events.count_documents({"_id": {"$regex": "^live-"}}) == WRITERS * CALLS
    assert wrong_sessions(web) == {}
    documents = Counter(one["session_id"] for one in web.sessions.find({"session_id": {"$exists": True}}))
    assert documents.keys() == recounted(web).keys()
    assert set(documents.values()) == {1}


def _wait_for_traffic(web: Web, events: int) -> None:
    while web.events.count_documents({"_id": {"$regex": "^live-"}}) < events:
        time.sleep(0.01)
