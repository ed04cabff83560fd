"""Exact judgement of whole files: every reason of a row, rows of the same id, batches, and what may be left out."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from session_assets.kintell.duplicates import Duplicates
from session_assets.kintell.facts import identities
from session_assets.kintell.model import CHECKS, REASONS
from session_assets_tests.counts import examples
from session_assets_tests.kintell.files import SAMPLE, checked, clean, judged, plant, write


def test_runbook_sample_is_accepted_whole(tmp_path: Path) -> None:
    path = tmp_path / "sample.csv"
    path.write_text(SAMPLE)
    validated = checked(path, tmp_path)
    assert (validated.total_rows, validated.accepted, validated.rejected) == (3, 3, 0)
    rows = judged(validated).accepted.rows(named=True)
    assert [row["rating"] for row in rows] == [Decimal("1.00"), Decimal("0.75"), None]
    assert rows[1] | {"participant_id": "", "volunteer_id": ""} == {
        "row": 2,
        "line": 3,
        "external_session_id": "kintell-session-002",
        "session_type": "mentorship",
        "participant_email": "alice@example.com",
        "volunteer_email": "bob@example.com",
        "participant_id": "",
        "volunteer_id": "",
        "scheduled_at": datetime(2024, 1, 15, 14, tzinfo=UTC),
        "duration_minutes": 45,
        "rating": Decimal("0.75"),
        "feedback_text": "Very helpful",
        "language_level": "B2",
        "metadata": None,
    }


def test_template_that_ships_is_the_runbook_sample() -> None:
    template = Path(__file__).parents[2] / "docs" / "templates" / "kintell_sessions_template.csv"
    assert template.read_text() == SAMPLE


def test_every_violation_and_every_pair_is_found_exactly(tmp_path: Path) -> None:
    planted = plant(10_000)
    assert len(planted.rows) == 10_000
    validated = checked(write(tmp_path / "planted.csv", planted.rows), tmp_path)
    found = judged(validated)
    assert found.reasons == planted.reasons
    assert dict(found.rejected.select("row", "message").iter_rows()) == {
        row: planted.message(row) for row in planted.reasons
    }
    assert validated.reasons == planted.counts
    assert (validated.rejected, validated.skipped) == (len(planted.reasons), planted.repeated)
    assert (found.accepted.height, found.skipped) == (validated.accepted, validated.skipped)
    assert validated.accepted + validated.rejected + validated.skipped == 10_000
    values = [list(planted.rows[row - 1].values()) for row in planted.reasons]
    assert found.rejected.sort("row")["fields"].to_list() == [
        one for _, one in sorted(zip(planted.reasons, values, strict=True))
    ]


def test_missing_users_are_counted_by_role(tmp_path: Path) -> None:
    rows = [clean(n, participant_email="Nobody@example.com") for n in range(3)]
    rows += [clean(9, volunteer_email=" nobody@EXAMPLE.com "), clean(10)]
    validated = checked(write(tmp_path / "a.csv", rows), tmp_path)
    assert validated.missing_users().rows() == [
        ("nobody@example.com", "participant", 3),
        ("nobody@example.com", "volunteer", 1),
    ]


@pytest.mark.parametrize("batch_size", [1, 7, 1000])
@pytest.mark.parametrize("after_row", [0, 1, 13, 40])
def test_batches_cover_each_row_once_from_any_row_on(tmp_path: Path, batch_size: int, after_row: int) -> None:
    planted = plant(40)
    path = write(tmp_path / "a.csv", planted.rows[:40])
    validated = checked(path, tmp_path)
    batches = list(validated.batches(batch_size, after_row))
    assert [batch.last_row for batch in batches] == [*range(after_row + batch_size, 40, batch_size)] + [40] * (
        after_row < 40
    )
    assert sum(batch.rows for batch in batches) == 40 - after_row
    assert all(batch.rows <= batch_size for batch in batches)


def test_extra_columns_become_metadata(tmp_path: Path) -> None:
    rows = [clean(0) | {"Row": 'a "b"', "topics": "x\ty\n", "": "ü"}]
    columns = ["Row", *reversed(clean(0)), "topics", ""]
    validated = checked(write(tmp_path / "a.csv", rows, columns=columns), tmp_path)
    (metadata,) = judged(validated).accepted["metadata"]
    assert json.loads(metadata) == {"Row": 'a "b"', "topics": "x\ty\n", "column 12": "ü"}


def test_columns_that_may_be_left_out_are_named(tmp_path: Path) -> None:
    columns = [name for name in clean(0) if name not in ("rating", "feedback_text")]
    rows = [{name: clean(0)[name] for name in columns}]
    validated = checked(write(tmp_path / "a.csv", rows, columns=columns), tmp_path)
    assert (validated.absent, validated.accepted) == (("rating", "feedback_text"), 1)


@pytest.mark.parametrize(
    ("column", "value", "accepted"),
    [
        ("session_type", " LANGUAGE connect ", True),
        ("session_type", "language", False),
        ("participant_email", " Mary.O'Neil+x@Sub.Example.com ", True),
        ("participant_email", "müller@exämple.com", True),
        ("participant_email", "mary@example", False),
        ("participant_email", "mary@example.com, bob@example.com", False),
        ("participant_email", f"{'x' * 244}@example.com", False),
        ("date", "2024-01-15T10:00:00.123456789+02:00", True),
        ("date", "20240115T100000Z", True),
        ("date", "2024-01-15T10:00-0330", True),
        ("date", "2024-01-15T10:00.5Z", False),
        ("date", "2024-01-15T10:00:00", False),
        ("date", "01/15/2024", False),
        ("date", "2023-02-29T10:00:00Z", False),
        ("date", "2024-01-15T24:00:00Z", False),
        ("date", "0000-12-31T10:00:00Z", False),
        ("date", "٢024-01-15T10:00:00Z", False),
        ("duration_min", " 60 ", True),
        ("duration_min", "2147483647", True),
        ("duration_min", "2147483648", False),
        ("duration_min", "0", False),
        ("duration_min", "1.5", False),
        ("duration_min", "٣", False),
        ("rating", "5.000", True),
        ("rating", "5.001", False),
        ("rating", "0.99", False),
        ("rating", "NaN", False),
        ("language_level", "b2", True),
        ("language_level", "B3", False),
    ],
)
def test_values_at_the_edge_of_the_rules(tmp_path: Path, column: str, value: str, accepted: bool) -> None:
    validated = checked(write(tmp_path / "a.csv", [clean(0, **{column: value})]), tmp_path)
    assert (validated.accepted, judged(validated).accepted.height) == (int(accepted), int(accepted))


@given(st.decimals(1, 5, places=6))
@examples(50)
def test_ratings_are_rounded_half_up(tmp_path: Path, rating: Decimal) -> None:
    validated = checked(write(tmp_path / "a.csv", [clean(0, rating=str(rating))]), tmp_path)
    (stored,) = judged(validated).accepted["rating"]
    assert stored == ((rating - 1) / 4).quantize(Decimal("0.01"), "ROUND_HALF_UP")


def test_equal_after_typing_is_a_repetition(tmp_path: Path) -> None:
    rows = [
        clean(1, participant_email="a@example.com", rating="4.50", date="2024-01-15T10:00:00Z", language_level="b1"),
        clean(
            1, participant_email="A@Example.com ", rating="4.5", date="2024-01-15T12:00:00+02:00", language_level="B1"
        ),
    ]
    assert checked(write(tmp_path / "a.csv", rows), tmp_path).skipped == 1
    other = [rows[0], {**rows[1], "feedback_text": rows[1]["feedback_text"] + " "}]
    assert checked(write(tmp_path / "b.csv", other), tmp_path).reasons == {"duplicate_in_file": 2}


def test_row_that_repeats_a_rejected_one_is_rejected_too(tmp_path: Path) -> None:
    rows = [clean(1, date="soon"), clean(2), clean(1, date="soon")]
    found = judged(checked(write(tmp_path / "a.csv", rows), tmp_path))
    assert found.reasons == {1: ["date_invalid"], 3: ["date_invalid"]}


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 2), st.booleans()), max_size=30), st.integers(1, 7))
@examples(50)
def test_each_row_of_an_id_is_judged_against_all_others(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[int, int, bool]], together: int
) -> None:
    duplicates = Duplicates(tmp_path_factory.mktemp("duplicates"), 0)
    frame = pl.DataFrame(
        [(f"id{one}", row, valid, content, 0) for row, (one, content, valid) in enumerate(rows, 1)],
        schema={
            "external_session_id": pl.String,
            "row": pl.Int64,
            "valid": pl.Boolean,
            "high": pl.UInt64,
            "low": pl.UInt64,
        },
        orient="row",
    )
    for part in frame.iter_slices(together):
        duplicates.add(part)
    duplicates.close()
    wanted = {}
    for row, (one, content, _) in enumerate(rows, 1):
        same = [(number, said) for number, (other, said, _) in enumerate(rows, 1) if other == one]
        contradicting = [number for number, said in same if said != content]
        if contradicting or same[0][0] != row:
            wanted[row] = contradicting[0] if contradicting else None
    verdicts = duplicates.verdicts(1, max(len(rows), 1))
    assert dict(verdicts.select("row", "other").iter_rows()) == wanted


def test_what_a_row_says_tells_null_from_empty_and_columns_apart() -> None:
    from session_assets.drops.split import RECORDS
    from session_assets.kintell.facts import type_rows, with_users
    from session_assets.kintell.model import COLUMNS

    rows = [
        clean(0, feedback_text="", language_level=""),
        clean(0, feedback_text="A1"),
        clean(0, feedback_text="", language_level="a1"),
    ]
    frame = pl.DataFrame(
        [(n, n, 1, None, None, [*row.values()]) for n, row in enumerate(rows, 1)],
        schema=RECORDS,
        orient="row",
    )
    typed = type_rows(frame, {name: place for place, name in enumerate(COLUMNS)}, {})
    known = pl.DataFrame({"email": ["participant0@example.com", "volunteer0@example.com"], "id": ["x", "y"]})
    found = identities(with_users(typed, known))
    assert found["valid"].all()
    assert found.select("high", "low").n_unique() == 3
    assert found.select("high").n_unique() == found.select("low").n_unique() == 3


def test_every_reason_belongs_to_a_check_and_says_what_to_do() -> None:
    assert {reason.check for reason in REASONS} == set(CHECKS)
    assert all(reason.text and reason.next_step for reason in REASONS)
