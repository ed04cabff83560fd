"""The JSON Schema of a session: the committed file is current, repaired documents validate, others do not.

After a change that is meant:
SESSION_ASSETS_UPDATE_SNAPSHOT=1 .venv/bin/pytest -n 0 session_assets_tests/contest/test_document_schema.py
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from pymongo import MongoClient

from session_assets.contest.document_schema import document_schema
from session_assets.contest.model import ATTEMPT_FIELDS, FIELDS, TYPES_OF_ATTEMPT, TYPES_OF_SESSION, UPDATED
from session_assets.embedded.contest_truth import CATALOGUE, Maker
from session_assets.stores.bson_documents import encode, to_extended_json
from session_assets_tests.contest.scenario import Document, Slice
from session_assets_tests.contest.spoilers import generated
from session_assets_tests.counts import times

FILE = Path(__file__).parents[2] / "docs" / "schemas" / "contest_session.schema.json"
SCHEMA = document_schema()


def test_the_committed_schema_is_current() -> None:
    if os.environ.get("SESSION_ASSETS_UPDATE_SNAPSHOT"):
        FILE.write_text(json.dumps(SCHEMA, indent=2) + "\n")
    assert json.loads(FILE.read_text()) == SCHEMA
    Draft202012Validator.check_schema(SCHEMA)


def test_the_model_gives_a_type_to_every_field_in_order() -> None:
    assert tuple(TYPES_OF_SESSION) == (*FIELDS, UPDATED)
    assert tuple(TYPES_OF_ATTEMPT) == ATTEMPT_FIELDS


def test_every_repaired_document_validates(mongo_uri: str, tmp_path: Path) -> None:
    documents, _, users = generated(times(500, 2000), 7)
    with MongoClient[Document](mongo_uri) as client:
        database = client.get_default_database()
        database.problems.insert_many([*map(dict, CATALOGUE)])
        database.users.insert_many([{"_id": key, "username": name} for name, key in users.items()])
        database.sessions.insert_many(documents, ordered=False)
        contest = Slice.of(database, tmp_path)
        plan = contest.plan().plan
    repaired = [after for part in plan.parts for rows in contest.ledger.rows(part) for after in rows["after"].to_list()]
    assert len(repaired) > len(documents) / 2
    for after in repaired:
        assert errors_of(after) == []


@pytest.mark.parametrize(
    "spoil",
    [
        lambda one: one.pop("shuffle"),
        lambda one: one.update(totalTime=5),
        lambda one: one.update(score="3"),
        lambda one: one.update(user_id={"name": "x"}),
        lambda one: one.update(created_at=None),
        lambda one: one["problems_attempted"][0].update(is_correct="true"),
        lambda one: one["problems_attempted"][0].update(time_spent=5),
        lambda one: one["performance_metrics"]["speed_metrics"].pop("fastest_correct_time_ms"),
        lambda one: one["topic_performance"].update(Algebra={"attempted": 1.5, "correct": 1, "accuracy": 66.67}),
    ],
)
def test_what_does_not_conform_does_not_validate(spoil: Callable[[Document], Any]) -> None:
    document = right_document()
    assert errors_of(encode(document)) == []
    spoil(document)
    assert errors_of(encode(document)) != []


def right_document() -> Document:
    return Maker(datetime(2026, 5, 1, tzinfo=UTC), 1).document()


def errors_of(document: bytes) -> list[str]:
    value = json.loads(to_extended_json(document, relaxed=True))
    return [f"{error.json_path}: {error.message}" for error in Draft202012Validator(SCHEMA).iter_errors(value)]
