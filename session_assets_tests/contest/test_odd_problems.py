"""Problems that say something odd, and times beyond all counts: one such document stops nobody, and both counts agree on it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from pymongo import MongoClient

from session_assets.contest.recounting import recount
from session_assets.embedded.contest_sample import seed_session
from session_assets.embedded.contest_truth import CATALOGUE, Maker
from session_assets.selection import Selection
from session_assets.stores.mongo_contest_recounts import ContestRecounts
from session_assets_tests.contest.scenario import Document, Slice


@pytest.fixture
def slice_(mongo_uri: str, tmp_path: Path) -> Iterator[Slice]:
    with MongoClient[Document](mongo_uri, tz_aware=True) as client:
        yield Slice.of(client.get_default_database(), tmp_path)


def reasons(slice_: Slice, documents: list[Document]) -> dict[str, int]:
    """What is found in some documents and a right one; the recount agrees on all of them."""
    maker = Maker(datetime(2026, 3, 1, tzinfo=UTC), 7)
    slice_.database.users.insert_many([{"_id": key, "username": name} for name, key in maker.users.items()])
    slice_.database.sessions.insert_many([*documents, maker.document()])
    planned = slice_.plan()
    assert sum(planned.tally.total_classes().values()) == len(documents) + 1
    assert recount(slice_.contest, ContestRecounts(slice_.database, "V"), Selection(), "run")[0].total_reasons() == {}
    return planned.tally.total_reasons()


def lacking(name: str) -> Document:
    """A right document, but for what its attempts lack."""
    maker = Maker(datetime(2026, 3, 1, tzinfo=UTC), 8)
    document = maker.document(maker.attempts(5), "solver1")
    for attempt in document["problems_attempted"]:
        del attempt[name]
    metrics = document["performance_metrics"]
    if name == "difficulty":
        metrics["difficulty_metrics"] = document["difficulty_performance"] = {}
    else:
        metrics["topic_metrics"] = document["topic_performance"] = {}
    return document | {"user_id": "gone"}


@pytest.mark.parametrize(
    ("name", "value"), [("topics", ["Algebra", "Geo\0metry"]), ("difficulty", "ha\0rd"), ("topics", ["\0"])]
)
def test_names_with_a_nul_are_not_known(slice_: Slice, name: str, value: Any) -> None:
    slice_.database.problems.insert_many([problem | {name: value} for problem in CATALOGUE])
    assert reasons(slice_, [lacking(name)]) == {"unknown_topic": 1, "user_gone": 1}


def test_problems_that_belong_to_several_contests_are_not_known_to_either_count(slice_: Slice) -> None:
    several = ["AMC10A_2022", "AMC12A_2022"]
    slice_.database.problems.insert_many([problem | {"contest_id": several} for problem in CATALOGUE])
    assert reasons(slice_, [lacking("topics")]) == {"unknown_contest": 1, "user_gone": 1}


@pytest.mark.parametrize("change", [{"contest_id": 2022}, {"problem_number": "1"}, {"contest_id": None}])
def test_problems_of_types_that_nobody_understands_are_no_evidence(slice_: Slice, change: Document) -> None:
    slice_.database.problems.insert_many([problem | change for problem in CATALOGUE])
    slice_.database.sessions.insert_one(seed_session())
    tally = slice_.plan().tally
    assert (tally.total_reasons()["would_shrink"], tally.total_reasons()["unknown_contest"]) == (1, 1)
    assert (tally.all_figures().judged, tally.unmatched) == (1, 1)
    slice_.database.problems.insert_many([*map(dict, CATALOGUE)])
    again = slice_.plan()
    assert (again.plan.rows, again.tally.unmatched) == (1, 0)


def test_times_beyond_what_whole_numbers_hold(slice_: Slice) -> None:
    maker = Maker(datetime(2026, 3, 1, tzinfo=UTC), 8)
    document = maker.document(maker.attempts(3), "solver1")
    document["problems_attempted"] = [maker.attempt(CATALOGUE[0], ms=2**53)] * 1100
    assert reasons(slice_, [document])["metrics_mismatch"] == 1
