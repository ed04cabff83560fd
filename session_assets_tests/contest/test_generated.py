"""2,000 old documents: each ends conforming or is quarantined with a reason, none loses a value, and all of it can be undone."""

from __future__ import annotations

from pathlib import Path

import bson
import pymongo
import pytest

from session_assets.contest.model import HELD
from session_assets.embedded.contest_truth import CATALOGUE
from session_assets.stores.bson_documents import id_value
from session_assets_tests.contest.scenario import Document, Slice, faults, is_recounted, is_short, lost, reasons_of
from session_assets_tests.contest.spoilers import SPOILERS, generated
from session_assets_tests.counts import times

COUNT, SHRINK = 2000, "would_shrink"


@pytest.mark.parametrize("seed", range(times(1, 10)))
def test_each_document_ends_conforming_or_quarantined_and_all_can_be_undone(
    mongo_uri: str, tmp_path: Path, seed: int
) -> None:
    documents, must_be_held, users = generated(COUNT, seed)
    assert len(SPOILERS) < COUNT / 5
    database = pymongo.MongoClient[Document](mongo_uri).get_default_database()
    database.problems.insert_many([*map(dict, CATALOGUE)])
    database.users.insert_many([{"_id": key, "username": name} for name, key in users.items()])
    database.sessions.insert_many(documents, ordered=False)
    contest = Slice.of(database, tmp_path)
    before = contest.now()

    planned = contest.plan()
    reasons = reasons_of(planned)
    held = {key for key, some in reasons.items() if some & {*HELD}}
    shrinking = {key for key, some in reasons.items() if SHRINK in some}
    assert {id_value(before[key]) for key in held - shrinking} == must_be_held
    others = {key: bson.decode(one) for key, one in before.items() if key not in held or key in shrinking}
    short = {key for key, document in others.items() if is_short(document)}
    assert shrinking <= short and len(shrinking) > 10
    assert sum(planned.tally.reads.values()) == COUNT
    report = contest.apply(planned.plan)
    assert report.totals().counts["applied"] == planned.plan.rows > COUNT / 2

    after = contest.now()
    assert {key for key in before if after[key] == before[key]} >= held
    wrong = {key: faults(bson.decode(after[key]), users) for key in after.keys() - held}
    assert {key: why for key, why in wrong.items() if why} == {}
    assert {key: names for key in after.keys() - held if (names := lost(before[key], after[key]))} == {}

    assert [key for key in short - held if is_recounted(others[key], bson.decode(after[key]))] == []

    again = contest.plan()
    assert again.plan.rows == 0
    assert {key for key, some in reasons_of(again).items() if some & {*HELD}} == held

    assert contest.revert(planned.plan).undoable == planned.plan.rows
    assert contest.now() == before
