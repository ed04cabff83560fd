"""The same figures twice: facts in Polars, and an aggregation of MongoDB that shares no code with them.

The catalogue is MATH-500: other names of topics and levels than the seed's. Skipped where the public data is not there.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pymongo import MongoClient
from pymongo.database import Database

from session_assets.contest.model import FACT_COLUMNS
from session_assets.contest.recount import disagreements
from session_assets.selection import Selection
from session_assets.stores.mongo_contest_recounts import ContestRecounts
from session_assets_tests.contest.scenario import Slice
from session_assets_tests.counts import examples, times

Document = dict[str, Any]
MATH = Path(__file__).parents[3] / "shared" / "data" / "contest" / "math500.jsonl"
SIZE = 25


@pytest.fixture
def slice_(mongo_uri: str, tmp_path: Path) -> Iterator[Slice]:
    with MongoClient[Document](mongo_uri, tz_aware=True) as client:
        yield Slice.of(client.get_default_database(), tmp_path)


def recounts(database: Database[Document]) -> ContestRecounts:
    return ContestRecounts(database, "CONTEST_MONGO_URI")


def differences(slice_: Slice, folder: Path) -> tuple[int, pl.DataFrame]:
    """How many documents were compared, and every figure on which the two differ."""
    compared, found = 0, []
    for frame in slice_.contest.buckets(Selection(), folder):
        facts = frame.filter(pl.col("held").list.len() == 0)
        compared += facts.height
        found += [
            disagreements(facts.filter(pl.col("key").is_in(part["key"].implode())), part)
            for part in recounts(slice_.database).of(facts["key"])
        ]
    return compared, pl.concat(found)


@pytest.mark.skipif(not MATH.is_file(), reason=f"no public data at {MATH}")
def test_sessions_on_math_500_agree_on_every_figure(slice_: Slice, tmp_path: Path) -> None:
    problems = [json.loads(line) for line in MATH.read_text(encoding="utf-8").splitlines()]
    catalogue = [
        {
            "contest_id": f"MATH500{chr(ord('A') + place // SIZE)}_2024",
            "problem_number": place % SIZE + 1,
            "answer": one["answer"],
            "difficulty": f"Level {one['level']}",
            "topics": [one["subject"], *([one["subject"]] if place % 7 == 0 else []), one["unique_id"].split("/")[1]],
        }
        for place, one in enumerate(problems)
    ]
    slice_.database.problems.insert_many(catalogue)
    slice_.database.problems.create_index([("contest_id", 1), ("problem_number", 1)])
    rng = random.Random(500)
    count = times(400, 10_000)
    sessions = [session(rng, chr(ord("A") + rng.randrange(len(problems) // SIZE))) for _ in range(count)]
    slice_.database.sessions.insert_many(sessions)
    compared, found = differences(slice_, tmp_path)
    assert compared == count
    assert found.is_empty(), found
    counted = next(
        recounts(slice_.database).of(
            pl.concat([f.select("key") for f in slice_.contest.buckets(Selection(), tmp_path)])["key"]
        )
    )
    assert counted["topics_name"].list.len().max() >= 5  # pyright: ignore[reportOperatorIssue] - not all zeros


def session(rng: random.Random, letter: str) -> Document:
    """A session as some platform wrote it: old and new names, numbers as text, attempts complete or not, in any order."""
    numbers = rng.sample(range(1, SIZE + 3), rng.choice((0, 1, 5, SIZE)))  # 26 and 27 are no problems
    return {
        "session_id": f"{rng.getrandbits(64):x}",
        "session_status": "completed",
        "created_at": "2025-05-26 11:35:30.239000",
        "completed_at": "2025-05-26T11:35:30.214Z",
        "username": "goAmy",
        "year": rng.choice((2024, "2024", 2024.0)),
        "contest": f"MATH 500{letter}",
        "mode": "practice",
        "problems_attempted": [attempt(rng, number) for number in numbers],
    }


def attempt(rng: random.Random, number: int) -> Document:
    time = rng.choice((rng.randrange(300_000), str(rng.randrange(300_000)), rng.randrange(3_000) + 0.5, 5))
    result = {
        "problem_number": rng.choice((number, str(number), float(number))),
        rng.choice(("is_correct", "correct")): rng.random() < 0.4,
        rng.choice(("time_spent_ms", "time_spent")): time,
    }
    if rng.random() < 0.5:
        result["topics"] = rng.choice(
            ([], ["Algebra"], ["Algebra", "Algebra", "Counting & Probability"], ["a.b", "$c"])
        )
    if rng.random() < 0.5:
        result["difficulty"] = rng.choice((None, "", "Level 1", "hard"))
    return result


FLAGS = st.sampled_from([True, False])
TIMES = st.one_of(st.integers(0, 10**7), st.sampled_from(["0", "7426", "12.5"]), st.floats(0, 10**6, allow_nan=False))
TOPICS = st.lists(st.sampled_from(["Algebra", "Geometry", "", "é", "a.b"]), max_size=3)
ATTEMPTS = st.lists(
    st.fixed_dictionaries(
        {"problem_number": st.integers(1, 4), "is_correct": FLAGS, "time_spent_ms": TIMES},
        optional={"topics": TOPICS, "difficulty": st.sampled_from(["easy", "hard", "", None])},
    ),
    max_size=8,
)
PROBLEMS = st.lists(
    st.fixed_dictionaries(
        {"problem_number": st.integers(1, 4)},
        optional={
            "topics": st.one_of(TOPICS, st.just(["Algebra", None]), st.just("Algebra")),
            "difficulty": st.sampled_from(["easy", "", None, 3]),
            "answer": st.sampled_from(["", "A", None]),
            "correct_answer": st.sampled_from(["A", "B"]),
        },
    ),
    max_size=6,
)


@examples(6)
@given(sessions=st.lists(ATTEMPTS, min_size=1, max_size=4), problems=PROBLEMS)
def test_any_attempts_and_problems_agree(
    slice_: Slice, tmp_path: Path, sessions: list[list[Document]], problems: list[Document]
) -> None:
    rng = random.Random(1)
    slice_.database.problems.delete_many({})
    slice_.database.sessions.delete_many({})
    if problems:
        slice_.database.problems.insert_many([{"contest_id": "MATH500A_2024", **one} for one in problems])
    slice_.database.sessions.insert_many(
        [session(rng, "A") | {"problems_attempted": attempts} for attempts in sessions]
    )
    _, found = differences(slice_, tmp_path)
    assert found.is_empty(), found


def test_a_figure_that_differs_is_named_with_both_values(slice_: Slice, tmp_path: Path) -> None:
    slice_.database.sessions.insert_one(session(random.Random(3), "A") | {"problems_attempted": [
        {"problem_number": 1, "is_correct": True, "time_spent_ms": 7426, "topics": ["Algebra"], "difficulty": "easy"}
    ]})  # fmt: skip
    [frame] = slice_.contest.buckets(Selection(), tmp_path)
    [counted] = recounts(slice_.database).of(frame["key"])
    assert disagreements(frame, counted).is_empty()
    wrong = frame.with_columns(
        total_time_seconds=pl.lit(7.42),
        fastest_correct_ms=pl.lit(None, dtype=pl.Float64),
        topics=pl.lit(
            [{"name": "algebra", "attempted": 1, "correct": 1, "accuracy": 100.0}], dtype=FACT_COLUMNS["topics"]
        ),
    )
    assert disagreements(wrong, counted).select("figure", "facts", "recount").rows() == [
        ("fastest_correct_ms", None, "7426.0"),
        ("topics: Algebra", None, "1 attempted, 1 correct, 100.0 %"),
        ("topics: algebra", "1 attempted, 1 correct, 100.0 %", None),
        ("total_time_seconds", "7.42", "7.43"),
    ]


@pytest.mark.parametrize(("times", "figures"), [((0.1, 0.9), []), ((0.5, 0.5), []), ((1, 0), ["total_time_seconds"])])
def test_sums_of_fractions_may_differ_in_the_last_place(
    slice_: Slice, tmp_path: Path, times: tuple[float, float], figures: list[str]
) -> None:
    attempts = [{"problem_number": 1, "is_correct": True, "time_spent_ms": time} for time in times]
    slice_.database.sessions.insert_one(session(random.Random(3), "A") | {"problems_attempted": attempts})
    [frame] = slice_.contest.buckets(Selection(), tmp_path)
    [counted] = recounts(slice_.database).of(frame["key"])
    other = counted.with_columns(pl.col("total_time_seconds") + 0.01)
    assert disagreements(frame, other)["figure"].to_list() == figures


def test_a_document_that_is_gone_is_missed(slice_: Slice, tmp_path: Path) -> None:
    slice_.database.sessions.insert_one(session(random.Random(3), "A"))
    [frame] = slice_.contest.buckets(Selection(), tmp_path)
    slice_.database.sessions.delete_many({})
    [counted] = recounts(slice_.database).of(frame["key"])
    assert disagreements(frame, counted)["figure"].to_list() == ["key"]
    assert recounts(slice_.database).unchanged(frame).is_empty()
