"""An event that arrives between any two steps of plan and apply is never overwritten, whoever writes it and in which order.

The command stops at a pause between every two steps; at each, writers of every kind touch sessions of their own.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from session_assets.web.ingest import ingest_event
from session_assets_tests.web.acceptance.documents import DAYS, Document, Web, fill, wrong_sessions
from session_assets_tests.web.acceptance.terminal import Running, Terminal

DAY = DAYS[0].date().isoformat()
PAUSES = [
    "web.after_documents",
    "web.after_events",
    f"web.plan.{DAY}",
    "web.before_record",
    f"apply.partition.{DAY}",
    "apply.after_look",
    "apply.after_intent",
    "apply.after_write",
    "apply.after_outcome",
    "apply.before_finish",
]
MOMENTS = ["before", *PAUSES, "after"]


class Writers:
    """Live writers. Each takes a session that nobody touched yet, wiped and healthy ones in turn."""

    def __init__(self, web: Web, timestamp: Callable[[], datetime]) -> None:
        self._web = web
        self._timestamp = timestamp
        self._fresh = iter(
            [one["session_id"] for one in web.sessions.find({"session_id": {"$exists": True}}).sort("_id", 1)]
        )
        self._later: list[Callable[[], None]] = []
        self.events: set[str] = set()
        self.written: dict[str, dict[str, Any]] = {}  # what the documents of sessions must show from now on

    def act(self, moment: str) -> None:
        """All kinds of writers, one after the other; halves that were left for later come first."""
        self.finish()
        for kind in (self._ingest, self._ingest_new, self._legacy, self._event_only):
            for _ in range(2):
                kind(moment)

    def act_in_halves(self, moment: str) -> None:
        """The same writer, with other steps between its two writes, in either order."""
        for event_first in (True, False):
            for _ in range(2):
                event = self._event(moment, next(self._fresh))
                halves = [lambda event=event: self._insert(event), lambda event=event: self._update(event)]
                first, second = halves if event_first else halves[::-1]
                first()
                self._later.append(second)

    def finish(self) -> None:
        later, self._later = self._later, []
        for half in later:
            half()

    def assert_nothing_lost(self, when: str) -> None:
        for session_id, fields in self.written.items():
            document = self._web.sessions.find_one({"session_id": session_id}) or {}
            assert fields["page"] in document["pages"], (when, fields, document)
            assert document.get("seen_live") == fields["seen_live"], (when, fields, document)

    def _event(self, moment: str, session_id: str) -> Document:
        number = len(self.events)
        event = {
            "_id": f"late-{number}",
            "session_id": session_id,
            "timestamp": self._timestamp(),
            "page": f"/late/{moment}/{number}",
        }
        self.events.add(event["_id"])
        return {**event, "event_type": "pageview"}

    def _ingest(self, moment: str) -> None:
        event = self._event(moment, next(self._fresh))
        ingest_event(event, self._web)
        self.written[event["session_id"]] = {"page": event["page"], "seen_live": None}

    def _ingest_new(self, moment: str) -> None:
        event = self._event(moment, f"new-{len(self.events)}")
        ingest_event(event, self._web)
        self.written[event["session_id"]] = {"page": event["page"], "seen_live": None}

    def _legacy(self, moment: str) -> None:
        event = self._event(moment, next(self._fresh))
        self._insert(event)
        self._update(event)

    def _event_only(self, moment: str) -> None:
        self._insert(self._event(moment, next(self._fresh)))

    def _insert(self, event: Document) -> None:
        self._web.events.insert_one(event)

    def _update(self, event: Document) -> None:
        change = {
            "$inc": {"event_count": 1},
            "$addToSet": {"pages": event["page"]},
            "$set": {"last_event_at": event["timestamp"], "seen_live": event["_id"]},
        }
        assert self._web.sessions.update_one({"session_id": event["session_id"]}, change).matched_count == 1
        self.written[event["session_id"]] = {"page": event["page"], "seen_live": event["_id"]}


def in_the_past() -> datetime:
    return DAYS[0] + timedelta(hours=9)


def now() -> datetime:
    return datetime.now(UTC).replace(microsecond=0)


@pytest.mark.parametrize(
    ("timestamp", "settle_minutes", "in_halves"),
    [(in_the_past, "0", False), (now, "0", False), (now, "30", True)],
    ids=["old events", "new events", "new events in halves"],
)
def test_a_late_event_survives_every_step(
    cli: Terminal, web: Web, tmp_path: Path, timestamp: Callable[[], datetime], settle_minutes: str, in_halves: bool
) -> None:
    cli.options["SESSION_ASSETS_SETTLE_MINUTES"] = settle_minutes
    fill(web, 10 * (len(MOMENTS) + 1), days=[DAYS[0]])
    writers = Writers(web, timestamp)

    def act(moment: str) -> None:
        writers.act(moment)
        if in_halves:
            writers.act_in_halves(moment)

    act("before")
    running = paused(cli, tmp_path)
    for place in PAUSES:
        wait_for(tmp_path / place, running)
        writers.assert_nothing_lost(place)
        act(place)
        (tmp_path / place).unlink()
    answer = running.wait()
    assert answer.code == 0, answer
    outcomes = answer.body["outcomes"]
    assert outcomes["conflicted"] > 0
    assert outcomes["failed"] == 0
    assert sum(outcomes.values()) == answer.body["planned"]
    act("after")
    writers.finish()
    writers.assert_nothing_lost("after")

    cli.options["SESSION_ASSETS_SETTLE_MINUTES"] = "0"
    assert cli("apply", "web", "--json").code == 0
    writers.assert_nothing_lost("after the next run")
    assert wrong_sessions(web) == {}
    assert web.events.count_documents({"_id": {"$in": list(writers.events)}}) == len(writers.events)
    verified = cli("verify", "web", "--json")
    assert (verified.code, verified.body["reasons"]) == (0, {})


def paused(cli: Terminal, folder: Path) -> Running:
    pauses = ";".join(f"{place}@1=pause:{folder / place}" for place in PAUSES)
    return cli.start("apply", "web", "--json", SESSION_ASSETS_FAILPOINTS=pauses)


def wait_for(marker: Path, running: Running) -> None:
    while not marker.exists():
        assert running.is_alive(), (marker.name, running.wait())
        time.sleep(0.01)
