"""Facts against the recount of MongoDB over a collection in use, and the indexes that look-ups need."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from pymongo import MongoClient
from pymongo.database import Database

from session_assets.contest.recount import REASON
from session_assets.contest.recounting import recount
from session_assets.embedded.contest_sample import plant
from session_assets.selection import Selection
from session_assets.stores.mongo_contest_indexes import NEEDED, create_contest_indexes, missing_contest_indexes
from session_assets.stores.mongo_contest_recounts import ContestRecounts
from session_assets_tests.contest.scenario import Slice

Document = dict[str, Any]
VARIABLE = "CONTEST_MONGO_URI"


@pytest.fixture
def slice_(mongo_uri: str, tmp_path: Path) -> Iterator[Slice]:
    with MongoClient[Document](mongo_uri, tz_aware=True) as client:
        yield Slice.of(client.get_default_database(), tmp_path)


class Otherwise(ContestRecounts):
    """Counts one correct attempt more than there are; where `changes` is set, while somebody writes to the document."""

    def __init__(self, database: Database[Any], session_id: str, *, changes: bool = False) -> None:
        super().__init__(database, VARIABLE)
        self._database, self._session_id, self._changes = database, session_id, changes

    def of(self, keys: pl.Series) -> Iterator[pl.DataFrame]:
        if self._changes:
            self._database.sessions.update_one({"session_id": self._session_id}, {"$set": {"seen": 1}})
        known = self._database.sessions.find_one({"session_id": self._session_id})
        assert known is not None
        key = f'{{"$oid":"{known["_id"]}"}}'
        for frame in super().of(keys):
            yield frame.with_columns(total_correct=pl.col("total_correct") + (pl.col("key") == key).cast(pl.Float64))


def test_the_sample_with_all_its_defects_is_confirmed(slice_: Slice) -> None:
    plant(slice_.database, now=datetime(2026, 5, 1, tzinfo=UTC))
    tally, lists = recount(slice_.contest, ContestRecounts(slice_.database, VARIABLE), Selection(), "run")
    assert (sum(tally.reads.values()), tally.total_reasons(), lists) == (500, {}, {})


def test_what_is_not_confirmed_is_listed_with_both_figures(slice_: Slice, tmp_path: Path) -> None:
    plant(slice_.database, now=datetime(2026, 5, 1, tzinfo=UTC), sessions=100)
    session_id = one_with_facts(slice_, tmp_path)
    tally, lists = recount(slice_.contest, Otherwise(slice_.database, session_id), Selection(), "run")
    assert tally.total_reasons() == {REASON: 1}
    [row] = pl.read_parquet(Path(lists[REASON]) / "*.parquet").rows(named=True)
    assert row["id"] == session_id
    assert row["stored"].startswith("total_correct: ")
    assert row["stored"] != row["expected"]


def test_a_document_that_changes_between_the_looks_says_nothing(slice_: Slice, tmp_path: Path) -> None:
    plant(slice_.database, now=datetime(2026, 5, 1, tzinfo=UTC), sessions=100)
    session_id = one_with_facts(slice_, tmp_path)
    other = Otherwise(slice_.database, session_id, changes=True)
    assert recount(slice_.contest, other, Selection(), "run")[0].total_reasons() == {}


def test_missing_indexes_are_named_until_they_are_created(slice_: Slice) -> None:
    plant(slice_.database, now=datetime(2026, 5, 1, tzinfo=UTC), sessions=100)
    slice_.database.users.create_index([("username", 1), ("_id", 1)])  # leads with what is needed
    missing = missing_contest_indexes(slice_.database, VARIABLE)
    assert missing == [
        "problems(contest_id, problem_number)",
        "sessions(session_id)",
        "sessions(username)",
        "sessions(created_at)",
    ]
    assert len(create_contest_indexes(slice_.database, VARIABLE)) == len(NEEDED)
    assert create_contest_indexes(slice_.database, VARIABLE)
    assert missing_contest_indexes(slice_.database, VARIABLE) == []


def one_with_facts(slice_: Slice, folder: Path) -> str:
    """The session id of a document that is not quarantined."""
    [frame] = slice_.contest.buckets(Selection(), folder)
    facts = frame.filter((pl.col("held").list.len() == 0) & pl.col("session_id").is_unique())
    return facts["session_id"][0]
