"""The contest slice without Dagster, on a database of its own, and what a repaired document must be, in plain Python."""

from __future__ import annotations

import math
import secrets
from collections import defaultdict
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any

import bson
import polars as pl
from bson import ObjectId
from pymongo.database import Database

from session_assets.changes.change_set import Plan
from session_assets.changes.ledger import Ledger
from session_assets.changes.revert import RevertReport, revert
from session_assets.changes.session import ApplyReport, apply_plans
from session_assets.changes.target import Known
from session_assets.contest.model import FIELDS, UPDATED
from session_assets.contest.pipeline import Contest, change_rows
from session_assets.contest.source import ContestSource
from session_assets.embedded.contest_truth import CATALOGUE, analytics
from session_assets.pipeline import Planned
from session_assets.selection import Selection
from session_assets.settings import Settings
from session_assets.storage import Storage
from session_assets.stores.mongo import MongoSource
from session_assets.stores.mongo_changes import MongoStore
from session_assets_tests.stores.scenario import stored

Document = dict[str, Any]
FIRST, LAST = date(2025, 1, 1), date(2026, 12, 1)
NUMBERS = (int, float)


@dataclass
class Slice:
    """Plan, apply and undo on one database."""

    database: Database[Document]
    storage: Storage
    contest: Contest
    ledger: Ledger

    @classmethod
    def of(cls, database: Database[Document], folder: Path) -> Slice:
        storage = Storage(str(folder / secrets.token_hex(4)), folder / "scratch")
        sessions, problems, users = (
            MongoSource(database[name], "CONTEST_MONGO_URI") for name in ("sessions", "problems", "users")
        )
        contest = Contest(Settings.from_env({}), storage, ContestSource(sessions, problems, users, FIRST, LAST))
        return cls(database, storage, contest, Ledger(storage, "contest", Known.named("test")))

    def now(self) -> dict[str, bytes]:
        """The sessions as they stand, byte for byte."""
        return stored(self.database.sessions)

    def plan(self, selection: Selection | None = None) -> Planned:
        return self.contest.plan_now(
            self.ledger, selection or Selection(), change_rows, secrets.token_hex(4), visited=()
        )

    def apply(self, plan: Plan) -> ApplyReport:
        store = MongoStore(self.database.sessions, "CONTEST_MONGO_URI")
        todo = {plan.plan_id: [part.partition for part in plan.parts]}
        return apply_plans(self.ledger, todo, store, run_id="apply", batch_size=500)

    def revert(self, plan: Plan) -> RevertReport:
        store = MongoStore(self.database.sessions, "CONTEST_MONGO_URI")
        return revert(self.ledger, plan, store, run_id="revert", batch_size=500)


def reasons_of(planned: Planned) -> dict[str, set[str]]:
    """The reasons of each document, by key, from the full lists."""
    result: defaultdict[str, set[str]] = defaultdict(set)
    for path in planned.lists.values():
        for key, reason in pl.read_parquet(Path(path) / "*.parquet").select("key", "reason").iter_rows():
            result[key].add(reason)
    return dict(result)


# -- what is right -----------------------------------------------------------------------------------------------------

_KNOWN = {problem["problem_number"]: problem for problem in CATALOGUE}
_ATTEMPT = (
    "problem_number", "problem_id", "is_correct", "selected_answer", "correct_answer", "time_spent_ms",
    "time_spent_seconds", "attempt_timestamp", "difficulty", "topics",
)  # fmt: skip
_OLD = ("totalTime", "attempted", "userId", "_user_id")
_OLD_IN_ATTEMPT = ("correct", "time_spent", "timestamp")


def faults(document: Document, users: dict[str, Any]) -> list[str]:
    """What is not as S5 says in the structure of a document, and in what is worked out; empty where it conforms."""
    names = list(document)
    rest = names[20:]
    if rest[:1] == [UPDATED]:
        rest = rest[1:]
    found = [] if names[:20] == ["_id", *FIELDS] and not {*rest} & {*_OLD, UPDATED} else [f"order: {names}"]
    if found:
        return found
    tests = {
        "texts": all(
            isinstance(document[name], str) for name in ("session_id", "session_status", "username", "contest")
        ),
        "year": _is_number(document["year"]) and document["year"] == int(document["year"]),
        "shuffle": isinstance(document["shuffle"], bool),
        "numbers": all(_is_number(document[name]) for name in ("score", "total_attempted", *FIELDS[16:])),
        "created_at": isinstance(document["created_at"], str | datetime),
        "seconds": document["total_time_seconds"] == round(document["total_time_ms"] / 1000, 2),
        "minutes": document["total_time_minutes"] == round(document["total_time_ms"] / 60_000, 2),
        "user": _user_is_right(document, users),
    }
    found += [name for name, holds in tests.items() if not holds]
    attempts = document["problems_attempted"]
    found += [f"attempt {place}: {why}" for place, one in enumerate(attempts) for why in _faults_of(one)]
    if not found:
        wanted = analytics(attempts)
        pairs = {
            "performance_metrics": wanted,
            "topic_performance": wanted["topic_metrics"],
            "difficulty_performance": wanted["difficulty_metrics"],
        }
        found += [name for name, value in pairs.items() if not _holds(value, document[name])]
    return found


