"""The steps that `bench.web` measures, each in a process of its own: `python -m bench.web_steps NAME`."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from datetime import date
from typing import Any

from bson import decode
from pymongo import MongoClient, UpdateOne
from pymongo.database import Database

from session_assets.changes.ledger import Ledger
from session_assets.changes.session import apply_plans
from session_assets.graph.environment import Environment
from session_assets.stores.bson_documents import id_of
from session_assets.stores.mongo import database
from session_assets.stores.mongo_changes import MongoStore
from session_assets.stores.mongo_sessions import EVENT_NAMES
from session_assets.web.assets import SESSIONS
from session_assets.web.pipeline import Web
from session_assets.web.repairs import repair_rows

OLD_SAMPLE = 5000


def _db() -> Database[dict[str, Any]]:
    return database("WEB_MONGO_URI", "web")


def _web() -> Web:
    environment = Environment.load()
    return Web.open(environment.settings, environment.storage, date.fromisoformat(os.environ["WEB_START_DATE"]))


def raw_read() -> float:
    """The reference of facts: the same documents and fields off the wire, undecoded."""
    db, size = _db(), 0
    began = time.perf_counter()
    for batch in db.sessions.find_raw_batches({}):
        size += len(batch)
    for batch in db.events.find_raw_batches({}, dict.fromkeys(EVENT_NAMES, 1)):
        size += len(batch)
    return time.perf_counter() - began


def facts() -> float:
    """Read sessions and events, compute and store the facts of all days."""
    web = _web()
    keys = web.source.standing()["partition"].to_list()
    began = time.perf_counter()
    _, failures = web.collect(keys, "bench", SESSIONS.loop.known(Environment.load()), whole=True)
    assert not failures, failures
    return time.perf_counter() - began


def plan() -> float:
    """Plan from the stored facts; the plan is what `apply` and `bare_write` write."""
    web = _web()
    keys = web.source.standing()["partition"].to_list()
    began = time.perf_counter()
    web.plan(SESSIONS.loop.ledger(Environment.load()), keys, repair_rows, "bench")
    return time.perf_counter() - began


def apply() -> float:
    """Guarded, journaled writes of the newest plan."""
    ledger = SESSIONS.loop.ledger(Environment.load())
    recording = next(ledger.recordings())
    store = MongoStore(_db().sessions, "WEB_MONGO_URI")
    began = time.perf_counter()
    report = apply_plans(
        ledger, {recording.plan_id: list(recording.partitions)}, store, run_id="bench", batch_size=5000
    )
    seconds = time.perf_counter() - began
    assert report.totals().as_dict()["applied"] == sum(report.planned.values()), report.totals()
    return seconds


def bare_write() -> float:
    """The reference of apply: the same updates by `bulk_write`, by _id, unguarded and unjournaled."""
    ledger: Ledger = SESSIONS.loop.ledger(Environment.load())
    recording = next(ledger.recordings())
    updates = [
        UpdateOne({"_id": id_of(key)}, {"$set": decode(after)})
        for part in ledger.plan(recording.plan_id).parts
        for rows in ledger.rows(part)
        for key, after in rows.select("key", "after").iter_rows()
    ]
    sessions = _db().sessions
    began = time.perf_counter()
    for start in range(0, len(updates), 5000):
        sessions.bulk_write(updates[start : start + 5000], ordered=False)
    return time.perf_counter() - began


def old_algorithm() -> float:
    """fix_empty_sessions.py: one query and one update a session, default write concern; scaled to the collection."""
    db = MongoClient(os.environ["WEB_MONGO_URI"]).get_default_database()
    total = db.sessions.count_documents({"session_id": {"$exists": True}})
    chosen = list(db.sessions.find({"session_id": {"$exists": True}}, {"session_id": 1}).limit(OLD_SAMPLE))
    began = time.perf_counter()
    for session in chosen:
        events = list(db.events.find({"session_id": session["session_id"]}).sort("timestamp", 1))
        if not events:
            continue
        pages = list({event["page"] for event in events if event.get("page")})
        db.sessions.update_one(
            {"_id": session["_id"]},
            {
                "$set": {
                    "pages": pages,
                    "event_count": len(events),
                    "first_event_at": events[0]["timestamp"],
                    "last_event_at": events[-1]["timestamp"],
                    "user_id": events[0].get("user_id"),
                }
            },
        )
    return (time.perf_counter() - began) / len(chosen) * total


STEPS: dict[str, Callable[[], float]] = {
    one.__name__: one for one in (raw_read, facts, plan, apply, bare_write, old_algorithm)
}

if __name__ == "__main__":
    print(json.dumps({"seconds": STEPS[sys.argv[1]]()}))
