"""Contest sessions as they should be, worked out in plain Python: nothing here asks `contest.facts`. Nobody in here exists."""

from __future__ import annotations

import json
import random
import uuid
from collections.abc import Iterable
from datetime import datetime, timedelta
from importlib.resources import files
from typing import Any

from bson import ObjectId

Document = dict[str, Any]

CATALOGUE: list[Document] = json.loads(
    (files("session_assets.embedded") / "contest_problems.json").read_text(encoding="utf-8")
)
"""The 25 problems of AMC 10A 2022: contest, number, answer, difficulty, topics."""
_SPAN_DAYS, _PEOPLE = 150, 40
_CHANGE = timedelta(days=60)  # the application wrote dates as text, then as dates


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
