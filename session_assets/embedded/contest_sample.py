"""Sample contest sessions with known, counted defects: what `verify` finds can be held against what was planted.

The truth is known by construction: a right document is made first, worked out in plain Python, and a recipe then spoils it in a
known way. Nothing here asks `contest.facts`. Shapes: seed S5 and its fact sheet. Nobody in here exists.
"""

from __future__ import annotations

import json
import random
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from importlib.resources import files
from typing import Any

import bson
import pymongo
from bson import ObjectId
from bson.raw_bson import RawBSONDocument
from pymongo.database import Database

from session_assets.contest.model import PROBLEMS, SESSIONS, USERS

Document = dict[str, Any]

CATALOGUE: list[Document] = json.loads(
    (files("session_assets.embedded") / "contest_problems.json").read_text(encoding="utf-8")
)
"""The 25 problems of AMC 10A 2022: contest, number, answer, difficulty, topics."""
SEED_CORRECT = (2, 3, 13)
"""Problems that the seed's user solved, so that its published figures come out: Algebra 2, Geometry 1; easy 2, medium 1."""
_NO_ANSWER, _NO_TOPICS, _NO_PROBLEM = 26, 27, 99
_SPAN_DAYS, _PEOPLE, _FEWEST = 150, 40, 100
_CHANGE = timedelta(days=60)  # the application wrote dates as text, then as dates


@dataclass(frozen=True)
class Planted:
    """What was planted. `ids`: for each reason the session ids as verify lists them, sorted."""

    sessions: int
    repairable: int
    ids: dict[str, list[str]]


def replant(uri: str, *, now: datetime, sessions: int = 400, seed: int = 1) -> Planted:
    """Drop the database that the URI names, and plant it anew."""
    with pymongo.MongoClient[Document](uri, tz_aware=True) as client:
        database = client.get_default_database()
        client.drop_database(database.name)
        return plant(database, now=now, sessions=sessions, seed=seed)


def plant(database: Database[Document], *, now: datetime, sessions: int = 400, seed: int = 1) -> Planted:
    """Sessions of the last five months with defects of every kind. Same arguments, same documents. At least 100 sessions."""
    if sessions < _FEWEST:
        raise ValueError(f"sessions must be at least {_FEWEST}: one of each kind of defect, and some right ones")
    maker = Maker(now, seed)
    garden = _Garden(maker, sessions / 400)
    garden.plant_defects()
    while len(garden.documents) < sessions:
        garden.plant()
    maker.random.shuffle(garden.documents)
    database[PROBLEMS].insert_many([*map(dict, CATALOGUE), *_POOR_PROBLEMS])
    database[USERS].insert_many([{"_id": key, "username": name} for name, key in maker.users.items()])
    database[SESSIONS].insert_many(garden.documents, ordered=False)
    ids = {reason: sorted(some) for reason, some in sorted(garden.ids.items())}
    return Planted(sessions, garden.repairable, ids)


_POOR_PROBLEMS: tuple[Document, ...] = (
    {"contest_id": "AMC10A_2022", "problem_number": _NO_ANSWER, "difficulty": "hard", "topics": ["Algebra"]},
    {"contest_id": "AMC10A_2022", "problem_number": _NO_TOPICS, "correct_answer": "A) 1", "difficulty": "hard"},
)


# -- the truth ---------------------------------------------------------------------------------------------------------


