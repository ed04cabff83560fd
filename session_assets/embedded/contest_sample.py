"""Sample contest sessions with known, counted defects: what `verify` finds can be held against what was planted.

The truth is known by construction: a right document is made first (`contest_truth`), and a recipe then spoils it in a known way.
Shapes: seed S5 and its fact sheet.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import bson
import pymongo
from bson.raw_bson import RawBSONDocument
from pymongo.database import Database

from session_assets.contest.model import PROBLEMS, SESSIONS, USERS
from session_assets.embedded.contest_truth import CATALOGUE, Document, Maker, totals

SEED_CORRECT = (2, 3, 13)
"""Problems that the seed's user solved, so that its published figures come out: Algebra 2, Geometry 1; easy 2, medium 1."""
_NO_ANSWER, _NO_TOPICS, _NO_PROBLEM = 26, 27, 99
_FEWEST = 100


@dataclass(frozen=True)
class Planted:
    """What was planted. `ids`: for each reason the session ids as verify lists them, sorted."""

    sessions: int
    repairable: int
    ids: dict[str, list[str]]


def replant(uri: str, *, now: datetime, sessions: int = 500, seed: int = 1) -> Planted:
    """Drop the database that the URI names, and plant it anew."""
    with pymongo.MongoClient[Document](uri, tz_aware=True) as client:
        database = client.get_default_database()
        client.drop_database(database.name)
        return plant(database, now=now, sessions=sessions, seed=seed)


def plant(database: Database[Document], *, now: datetime, sessions: int = 500, seed: int = 1) -> Planted:
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


def _forgotten(maker: Maker, document: Document) -> tuple[str, ...]:
    """An attempt whose topics were counted, and that has lost them, as its problem has."""
    attempt = maker.attempt({"contest_id": "AMC10A_2022", "problem_number": _NO_PROBLEM, "difficulty": "hard"})
    document |= totals([*document["problems_attempted"], attempt])
    del attempt["topics"]
    return ("would_shrink", "unknown_problem")


def _cut(_maker: Maker, document: Document) -> tuple[str, ...]:
    """All attempts but two are gone; what was counted from them is there."""
    left = document["problems_attempted"] = document["problems_attempted"][:2]
    is_less = sum(one["is_correct"] for one in left) < document["score"]
    return ("would_shrink", "attempts_differ", "times_differ", *(["score_differs"] if is_less else []))


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
    (1, _only("wrong_type", shuffle="yes")),  # these four and a repeated field are what verify allows: 1 % of 500
    (1, _only("wrong_type", score="three")),
    (1, _in_attempt("wrong_type", topics="Algebra")),
    (1, _only("two_values", totalTime=_more("total_time_ms"))),
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
    (3, _cut),
    (2, _forgotten),
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
        for _ in self._times(1):
            document = self.maker.document()
            self._note(document["session_id"], ("repeated_field",))
            self.documents.append(repeated(document, "mode"))
        for _ in self._times(2):
            first, second = self.maker.document(), self.maker.document()
            second["session_id"] = first["session_id"]
            for document in (first, second):
                self._note(document["session_id"], ("duplicate_session",))
                self.documents.append(document)

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
