"""Documents of nearly 16 MiB: what the repair would make too large is quarantined, and the others finish."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import bson
import pymongo

from session_assets.contest.model import LARGEST
from session_assets.embedded.contest_truth import CATALOGUE, Maker
from session_assets.stores.bson_documents import id_value
from session_assets_tests.contest.scenario import Document, Slice, faults, reasons_of


def test_a_document_that_would_be_too_large_is_quarantined_and_the_others_finish(
    mongo_uri: str, tmp_path: Path
) -> None:
    maker = Maker(datetime(2026, 3, 1, tzinfo=UTC), 1)
    documents = [old(maker) for _ in range(5)]
    grow(documents[1], LARGEST - 500)
    grow(documents[3], LARGEST - 50_000)
    database = pymongo.MongoClient[Document](mongo_uri).get_default_database()
    database.problems.insert_many([*map(dict, CATALOGUE)])
    database.sessions.insert_many(documents)
    contest = Slice.of(database, tmp_path)
    before = contest.now()
    planned = contest.plan()
    held = {key: some for key, some in reasons_of(planned).items() if "too_large" in some}
    assert {id_value(before[key]): some for key, some in held.items()} == {documents[1]["_id"]: {"too_large"}}
    report = contest.apply(planned.plan)
    assert dict(report.totals().counts) == {"applied": 4}, report.totals().errors
    after = contest.now()
    (large,) = held
    assert after[large] == before[large]
    assert [faults(bson.decode(one), {}) for key, one in after.items() if key != large] == [[]] * 4
    assert contest.plan().plan.rows == 0
    contest.revert(planned.plan)
    assert contest.now() == before


def old(maker: Maker) -> Document:
    document = maker.document(maker.attempts(20), "nobody")
    for name in ("shuffle", "topic_performance", "difficulty_performance", "performance_metrics"):
        del document[name]
    return document


def grow(document: Document, size: int) -> None:
    """Let a document have a number of bytes."""
    document["recording"] = b""
    document["recording"] = bytes(size - len(bson.encode(document)))
