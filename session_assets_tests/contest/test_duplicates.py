"""Several documents with one session_id are found wherever they are, each one counted, and none is touched for it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest
from pymongo import MongoClient

from session_assets.embedded.contest_truth import CATALOGUE, Maker
from session_assets.selection import Selection
from session_assets_tests.contest.scenario import Document, Slice, reasons_of

TWICE = "duplicate_session"


@pytest.fixture
def slice_(mongo_uri: str, tmp_path: Path) -> Iterator[Slice]:
    with MongoClient[Document](mongo_uri, tz_aware=True) as client:
        yield Slice.of(client.get_default_database(), tmp_path)


def fill(slice_: Slice) -> list[Document]:
    """Forty documents: three of one id in different months, two of another, and ids that are none."""
    maker = Maker(datetime(2026, 3, 1, tzinfo=UTC), 7)
    documents = [maker.document() for _ in range(40)]
    for place, month in enumerate((1, 2, 6)):
        documents[place] |= {
            "session_id": "three",
            "created_at": datetime(2025, month, 3, tzinfo=UTC),
            "completed_at": None,
        }
    for place in (3, 4):
        documents[place] |= {"session_id": "two", "username": "solver1", "user_id": str(maker.users["solver1"])}
    del documents[4]["shuffle"]
    for place, nothing in zip(range(5, 11), ("", "", None, None, ["three"], ["three"]), strict=True):
        documents[place]["session_id"] = nothing
    slice_.database.problems.insert_many([*map(dict, CATALOGUE)])
    slice_.database.users.insert_many([{"_id": key, "username": name} for name, key in maker.users.items()])
    slice_.database.sessions.insert_many(documents)
    return documents


@pytest.mark.parametrize("with_index", [False, True])
def test_each_document_of_a_repeated_id_is_listed(slice_: Slice, with_index: bool) -> None:
    documents = fill(slice_)
    if with_index:
        slice_.database.sessions.create_index("session_id")
    planned = slice_.plan()
    listed = {key for key, reasons in reasons_of(planned).items() if TWICE in reasons}
    assert listed == {f'{{"$oid":"{one["_id"]}"}}' for one in documents[:5]}
    assert planned.tally.total_reasons()[TWICE] == 5
    assert planned.plan.rows == 1  # what else is wrong with one of them is repaired
    found = pl.read_parquet(Path(planned.lists[TWICE]) / "*.parquet")
    assert sorted(found["id"]) == ["three"] * 3 + ["two"] * 2


def test_another_one_in_a_month_that_is_not_looked_at_counts(slice_: Slice) -> None:
    fill(slice_)
    month = slice_.plan(Selection(frozenset(["2025-02-01"])))
    assert month.tally.total_reasons()[TWICE] == 1
    assert slice_.plan(Selection(sessions=("three",))).tally.total_reasons()[TWICE] == 3
    slice_.database.sessions.update_one({"session_id": "three"}, {"$set": {"username": "alone"}})
    assert slice_.plan(Selection(usernames=("alone",))).tally.total_reasons()[TWICE] == 1


def test_a_session_id_of_no_letters_is_none(slice_: Slice) -> None:
    fill(slice_)
    reasons = slice_.plan().tally.total_reasons()
    assert (reasons["missing_field"], reasons["wrong_type"]) == (4, 2)
