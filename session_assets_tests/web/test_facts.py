"""Facts and classes of sessions, against rules worked out one by one in plain Python."""

from __future__ import annotations

import random
from datetime import UTC, date, datetime
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from session_assets.changes.outcomes import CLASSES
from session_assets.web.facts import classify, partition_keys, session_facts
from session_assets.web.model import FACT_COLUMNS, REASON, Fix
from session_assets_tests.counts import examples
from session_assets_tests.web.scenario import (
    MOMENTS,
    NOW,
    SETTLE_MINUTES,
    Facts,
    events,
    events_frame,
    facts_of,
    judge,
    repaired,
    sessions,
    sessions_frame,
)


@examples(200)
@given(rows=events(), seed=st.integers(0, 9))
def test_facts_are_those_of_plain_counting_in_any_order(rows: list[dict[str, Any]], seed: int) -> None:
    shuffled = random.Random(seed).sample(rows, len(rows))
    facts = session_facts(events_frame(shuffled))
    assert facts.schema == FACT_COLUMNS
    found = {row[0]: Facts(*_in_order(row)) for row in facts.iter_rows()}
    assert facts.height == len(found)
    assert found == facts_of(rows)


@examples(200)
@given(st.data())
def test_each_document_is_in_the_one_class_that_the_rules_give(data: st.DataObject) -> None:
    rows = data.draw(events())
    facts = facts_of(rows)
    documents = data.draw(sessions(facts))
    allow_shrink = data.draw(st.booleans())
    classified = _classified(documents, rows, allow_shrink=allow_shrink)
    assert classified["key"].sort().to_list() == sorted(document["key"] for document in documents)
    for row in classified.iter_rows(named=True):
        document = next(document for document in documents if document["key"] == row["key"])
        expected = judge(document, documents, facts, allow_shrink=allow_shrink)
        assert (row["class"], row["reasons"], row["notes"]) == (expected.name, expected.reasons, expected.notes)
        assert row["class"] in CLASSES
        assert all(name in REASON for name in [*row["reasons"], *row["notes"]])
        assert bool(row["reasons"]) == (row["class"] != "unchanged")
        fixes = {REASON[name].fix for name in row["reasons"]}
        assert (
            fixes
            <= {
                "planned": {Fix.REPAIR},
                "listed": {Fix.LISTED, Fix.FOLD},
                "unsettled": {Fix.WAIT},
                "unchanged": set[Fix](),
            }[row["class"]]
        )


@examples(100)
@given(st.data())
def test_a_planned_repair_leaves_nothing_to_repair(data: st.DataObject) -> None:
    rows = data.draw(events())
    facts = facts_of(rows)
    documents = data.draw(sessions(facts))
    planned = set(_classified(documents, rows).filter(pl.col("class") == "planned")["key"])
    after = [repaired(one, facts[one["session_id"]]) if one["key"] in planned else one for one in documents]
    again = _classified(after, rows).filter(pl.col("key").is_in(list(planned)))
    for row in again.iter_rows(named=True):
        assert row["class"] == "unchanged" or (row["class"] == "listed" and set(row["reasons"]) <= {
            "ambiguous_user", "ambiguous_client"
        })  # fmt: skip


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        ({"first_event_at": datetime(2025, 5, 3, 23, 59, 59, 999000, tzinfo=UTC)}, "2025-05-03"),
        ({"created_at": datetime(2025, 5, 4, tzinfo=UTC)}, "2025-05-04"),
        ({"first_event_at": datetime(2025, 5, 5, tzinfo=UTC), "created_at": MOMENTS[0]}, "2025-05-05"),
        ({"key": '{"$oid":"6820000000000000000000aa"}'}, "2025-05-11"),
        ({"key": '{"$oid":"ffffffff0000000000000000"}'}, "2025-06-02"),
        ({"key": '"6820000000000000000000aa"'}, "2025-05-01"),
        ({"key": '"{\\"$oid\\":\\"6820000000000000000000aa\\"}"'}, "2025-05-01"),
        ({"key": '{"$numberInt":"5"}'}, "2025-05-01"),
        ({"key": None}, "2025-05-01"),
        ({"first_event_at": datetime(2024, 1, 1, tzinfo=UTC)}, "2025-05-01"),
        ({"first_event_at": datetime(1, 1, 1, tzinfo=UTC)}, "2025-05-01"),
        ({"first_event_at": datetime(9999, 12, 31, tzinfo=UTC)}, "2025-06-02"),
    ],
    ids=str,
)
def test_a_document_stands_in_the_day_of_its_first_date(document: dict[str, Any], expected: str) -> None:
    schema = {"first_event_at": pl.Datetime("ms", "UTC"), "created_at": pl.Datetime("ms", "UTC"), "key": pl.String}
    frame = pl.DataFrame([dict.fromkeys(schema) | document], schema=schema)
    assert partition_keys(frame, date(2025, 5, 1), date(2025, 6, 2)).to_list() == [expected]


@given(st.lists(st.datetimes(datetime(1, 1, 1), datetime(9999, 12, 31)), max_size=5))
def test_every_date_has_a_partition_in_reach(moments: list[datetime]) -> None:
    frame = pl.DataFrame(
        {"first_event_at": pl.Series(moments, dtype=pl.Datetime("ms")).dt.replace_time_zone("UTC")}
    ).with_columns(created_at=pl.lit(None, pl.Datetime("ms", "UTC")), key=pl.lit(None, pl.String))
    keys = partition_keys(frame, date(2025, 5, 1), date(2025, 6, 2))
    days = [min(max(moment.date(), date(2025, 5, 1)), date(2025, 6, 2)) for moment in moments]
    assert keys.to_list() == [day.isoformat() for day in days]


def test_an_empty_collection_has_no_facts_and_no_classes() -> None:
    assert session_facts(events_frame([])).is_empty()
    assert _classified([], []).is_empty()


def _classified(
    documents: list[dict[str, Any]], rows: list[dict[str, Any]], *, allow_shrink: bool = False
) -> pl.DataFrame:
    return classify(
        sessions_frame(documents),
        session_facts(events_frame(rows)),
        now=NOW,
        settle_minutes=SETTLE_MINUTES,
        allow_shrink=allow_shrink,
    )


def _in_order(row: tuple[Any, ...]) -> tuple[Any, ...]:
    _, count, pages, first, last, users, clients, malformed = row
    return count, pages, first, last, users, clients, malformed