def _user_is_right(document: Document, users: dict[str, Any]) -> bool:
    user = document["user_id"]
    if user is None:
        return document["username"] not in users
    return isinstance(user, str | ObjectId) and user not in ("None", "null", "")


def _faults_of(attempt: Document) -> list[str]:
    names = [name for name in attempt if name in _ATTEMPT]
    tests = {
        "order": [*attempt][: len(names)] == names == [name for name in _ATTEMPT if name in attempt],
        "old name": not {*attempt} & {*_OLD_IN_ATTEMPT},
        "result": isinstance(attempt.get("is_correct"), bool),
        "time": _is_number(attempt.get("time_spent_ms")) and _is_number(attempt.get("time_spent_seconds")),
        "number": attempt.get("problem_number") is None or _is_number(attempt["problem_number"]),
        "problem": attempt.get("problem_number") not in _KNOWN
        or all(attempt.get(name) for name in ("correct_answer", "difficulty", "topics")),
    }
    return [name for name, holds in tests.items() if not holds]


def _holds(wanted: Any, found: Any) -> bool:
    """Whether all that is wanted is found; of topics and difficulties, nothing else."""
    if not isinstance(wanted, dict):
        return wanted == found and (wanted is None) == (found is None)
    return {*wanted} <= {*found} and all(_holds(value, found[name]) for name, value in wanted.items())


def _is_number(value: Any) -> bool:
    return isinstance(value, NUMBERS) and not isinstance(value, bool) and math.isfinite(value)


def is_short(document: Document) -> bool:
    """Whether a document says more than its source has: it has fewer attempts, or one whose topics or difficulty nobody knows."""
    attempts = document["problems_attempted"]
    said = document.get("total_attempted", document.get("attempted"))
    gone = len(attempts) < (1 if said is None else float(said))
    return gone or any(not (_knows(one) or (one.get("topics") and one.get("difficulty"))) for one in attempts)


def _knows(attempt: Document) -> bool:
    number = attempt.get("problem_number")
    return number is not None and float(number) in _KNOWN


RECOUNTED = (
    "score", "total_attempted", "performance_metrics", "topic_performance", "difficulty_performance", "total_time_ms",
)  # fmt: skip


def is_recounted(before: Document, after: Document) -> bool:
    """Whether a repair wrote a figure that is worked out from the attempts; a new name or type is none."""
    old = {_NEW_NAMES.get(name, name): value for name, value in before.items()}
    return any(name not in old or not _kept(name, old[name], after[name]) for name in RECOUNTED)


# -- what is kept ------------------------------------------------------------------------------------------------------

_WORKED_OUT = (
    "performance_metrics", "topic_performance", "difficulty_performance", "total_time_seconds", "total_time_minutes",
    UPDATED,
)  # fmt: skip
_NEW_NAMES = {
    "totalTime": "total_time_ms", "attempted": "total_attempted", "userId": "user_id", "_user_id": "user_id",
    "correct": "is_correct", "time_spent": "time_spent_ms", "timestamp": "attempt_timestamp",
}  # fmt: skip


def lost(before: bytes, after: bytes) -> list[str]:
    """Values of a document that are not in the repaired one, under their name or their new name."""
    old, new = bson.decode(before), bson.decode(after)
    missing = [name for name in _lost_in(old, new) if name not in _WORKED_OUT]
    for place, (one, other) in enumerate(
        zip(old.get("problems_attempted") or [], new["problems_attempted"], strict=True)
    ):
        missing += [f"attempt {place}: {name}" for name in _lost_in(one, other)]
    return missing


def _lost_in(old: Document, new: Document) -> list[str]:
    return [
        name
        for name, value in old.items()
        if name != "problems_attempted" and not _kept(name, value, new.get(_NEW_NAMES.get(name, name)))
    ]


def _kept(name: str, value: Any, now: Any) -> bool:
    if value is None or value == "" or value == []:  # says nothing, and may be filled
        return True
    if name in ("user_id", "userId", "_user_id") and value in ("None", "null"):
        return True
    if isinstance(value, str) and _is_number(now):
        return float(value) == now
    if name in _NEW_NAMES and _is_number(value):  # it may stand under its new name already, as another type
        return value == now
    return type(value) is type(now) and value == now
