"""The steps that `bench.contest` measures, each in a process of its own: `python -m bench.contest_steps NAME`."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from datetime import date
from typing import Any

from pymongo import MongoClient
from pymongo.database import Database

from bench.contest_loops import analytics, completed
from session_assets.contest.assets import SESSIONS
from session_assets.contest.pipeline import Contest
from session_assets.graph.environment import Environment
from session_assets.selection import Selection
from session_assets.stores.mongo import database


def _db() -> Database[dict[str, Any]]:
    return database("CONTEST_MONGO_URI", "goaime")


def _contest() -> Contest:
    environment = Environment.load()
    return Contest.open(environment.settings, environment.storage, date.fromisoformat(os.environ["CONTEST_START_DATE"]))


def raw_read() -> float:
    """The reference of facts: the same documents off the wire, undecoded."""
    db, size = _db(), 0
    began = time.perf_counter()
    for batch in db.sessions.find_raw_batches({}):
        size += len(batch)
    return time.perf_counter() - began


def facts() -> float:
    """Read, judge and compute the facts of all documents."""
    contest = _contest()
    count = _db().sessions.count_documents({})
    began = time.perf_counter()
    with contest.storage.scratch() as scratch:
        found = sum(frame.height for frame in contest.buckets(Selection(), scratch))
    seconds = time.perf_counter() - began
    assert found == count, (found, count)
    return seconds


def facts_stored() -> float:
    """The same, with the documents and their facts stored as Parquet for the plan."""
    contest = _contest()
    keys = contest.standing()
    began = time.perf_counter()
    _, failures = contest.collect(keys, "bench", SESSIONS.loop.known(Environment.load()), whole=True)
    assert not failures, failures
    return time.perf_counter() - began


def loops() -> float:
    """The reference of plain Python: documents as dicts, attempts completed and counted one by one."""
    db = MongoClient(os.environ["CONTEST_MONGO_URI"]).get_default_database()
    began = time.perf_counter()
    wanted = {"_id": 0, "contest_id": 1, "problem_number": 1, "correct_answer": 1, "difficulty": 1, "topics": 1}
    problems = {(one["contest_id"], one["problem_number"]): one for one in db.problems.find({}, wanted)}
    found = 0
    for session in db.sessions.find():
        attempts = [completed(session, attempt, problems) for attempt in session["problems_attempted"]]
        found += bool(analytics(attempts))
    return time.perf_counter() - began


STEPS: dict[str, Callable[[], float]] = {one.__name__: one for one in (raw_read, facts, facts_stored, loops)}

if __name__ == "__main__":
    print(json.dumps({"seconds": STEPS[sys.argv[1]]()}))