class Maker:
    """Makes right documents. `now` and the seed decide everything."""

    def __init__(self, now: datetime, seed: int) -> None:
        self.random = random.Random(seed)
        self.now = now.replace(microsecond=0)
        self._machine = self.random.randbytes(5)
        self._number = 0
        self.users = {f"solver{number}": self.object_id(self.now) for number in range(_PEOPLE)}

    def object_id(self, at: datetime) -> ObjectId:
        self._number += 1
        return ObjectId(int(at.timestamp()).to_bytes(4) + self._machine + self._number.to_bytes(3))

    def attempts(self, count: int) -> list[Document]:
        """Attempts at some problems of the catalogue, in a random order."""
        return [self.attempt(problem) for problem in self.random.sample(CATALOGUE, count)]

    def attempt(self, problem: Document, *, is_correct: bool | None = None, ms: int | None = None) -> Document:
        """One attempt at a problem."""
        ms = self.random.randint(400, 180_000) if ms is None else ms
        is_correct = self.random.random() < 0.4 if is_correct is None else is_correct
        at = self.now - timedelta(days=self.random.random() * _SPAN_DAYS)
        return {
            "problem_number": problem["problem_number"],
            "problem_id": f"{problem['contest_id']}_{problem['problem_number']}",
            "is_correct": is_correct,
            "selected_answer": problem.get("correct_answer", "B") if is_correct else "F) 0",
            "correct_answer": problem.get("correct_answer", "F) 0"),
            "time_spent_ms": ms,
            "time_spent_seconds": round(ms / 1000, 2),
            "attempt_timestamp": at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "difficulty": problem["difficulty"],
            "topics": list(problem.get("topics", ["Algebra"])),
        }

    def document(self, attempts: list[Document] | None = None, username: str | None = None) -> Document:
        """A right document: the 19 fields, in order."""
        attempts = self.attempts(self.random.randint(3, 25)) if attempts is None else attempts
        username = self.random.choice([*self.users]) if username is None else username
        begun = self.now - timedelta(days=self.random.random() * _SPAN_DAYS, hours=1)
        begun = begun.replace(microsecond=self.random.randrange(1000) * 1000)
        ended = begun + timedelta(minutes=self.random.randint(1, 75))
        is_text = begun < self.now - _CHANGE
        user = self.users.get(username)
        return {
            "_id": self.object_id(begun),
            "session_id": str(uuid.UUID(int=self.random.getrandbits(128), version=4)),
            "session_status": "completed",
            "created_at": begun.strftime("%Y-%m-%d %H:%M:%S.%f") if is_text else begun,
            "completed_at": ended.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "username": username,
            "user_id": None if user is None else str(user),
            "year": 2022,
            "contest": "AMC 10A",
            "mode": self.random.choice(["contest", "practice"]),
            "shuffle": self.random.random() < 0.3,
            **totals(attempts),
        }


def totals(attempts: list[Document]) -> Document:
    """The fields that attempts decide, from `score` on, in order."""
    metrics = analytics(attempts)
    total = metrics["total_metrics"]
    return {
        "score": total["total_correct"],
        "total_attempted": total["total_attempted"],
        "problems_attempted": attempts,
        "performance_metrics": metrics,
        "topic_performance": metrics["topic_metrics"],
        "difficulty_performance": metrics["difficulty_metrics"],
        **{name: total[name] for name in ("total_time_ms", "total_time_seconds", "total_time_minutes")},
    }


def analytics(attempts: list[Document]) -> Document:
    """`performance_metrics` of some attempts, one by one."""
    times = {
        flag: [one["time_spent_ms"] for one in attempts if one["is_correct"] is flag or flag is None]
        for flag in (True, False, None)
    }
    right, total_ms, count = times[True], sum(times[None]), len(attempts)
    return {
        "total_metrics": {
            "total_attempted": count,
            "total_correct": len(right),
            "total_incorrect": count - len(right),
            "total_time_ms": total_ms,
            "total_time_seconds": round(total_ms / 1000, 2),
            "total_time_minutes": round(total_ms / 60000, 2),
        },
        "average_metrics": {
            "accuracy_percentage": _share(len(right), count),
            "average_time_per_problem_ms": _average(times[None]),
            "average_time_per_problem_seconds": round(total_ms / 1000 / count, 2) if count else 0.0,
            "average_time_correct_problems_ms": _average(right),
            "average_time_incorrect_problems_ms": _average(times[False]),
        },
        "speed_metrics": {
            "fastest_correct_time_ms": min(right, default=None),
            "slowest_correct_time_ms": max(right, default=None),
        },
        "topic_metrics": _by((topic, one) for one in attempts for topic in dict.fromkeys(one.get("topics") or ())),
        "difficulty_metrics": _by((one["difficulty"], one) for one in attempts if one.get("difficulty")),
    }


def _by(pairs: Iterable[tuple[str, Document]]) -> Document:
    flags: dict[str, list[bool]] = {}
    for name, attempt in pairs:
        flags.setdefault(name, []).append(attempt["is_correct"])
    return {
        name: {"attempted": len(some), "correct": sum(some), "accuracy": _share(sum(some), len(some))}
        for name, some in flags.items()
    }


def _share(correct: int, attempted: int) -> float:
    return round(100 * correct / attempted, 2) if attempted else 0.0


def _average(times: list[float]) -> float:
    return round(sum(times) / len(times), 2) if times else 0.0


