"""Contest sessions in any number: some thousand made, then repeated as bytes under ids of their own."""

from __future__ import annotations

import random
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import bson
from bson.raw_bson import RawBSONDocument
from pymongo.database import Database

from bench.contest_loops import enhanced

ATTEMPTS = 25
_MADE, _BATCH = 4000, 2000
_CONTESTS = [(f"AMC {level}{version}", year) for level in (8, 10, 12) for version in "AB" for year in range(2016, 2024)]
_TOPICS = [f"Topic {number:02d} of the catalogue" for number in range(30)]
_LEVELS = ["easy"] * 10 + ["medium"] * 10 + ["hard"] * 5
_SESSION_ID = b"\x02session_id\x00\x25\x00\x00\x00"
_START = datetime(2024, 6, 1, tzinfo=UTC)


def plant(db: Database[Any], sessions: int, *, old: float) -> None:
    """Fill `problems`, `users` and `sessions`. `old` is the share of documents from before the enhanced structure."""
    rng = random.Random(5)
    problems = [
        _problem(rng, contest, year, number) for contest, year in _CONTESTS for number in range(1, ATTEMPTS + 1)
    ]
    db.problems.insert_many(problems)
    db.problems.create_index([("contest_id", 1), ("problem_number", 1)])
    users = [{"_id": bson.ObjectId(), "username": f"user{number:04d}"} for number in range(2000)]
    db.users.insert_many(users)
    db.users.create_index("username")
    known = {(one["contest_id"], one["problem_number"]): one for one in problems}
    ids = {one["username"]: one["_id"] for one in users}
    made = []
    for number in range(min(_MADE, sessions)):
        document = _session(rng)
        if number >= old * _MADE:
            document = enhanced(document, known, ids) | {"updated_at": datetime.now(UTC)}
        made.append(bson.encode({"_id": bson.ObjectId()} | document))
    raw = db.get_collection("sessions", codec_options=db.codec_options.with_options(document_class=RawBSONDocument))
    batch: list[RawBSONDocument] = []
    for document in _repeated(rng, made, sessions):
        batch.append(RawBSONDocument(document))
        if len(batch) == _BATCH:
            raw.insert_many(batch, ordered=False)
            batch = []
    if batch:
        raw.insert_many(batch, ordered=False)


def _repeated(rng: random.Random, made: list[bytes], count: int) -> Iterator[bytes]:
    order = list(range(len(made)))
    for number in range(count):
        if number % len(made) == 0:
            rng.shuffle(order)
        document = made[order[number % len(made)]]
        assert document[21 : 21 + len(_SESSION_ID)] == _SESSION_ID
        start = 21 + len(_SESSION_ID)
        name = str(uuid.UUID(int=rng.getrandbits(128), version=4)).encode()
        yield document[:9] + bson.ObjectId().binary + document[21:start] + name + document[start + 36 :]


def _problem(rng: random.Random, contest: str, year: int, number: int) -> dict[str, Any]:
    return {
        "contest_id": f"{contest.replace(' ', '')}_{year}",
        "problem_number": number,
        "problem_text": "x" * 300,
        "correct_answer": f"{rng.choice('ABCDE')}) ${rng.randrange(1000)}$",
        "solution": "y" * 900,
        "difficulty": _LEVELS[number - 1],
        "topics": rng.sample(_TOPICS, rng.choice((1, 2, 2, 3))),
    }


def _session(rng: random.Random) -> dict[str, Any]:
    contest, year = rng.choice(_CONTESTS)
    begin = _START + timedelta(seconds=rng.randrange(500 * 86400), milliseconds=rng.randrange(1000))
    attempts = [_attempt(rng, contest, year, number, begin) for number in range(1, ATTEMPTS + 1)]
    ms = sum(one["time_spent_ms"] for one in attempts)
    return {
        "session_id": str(uuid.uuid4()),
        "session_status": "completed",
        "created_at": rng.choice((begin, f"{begin:%Y-%m-%d %H:%M:%S.%f}")),
        "completed_at": f"{begin + timedelta(milliseconds=ms):%Y-%m-%dT%H:%M:%S.000Z}",
        "username": f"user{rng.randrange(2000):04d}",
        "year": year,
        "contest": contest,
        "mode": rng.choice(("contest", "practice")),
        "score": sum(one["is_correct"] for one in attempts),
        "total_attempted": len(attempts),
        "problems_attempted": attempts,
        "total_time_ms": ms,
        "total_time_seconds": round(ms / 1000, 2),
        "total_time_minutes": round(ms / 60000, 2),
    }


def _attempt(rng: random.Random, contest: str, year: int, number: int, begin: datetime) -> dict[str, Any]:
    ms = rng.randrange(200, 240_000)
    return {
        "problem_number": number,
        "problem_id": f"{contest.replace(' ', '')}_{year}_{number}",
        "is_correct": rng.random() < 0.4,
        "selected_answer": f"{rng.choice('ABCDE')}) ${rng.randrange(1000)}$",
        "time_spent_ms": ms,
        "time_spent_seconds": round(ms / 1000, 2),
        "attempt_timestamp": f"{begin + timedelta(minutes=number):%Y-%m-%dT%H:%M:%S.000Z}",
    }
