"""Ingest killed between any two of its steps, then called again: the state is that of one uninterrupted call."""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import sys
from typing import Any

import pytest
from pymongo.database import Database

from session_assets_tests.counts import some
from session_assets_tests.web.ingested import assert_sessions_right, connect, event

_CALL = """
import sys, pymongo
from session_assets.web.ingest import ingest_events
from session_assets_tests.web.ingested import event
uri, application = sys.argv[1:]
database = pymongo.MongoClient(uri, appname=application).get_default_database()
events = [event(f"s{number % 5}", number, f"/{number % 3}", _id=f"{number:032x}") for number in range(2500)]
ingest_events(events, database)
"""


@pytest.mark.parametrize(
    "failpoint",
    some(["ingest.after_events", "ingest.after_sessions", "ingest.after_commit", "ingest.after_sessions@2"], 2),
)
def test_killed_and_called_again(mongo_uri: str, failpoint: str) -> None:
    database = connect(mongo_uri)
    database["events"].insert_one(event("s0", -5, "/early"))
    application = f"killed {secrets.token_hex(8)}"
    call = [sys.executable, "-c", _CALL, mongo_uri, application]
    environment = os.environ | {"SESSION_ASSETS_FAILPOINTS": f"{failpoint}=kill"}
    killed = subprocess.run(call, env=environment, check=False)
    assert killed.returncode == -signal.SIGKILL
    written = database["events"].count_documents({}) - 1
    assert written in (0, 1000)
    assert sum(one["event_count"] for one in database["sessions"].find()) == (1001 if written else 0)
    _end_transactions_of(database, application)
    subprocess.run(call, check=True)
    assert database["events"].count_documents({}) == 2501
    assert database["sessions"].count_documents({}) == 5
    assert_sessions_right(database)


def _end_transactions_of(database: Database[dict[str, Any]], application: str) -> None:
    """What the server does by itself 60 to 90 s later; ingest waits for it, this test does not."""
    admin = database.client.admin
    idle = admin.aggregate([
        {"$currentOp": {"allUsers": True, "idleSessions": True}},
        {"$match": {"type": "idleSession", "appName": application}},
    ])  # fmt: skip
    for session in idle:
        admin.command("killSessions", [{"id": session["lsid"]["id"]}])