def seed_session() -> Document:
    """goAmy's session as it was before the migration of the seed: 25 attempts that lack what only the problems tell."""
    maker = Maker(datetime(2025, 5, 26, 12, tzinfo=UTC), 3)
    times = [*range(100, 580, 20), 7426 - sum(range(100, 580, 20))]
    attempts = [
        maker.attempt(problem, is_correct=problem["problem_number"] in SEED_CORRECT, ms=ms)
        for problem, ms in zip(CATALOGUE, times, strict=True)
    ]
    document = maker.document(attempts, "goAmy") | {
        "session_id": "a78885fa-abd3-41e9-b2f4-9b6ca9c0d91a",
        "created_at": "2025-05-26 11:35:30.239000",
        "completed_at": "2025-05-26T11:35:30.214Z",
        "mode": "contest",
    }
    _old(maker, document)
    return document


# -- the defects -------------------------------------------------------------------------------------------------------

Recipe = Callable[[Maker, Document], tuple[str, ...]]
"""Spoils a right document; returns the reasons that it then has."""
_WORKED_OUT = ("user_id", "shuffle", "performance_metrics", "topic_performance", "difficulty_performance")
_FROM_PROBLEM = ("correct_answer", "difficulty", "topics")


def _old(maker: Maker, document: Document) -> tuple[str, ...]:
    """As before the migration of the seed."""
    for name in _WORKED_OUT:
        del document[name]
    for attempt in document["problems_attempted"]:
        for name in _FROM_PROBLEM:
            del attempt[name]
    is_known = document["username"] in maker.users
    return ("incomplete", "attempt_incomplete", "user_found" if is_known else "user_unknown")


def _oldest(maker: Maker, document: Document) -> tuple[str, ...]:
    """Names of old, too."""
    for new, old in (("total_time_ms", "totalTime"), ("total_attempted", "attempted")):
        document[old] = document.pop(new)
    for attempt in document["problems_attempted"]:
        for new, old in (
            ("is_correct", "correct"),
            ("time_spent_ms", "time_spent"),
            ("attempt_timestamp", "timestamp"),
        ):
            attempt[old] = attempt.pop(new)
    return (*_old(maker, document), "old_name")


def _only(*reasons: str, **fields: Any) -> Recipe:
    """Fields set to a value, or made from the document by a function, or dropped where that is `...`."""

    def spoil(_maker: Maker, document: Document) -> tuple[str, ...]:
        _set(document, document, fields)
        return reasons

    return spoil


def _in_attempt(*reasons: str, **fields: Any) -> Recipe:
    """As `_only`, in the first attempt; the analytics of the document are those of the spoiled attempts."""

    def spoil(_maker: Maker, document: Document) -> tuple[str, ...]:
        _set(document["problems_attempted"][0], document, fields)
        return reasons

    return spoil


def _set(target: Document, document: Document, fields: Document) -> None:
    for name, value in fields.items():
        if value is ...:
            target.pop(name, None)
        else:
            target[name] = value(document) if callable(value) else value


def _poor(reason: str, number: int, *lacking: str) -> Recipe:
    """An attempt at a problem that does not know what the attempt lacks."""

    def spoil(maker: Maker, document: Document) -> tuple[str, ...]:
        attempt = maker.attempt({"contest_id": "AMC10A_2022", "problem_number": number, "difficulty": "hard"})
        for name in lacking:
            del attempt[name]
        document |= totals([*document["problems_attempted"], attempt])
        return (reason,)

    return spoil


def _reversed(_maker: Maker, document: Document) -> tuple[str, ...]:
    turned = dict(reversed(document.items()))
    document.clear()
    document.update(turned)
    return ("field_order",)


def _reversed_attempt(_maker: Maker, document: Document) -> tuple[str, ...]:
    document["problems_attempted"][-1] = dict(reversed(document["problems_attempted"][-1].items()))
    return ("attempt_order",)


def _nobody(*reasons: str, **fields: Any) -> Recipe:
    """A session of somebody who is no user."""

    def spoil(_maker: Maker, document: Document) -> tuple[str, ...]:
        document |= {"username": "somebody", "user_id": None} | fields
        return reasons

    return spoil


def _gone(maker: Maker, document: Document) -> tuple[str, ...]:
    document["user_id"] = str(maker.object_id(maker.now))
    return ("user_gone",)


def _slower(_maker: Maker, document: Document) -> tuple[str, ...]:
    ms = document["total_time_ms"] + 60_000
    document |= {
        "total_time_ms": ms, "total_time_seconds": round(ms / 1000, 2), "total_time_minutes": round(ms / 60_000, 2),
    }  # fmt: skip
    return ("times_differ",)


