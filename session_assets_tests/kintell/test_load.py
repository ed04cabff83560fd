"""Loading validated rows: what is written, what is counted, and what stays as it was."""

from __future__ import annotations

import dataclasses
from decimal import Decimal

import pytest

from session_assets.errors import BadInput, SessionAssetsError
from session_assets.kintell.importing import run_import
from session_assets.kintell.jobs import Job, SourceChanged
from session_assets_tests.kintell.scenario import File, Kintell


def mixed(kintell: Kintell, count: int = 47) -> File:
    """Accepted, rejected and skipped rows."""
    rows = [kintell.row(number) for number in range(count)]
    return File(["Invalid date format" if n % 7 == 3 else None if n % 11 == 5 else row for n, row in enumerate(rows)])


def counters(job: object) -> dict[str, int]:
    return {name: value for name, value in vars(job).items() if name.endswith("_rows") and isinstance(value, int)}


def test_every_value_arrives_as_it_was(kintell: Kintell) -> None:
    file = File([kintell.row(number) for number in range(25)])
    kintell.run(file)
    stored = kintell.all(
        "SELECT external_session_id, session_type, participant_id::text, volunteer_id::text, scheduled_at, completed_at,"
        " duration_minutes, rating, feedback_text, language_level, metadata FROM kintell_sessions ORDER BY 1"
    )
    for row, values in zip(file.rows, stored, strict=True):
        assert isinstance(row, dict)
        metadata = {"teacher": "x\ny", "n": 1} if row["metadata"] else None
        assert values == (
            *(row[name] for name in ("external_session_id", "session_type", "participant_id", "volunteer_id")),
            row["scheduled_at"],
            row["scheduled_at"],
            *(row[name] for name in ("duration_minutes", "rating", "feedback_text", "language_level")),
            metadata,
        )


def test_each_row_is_counted_once(kintell: Kintell) -> None:
    file = mixed(kintell)
    job = kintell.run(file)
    rejected = sum(isinstance(row, str) for row in file.rows)
    repeated = sum(row is None for row in file.rows)
    assert job.status == "completed"
    assert counters(job) == {
        "total_rows": 47,
        "processed_rows": 47,
        "successful_rows": 47 - rejected,
        "failed_rows": rejected,
        "inserted_rows": 47 - rejected - repeated,
        "updated_rows": 0,
        "skipped_rows": repeated,
        "kept_rows": 0,
    }
    assert kintell.one("SELECT count(*) FROM kintell_sessions") == job.inserted_rows
    assert kintell.one("SELECT count(*) FROM backfill_rejects") == rejected
    assert kintell.one("SELECT count(*) FROM backfill_outbox") == job.events_total


def test_rejects_are_kept_exactly(kintell: Kintell) -> None:
    kintell.run(File(["Unknown session type: Yoga", "Invalid date format"]))
    assert kintell.all("SELECT row, line, fields, raw, reasons, message FROM backfill_rejects ORDER BY row") == [
        (
            *(1, 2, ["=1+1", 'a "quote", a comma', "", "ü\n\r", None], None, ["date_invalid", "ragged"]),
            "Unknown session type: Yoga",
        ),
        (2, 3, None, b"\xff\x00,broken", ["date_invalid", "ragged"], "Invalid date format"),
    ]


def test_batch_size_changes_nothing(kintell: Kintell, postgres_url: str) -> None:
    kintell.run(mixed(kintell), batch_size=3)
    small = kintell.dump()
    with kintell.connect() as connection:
        connection.execute(
            "TRUNCATE kintell_sessions, backfill_jobs, backfill_rejects, backfill_row_changes, backfill_outbox"
        )
    kintell.run(mixed(kintell), batch_size=1000)
    assert kintell.dump() == small


def test_the_same_rows_again_are_skipped_and_tell_nothing(kintell: Kintell) -> None:
    kintell.run(File([kintell.row(number) for number in range(25)]))
    before = kintell.dump()["sessions"]
    again = kintell.run(File([*(kintell.row(number) for number in range(25)), "one more line"]))
    assert (again.inserted_rows, again.updated_rows, again.skipped_rows, again.events_total) == (0, 0, 25, 0)
    assert kintell.dump()["sessions"] == before


def test_other_content_updates_only_what_differs(kintell: Kintell) -> None:
    kintell.run(File([kintell.row(number) for number in range(25)]))
    with kintell.connect() as connection:
        connection.execute("""UPDATE kintell_sessions SET topics = '["x"]', metadata = '{"app": 1}'""")
    rows = [
        kintell.row(n, duration_minutes=500, metadata=None) if n == 7 else kintell.row(n, metadata=None)
        for n in range(30)
    ]
    job = kintell.run(File(rows))
    assert (job.inserted_rows, job.updated_rows, job.skipped_rows) == (5, 1, 24)
    changed = kintell.one(
        "SELECT duration_minutes, topics, metadata FROM kintell_sessions WHERE external_session_id = 'kintell-session-00007'"
    )
    assert changed == (500, ["x"], {"app": 1})
    before = kintell.one("SELECT before FROM backfill_row_changes WHERE change = 'updated'")
    assert (before["duration_minutes"], before["topics"]) == (8, ["x"])
    events = kintell.all("SELECT kind, duration_minutes FROM backfill_outbox WHERE job_id = %s AND number < 18", job.id)
    assert events == [("completed", 500), ("rated", 500)]


