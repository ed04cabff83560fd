"""Which documents a run visits: each stands in one month, and a run of a month sees exactly those that stand in it."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pymongo
import pytest
from bson import ObjectId
from polars.testing import assert_frame_equal

from session_assets.selection import Selection
from session_assets.stores import contest_frames
from session_assets_tests.contest.scenario import Document, Slice
from session_assets_tests.contest.spoilers import generated

IN_MAY = ObjectId("6815f000" + "0" * 16)  # 2025-05-03
CREATED: dict[str, list[Any]] = {
    "2025-01-01": [
        datetime(2025, 1, 31, 23, 59, 59, 999000, tzinfo=UTC), "2024-12-31 23:59:59.999999", "0001-01-01 00:00:00",
        datetime(1970, 1, 1, tzinfo=UTC),
    ],
    "2025-02-01": [datetime(2025, 2, 1, tzinfo=UTC), "2025-02-01 00:00:00", "2025-01-31T23:30:00-01:00"],
    "2025-05-01": [None, 17, "soon", ["2025-02-03 00:00:00"], [datetime(2025, 2, 3, tzinfo=UTC)], {}, " 2025-05-31T23:00:00Z"],
    "2026-12-01": ["2026-12-31 00:00:00", "2031-01-01T00:00:00Z", datetime(2200, 1, 1, tzinfo=UTC)],
}  # fmt: skip


def visited(contest: Slice, selection: Selection) -> dict[Any, str]:
    """`_id` text → partition of each document that is read."""
    frames = contest.contest.buckets(selection, Path("unused"))
    return {key: partition for frame in frames for key, partition in frame.select("key", "partition").iter_rows()}


def test_documents_stand_in_the_month_of_created_at_else_of_their_id(mongo_uri: str, tmp_path: Path) -> None:
    sessions = pymongo.MongoClient[Document](mongo_uri).get_default_database().sessions
    expected: dict[str, str] = {}
    for month, values in CREATED.items():
        for value in values:
            key = ObjectId(IN_MAY.binary[:4] + len(expected).to_bytes(8))
            sessions.insert_one({"_id": key, "created_at": value})
            expected[f'{{"$oid":"{key}"}}'] = month
    contest = Slice.of(sessions.database, tmp_path)
    assert visited(contest, Selection()) == expected
    assert contest.contest.standing() == [*CREATED]
    for month in (*CREATED, "2025-03-01"):
        found = visited(contest, Selection(frozenset([month])))
        assert found == {key: one for key, one in expected.items() if one == month}


def test_the_months_together_see_each_document_once(mongo_uri: str, tmp_path: Path) -> None:
    database = pymongo.MongoClient[Document](mongo_uri).get_default_database()
    documents, _, _ = generated(1200, 5)
    database.sessions.insert_many(documents, ordered=False)
    contest = Slice.of(database, tmp_path)
    whole, parts = visited(contest, Selection()), dict[Any, str]()
    for month in contest.contest.standing():
        found = visited(contest, Selection(frozenset([month])))
        assert not parts.keys() & found.keys()
        parts |= found
    assert parts == whole and len(whole) == 1200


def test_months_of_a_run_keep_what_they_know_of_problems_and_users(mongo_uri: str, tmp_path: Path) -> None:
    """A problem that is known twice, differently, is not known; nor is a user whose name several have."""
    database = pymongo.MongoClient[Document](mongo_uri).get_default_database()
    documents, _, users = generated(1, 6)
    document = documents[0] | {"session_id": "x", "username": "solver1", "user_id": None}
    first = document["problems_attempted"][0]
    del first["difficulty"]
    database.sessions.insert_one(document)
    problem = {"contest_id": "AMC10A_2022", "problem_number": first["problem_number"], "topics": ["Algebra"]}
    database.problems.insert_many([problem | {"difficulty": level} for level in ("easy", "hard")])
    database.users.insert_many([{"username": "solver1"}, {"username": "solver1"}])
    tally = Slice.of(database, tmp_path).plan().tally
    assert {"unknown_problem", "user_unknown"} <= tally.total_reasons().keys()
    assert users and "attempt_incomplete" not in tally.total_reasons()


def test_the_facts_of_a_document_do_not_depend_on_how_the_wire_cuts_the_collection(
    mongo_uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = pymongo.MongoClient[Document](mongo_uri).get_default_database()
    documents, _, _ = generated(300, 6)
    database.sessions.insert_many(documents, ordered=False)
    contest = Slice.of(database, tmp_path).contest

    def facts() -> pl.DataFrame:
        return pl.concat(contest.buckets(Selection(), Path("unused"))).drop("row", strict=False)

    whole = facts()
    monkeypatch.setattr(contest_frames, "_IN_BATCH", 7)
    monkeypatch.setattr(contest_frames, "_TOGETHER", 3)
    assert_frame_equal(facts(), whole)
    assert whole.height == 300
