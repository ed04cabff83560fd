"""kill -9 between any two steps of `ingest FILE`: the same command once more, and nothing is lost or there twice."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from session_assets_tests.counts import some, times
from session_assets_tests.random_kills import RandomKills
from session_assets_tests.web.acceptance.documents import Web, dump, end_transactions, without_times, wrong_sessions
from session_assets_tests.web.acceptance.terminal import Terminal

EVENTS, SESSIONS = 2_300, 40
PLACES = [
    "drops.after_check",
    "ingest.after_events",
    "ingest.after_sessions",
    "ingest.after_commit",
    "ingest.after_events@2",
    "ingest.after_commit@2",
    "drops.after_batch",
]


@pytest.fixture
def mongo_uri(own_mongo_uri: str) -> str:
    return own_mongo_uri


@pytest.fixture
def drop(tmp_path: Path) -> Path:
    """A file in which sessions are interleaved, and some rows repeat."""
    (tmp_path / "mapping.yaml").write_text(
        json.dumps(
            {"session": "s", "user": "u", "page": "p", "timestamp": "t", "timestamp_unit": "s", "event_type": "e"}
        )
    )
    path = tmp_path / "events.ndjson"
    rows = [
        {
            "s": f"s{number % SESSIONS}",
            "u": f"user{number % SESSIONS}",
            "p": f"/{number % 11}",
            "t": 1740000000 + number // 2,
            "e": "pageview",
        }
        for number in range(EVENTS - 100)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in [*rows, *rows[:100]]))
    return path


def end_state(web: Web) -> tuple[Any, Any]:
    return without_times(web), dump(web, "events")


def start_again(web: Web) -> None:
    for name in ("events", "sessions"):
        web[name].delete_many({})


def test_a_killed_ingest_is_finished_by_the_same_command(cli: Terminal, web: Web, drop: Path) -> None:
    command = ("ingest", drop, "--json")
    began = time.monotonic()
    assert cli(*command).code == 0
    seconds, goal = time.monotonic() - began, end_state(web)
    assert (web.events.count_documents({}), web.sessions.count_documents({})) == (EVENTS, SESSIONS)
    assert wrong_sessions(web) == {}
    for place in some(PLACES, 2):
        start_again(web)
        cli.killed_at(place, *command)
        end_transactions(web)
        answer = cli(*command)
        assert answer.code == 0, (place, answer)
        assert answer.body["inserted"] + answer.body["already_there"] == EVENTS
        assert end_state(web) == goal, place
    kills = RandomKills(times(2, 20), seconds)
    for after in kills:
        start_again(web)
        kills.count(cli.killed_after(after, *command))
        end_transactions(web)
        assert cli(*command).code == 0
        assert end_state(web) == goal