def test_policy_skip_leaves_what_is_there(kintell: Kintell) -> None:
    kintell.run(File([kintell.row(1)]))
    before = kintell.dump()["sessions"]
    job = kintell.run(File([kintell.row(1, duration_minutes=500)]), policy="skip")
    assert (job.updated_rows, job.skipped_rows) == (0, 1)
    assert kintell.dump()["sessions"] == before


def test_columns_that_a_file_does_not_have_are_not_erased(kintell: Kintell) -> None:
    kintell.run(File([kintell.row(number) for number in range(10)]))
    before = kintell.dump()["sessions"]
    rows = [kintell.row(number, rating=None, feedback_text=None) for number in range(10)]
    job = kintell.run(File(rows, absent=("rating", "feedback_text")))
    assert job.skipped_rows == 10
    assert kintell.dump()["sessions"] == before
    other = [kintell.row(number, rating=None, duration_minutes=500) for number in range(10)]
    assert kintell.run(File(other, absent=("rating",))).updated_rows == 10
    ratings = kintell.all("SELECT rating FROM kintell_sessions ORDER BY external_session_id")
    assert ratings[3] == (Decimal("0.75"),)


def test_the_same_bytes_are_one_job(kintell: Kintell) -> None:
    file = mixed(kintell)
    job = kintell.run(file)
    again = kintell.jobs.start("another name.csv", file.source)
    assert (again.id, again.file_name, again.status) == (job.id, "sessions.csv", "completed")
    assert kintell.jobs.find(file.source) == again
    assert counters(kintell.run(file)) == counters(job)  # rejected rows are retried, and rejected again


def test_another_file_is_not_taken_for_the_one_that_began(kintell: Kintell) -> None:
    file = mixed(kintell)
    job = kintell.jobs.start(file.name, file.source)
    job.require_same(file.source)
    with pytest.raises(SourceChanged, match="the SHA-256 differs"):
        job.require_same(dataclasses.replace(file.source, sha256="0" * 64))


def test_a_file_that_fails_its_check_commits_nothing(kintell: Kintell) -> None:
    def check(_: Job) -> File:
        raise BadInput("sessions.csv: 60 % of the rows are rejected. Contact mary@example.com.")

    job = kintell.jobs.start("sessions.csv", mixed(kintell).source)
    with pytest.raises(BadInput):
        run_import(kintell.jobs, job, check)
    job = kintell.jobs.get(job.id)
    assert (job.status, job.reason) == (
        "failed",
        "sessions.csv: 60 % of the rows are rejected. Contact m***@example.com.",
    )
    assert kintell.dump()["sessions"] == []
    assert kintell.run(mixed(kintell)).id == job.id


def test_a_user_who_vanishes_fails_the_job_with_what_to_do(kintell: Kintell) -> None:
    file = File([kintell.row(number, participant_id="00000000-0000-0000-0000-000000000009") for number in range(3)])
    with pytest.raises(SessionAssetsError, match="name a user who was deleted"):
        kintell.run(file)
    (job,) = kintell.jobs.newest()
    assert (job.status, job.processed_rows) == ("failed", 0)
    assert kintell.dump()["outbox"] == []


def test_blank_cells_keep_stored_values_and_are_counted(kintell: Kintell) -> None:
    stored = {
        "rating": Decimal("0.5"),
        "feedback_text": "good",
        "language_level": "B1",
        "metadata": '{"a": "x", "b": ""}',
    }
    blank = {"rating": None, "feedback_text": None, "language_level": None, "metadata": '{"a": "", "b": "y", "c": "z"}'}
    kintell.run(File([kintell.row(n, **stored) for n in range(4)]))
    later = kintell.run(
        File([kintell.row(0, **blank), kintell.row(1, **(stored | {"rating": None})), kintell.row(2, **stored)])
    )
    assert (later.updated_rows, later.skipped_rows, later.kept_rows) == (1, 2, 2)
    found = "SELECT rating::float8, feedback_text, language_level, metadata FROM kintell_sessions ORDER BY external_session_id"
    assert kintell.all(found)[0] == (0.5, "good", "B1", {"a": "x", "b": "y", "c": "z"})
    level = "SELECT language_level FROM backfill_outbox WHERE job_id = %s"
    assert kintell.all(level, later.id) == [("B1",)]  # the event says what is stored
    replaced = kintell.run(File([kintell.row(0, **blank), kintell.row(3, **stored)]), policy="replace")
    assert (replaced.updated_rows, replaced.kept_rows) == (1, 0)
    assert kintell.all(found)[0] == (None, None, None, {"a": "", "b": "y", "c": "z"})
