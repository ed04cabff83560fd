"""Ingest killed between any two of its steps, then called again: the state is that of one uninterrupted call."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from session_assets_tests.web.ingested import assert_sessions_right, connect, event

_CALL = """
from session_assets.web.ingest import ingest_events
from session_assets_tests.web.ingested import event
ingest_events([event(f"s{number % 5}", number, f"/{number % 3}", _id=f"{number:032x}") for number in range(2500)])
"""


@pytest.mark.parametrize(
    "failpoint",
    [
        "ingest.after_events",
        "ingest.after_sessions",
        "ingest.after_commit",
        "ingest.after_events@3",
        "ingest.after_sessions@2",
        "ingest.after_commit@2",
    ],
)
def test_killed_and_called_again(mongo_uri: str, failpoint: str) -> None:
    database = connect(mongo_uri)
    database["events"].insert_one(event("s0", -5, "/early"))
    environment = os.environ | {"WEB_MONGO_URI": mongo_uri}
    killed = subprocess.run(
        [sys.executable, "-c", _CALL], env=environment | {"SESSION_ASSETS_FAILPOINTS": f"{failpoint}=kill"}, check=False
    )
    assert killed.returncode == -signal.SIGKILL
    assert database["events"].count_documents({}) < 2501
    subprocess.run([sys.executable, "-c", _CALL], env=environment, check=True)
    assert database["events"].count_documents({}) == 2501
    assert database["sessions"].count_documents({}) == 5
    assert_sessions_right(database)