def _wrong_metrics(_maker: Maker, document: Document) -> tuple[str, ...]:
    metrics = document["performance_metrics"]
    document["performance_metrics"] = metrics | {"total_metrics": metrics["total_metrics"] | {"total_incorrect": 99}}
    return ("metrics_mismatch",)


def _more(name: str) -> Callable[[Document], Any]:
    return lambda document: document[name] + 1


_RECIPES: tuple[tuple[int, Recipe], ...] = (  # how many in 400 sessions
    (40, _old),
    (30, _oldest),
    (6, _only("incomplete", shuffle=...)),
    (4, _only("missing_field", year=...)),
    (3, _in_attempt("attempt_unusable", is_correct=...)),
    (2, _in_attempt("attempt_unusable", time_spent_ms=None)),
    (3, _in_attempt("attempt_gap", selected_answer=...)),
    (3, _poor("unknown_problem", _NO_PROBLEM, "correct_answer")),
    (2, _poor("missing_answer", _NO_ANSWER, "correct_answer")),
    (2, _poor("unknown_topic", _NO_TOPICS, "topics")),
    (8, _reversed),
    (5, _reversed_attempt),
    (5, _only("number_as_text", year="2022", score=lambda one: str(one["score"]))),
    (3, _in_attempt("number_as_text", time_spent_ms=lambda one: str(one["problems_attempted"][0]["time_spent_ms"]))),
    (5, _only("user_as_text", "user_found", user_id="None")),
    (4, _nobody("user_as_text", "user_unknown", user_id="null")),
    (2, _only("wrong_type", shuffle="yes")),
    (2, _only("wrong_type", score="three")),
    (2, _in_attempt("wrong_type", topics="Algebra")),
    (3, _only("two_values", totalTime=_more("total_time_ms"))),
    (5, _only("time_units", total_time_seconds=_more("total_time_seconds"))),
    (3, _only("attempts_differ", total_attempted=_more("total_attempted"))),
    (3, _slower),
    (2, _only("time_unknown", total_time_ms=..., total_time_seconds=_more("total_time_seconds"))),
    (5, _wrong_metrics),
    (5, _only("topic_mismatch", topic_performance={"Algebra": {"attempted": 1, "correct": 0, "accuracy": 0.0}})),
    (4, _only("difficulty_mismatch", difficulty_performance={})),
    (4, _only("score_differs", score=_more("score"))),
    (6, _only("completed_first", completed_at="2020-01-01T00:00:00Z")),
    (5, _only("user_found", user_id=None)),
    (4, _nobody("user_unknown")),
    (3, _gone),
)
_REPAIRED = {
    "incomplete", "old_name", "attempt_incomplete", "field_order", "attempt_order", "number_as_text", "user_as_text",
    "time_units", "metrics_mismatch", "topic_mismatch", "difficulty_mismatch", "user_found",
}  # fmt: skip


@dataclass
class _Garden:
    """Documents as they are planted, and which of them are spoiled how."""

    maker: Maker
    share: float
    documents: list[Any] = field(default_factory=list)
    ids: dict[str, list[str]] = field(default_factory=dict)
    repairable: int = 0

    def plant(self, recipe: Recipe | None = None) -> None:
        """A document, spoiled by a recipe."""
        document = self.maker.document()
        reasons = recipe(self.maker, document) if recipe else ()
        self._note(document["session_id"], reasons)
        self.documents.append(document)

    def plant_defects(self) -> None:
        for count, recipe in _RECIPES:
            for _ in self._times(count):
                self.plant(recipe)
        for _ in self._times(2):
            document = self.maker.document()
            self._note(document["session_id"], ("repeated_field",))
            self.documents.append(repeated(document, "mode"))

    def _note(self, session_id: str, reasons: tuple[str, ...]) -> None:
        for reason in reasons:
            self.ids.setdefault(reason, []).append(session_id)
        self.repairable += bool(_REPAIRED.intersection(reasons))

    def _times(self, count: int) -> range:
        return range(max(1, round(count * self.share)))


def repeated(document: Document, name: str) -> RawBSONDocument:
    """The document with one field twice: drivers do not make such documents, servers keep them."""
    body, again = bson.encode(document)[4:-1], bson.encode({name: document[name]})[4:-1]
    whole = body + again
    return RawBSONDocument((len(whole) + 5).to_bytes(4, "little") + whole + b"\0")
