"""What a change does to a document, in words: changed values only, also deep inside, and never a page of JSON."""

from __future__ import annotations

import time
from typing import Any

import bson
import polars as pl
import pytest

from session_assets.changes.change_set import conform
from session_assets.graph.markdown import plain
from session_assets.graph.preview import preview_changes


def preview(before: dict[str, Any], after: dict[str, Any], op: str = "replace") -> str:
    rows = conform(
        pl.DataFrame(
            {"partition": "p", "key": "1", "op": op, "before": bson.encode(before), "after": bson.encode(after)},
        )
    )
    return plain(preview_changes(rows).splitlines()[-1].split(" | ")[-1].removesuffix(" |"))


def test_values_inside_attempts_are_told_by_their_path() -> None:
    before = {"_id": 1, "attempts": [{"correct": True}, {"answer": "B"}], "score": "3"}
    after = {"_id": 1, "attempts": [{"is_correct": True}, {"answer": "B"}], "score": 3}
    assert preview(before, after) == (
        'attempts.0.is_correct: missing → true; attempts.0.correct: true → missing; score: "3" → 3'
    )


def test_a_new_document_is_told_by_its_size() -> None:
    assert preview({"_id": 1}, {"_id": 1, "topics": {"a": 1, "b": 2}}) == "topics: missing → 2 fields"


def test_a_change_of_order_alone_is_told() -> None:
    assert preview({"_id": 1, "a": 1, "b": 2}, {"_id": 1, "b": 2, "a": 1}) == "the order of fields"


def test_an_update_tells_only_what_it_touches() -> None:
    assert preview({"_id": 1, "pages": ["/a"], "n": 1}, {"pages": ["/a", "/b"]}, "update") == (
        'pages: ["/a"] → ["/a", "/b"]'
    )


def test_many_changes_are_cut_short() -> None:
    told = preview({"_id": 1}, {"_id": 1, **{f"f{number}": number for number in range(20)}})
    assert told.count("missing") == 8 and told.endswith("; …")


@pytest.mark.parametrize(
    ("pages", "start"),
    [
        (["/" + "a" * 7_000_000, *["/b"] * 200_000], 'pages: ["/aaaa'),
        ("mary.poppins" * 1_200_000, 'pages: "mary.poppins'),
        ([f"/page/{number}" for number in range(600_000)], 'pages: ["/page/0", "/page/1", '),
    ],
)
def test_a_value_of_megabytes_is_cut_before_it_is_looked_at(pages: Any, start: str) -> None:
    after = {"_id": 1, "pages": pages}
    began = time.process_time()
    told = preview({"_id": 1, "pages": None}, after)
    assert told.startswith(start.replace(": ", ": null → ", 1)) and told.endswith("…") and len(told) <= 300
    assert time.process_time() - began < 5
