"""Rows that an adopted table itself does not take are rejected one by one; the others are imported."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from session_assets.errors import SessionAssetsError
from session_assets_tests.kintell.scenario import File, Kintell

_TRIGGER = """
    CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        IF NEW.duration_minutes = 700 THEN RAISE EXCEPTION 'ask mary@example.com'; END IF; RETURN NEW; END $$;
    CREATE TRIGGER refuse BEFORE INSERT OR UPDATE ON kintell_sessions FOR EACH ROW EXECUTE FUNCTION refuse()
"""
_LEAVING_OUT = _TRIGGER.replace("RAISE EXCEPTION 'ask mary@example.com'", "RETURN NULL")
_OTHER_IDS = _TRIGGER.replace("RAISE EXCEPTION 'ask mary@example.com'", "NEW.id := gen_random_uuid()").replace(
    "INSERT OR UPDATE", "INSERT"
)


def file(kintell: Kintell, bad: set[int], changed: dict[str, object]) -> File:
    return File([kintell.row(n, **(changed if n in bad else {})) for n in range(40)])


def alter(kintell: Kintell, statement: str) -> None:
    with kintell.connect() as connection:
        connection.execute(statement.encode())


@pytest.mark.parametrize(
    ("statement", "changed", "message"),
    [
        ("ALTER TABLE kintell_sessions ADD CONSTRAINT short CHECK (duration_minutes < 600)", {"duration_minutes": 700},
         'violates check constraint "short"'),
        ("ALTER TABLE kintell_sessions ALTER feedback_text TYPE varchar(40)", {"feedback_text": "x" * 41}, "value too long"),
        (_TRIGGER, {"duration_minutes": 700}, "ask m***@example.com"),
        (_LEAVING_OUT, {"duration_minutes": 700}, "a trigger leaves it out"),
    ],
)  # fmt: skip
def test_rows_that_the_table_refuses_are_rejected(
    kintell: Kintell, statement: str, changed: dict[str, object], message: str
) -> None:
    alter(kintell, statement)
    kintell.run(File([kintell.row(n, duration_minutes=5) for n in range(20)]))
    job = kintell.run(file(kintell, {3, 17, 25, 26}, changed), batch_size=10)
    counts = (job.inserted_rows, job.updated_rows, job.skipped_rows, job.failed_rows)
    assert (job.status, *counts) == ("completed", 18, 17, 1, 4)
    rejects = kintell.all("SELECT row, line, fields, raw, reasons, message FROM backfill_rejects ORDER BY row")
    assert [row for row, *_ in rejects] == [4, 18, 26, 27]
    assert rejects[0][1:5] == (5, ["kintell-session-00003", "=1"], None, ["refused_by_table"])
    assert all(one[-1].startswith("Refused by the table: ") and message in one[-1] for one in rejects)
    assert kintell.one("SELECT duration_minutes FROM kintell_sessions WHERE external_session_id LIKE '%%00003'") == 5
    assert kintell.one("SELECT count(*) FROM backfill_row_changes WHERE job_id = %s", job.id) == 36 - job.skipped_rows


def test_a_whole_file_may_be_refused(kintell: Kintell) -> None:
    alter(kintell, "ALTER TABLE kintell_sessions ALTER feedback_text SET NOT NULL")
    job = kintell.run(File([kintell.row(n, feedback_text=None) for n in range(25)]))
    assert (job.status, job.failed_rows, job.events_total) == ("completed", 25, 0)


def test_sessions_that_get_other_ids_from_a_trigger_are_rejected(kintell: Kintell) -> None:
    """They could not be told, nor be taken back."""
    alter(kintell, _OTHER_IDS)
    job = kintell.run(file(kintell, {3, 17}, {"duration_minutes": 700}))
    assert (job.inserted_rows, job.failed_rows) == (38, 2)
    assert kintell.revert(job.id).removed == 38
    assert kintell.one("SELECT count(*) FROM kintell_sessions") == 0


def test_another_unique_rule_of_the_table(kintell: Kintell) -> None:
    alter(kintell, "CREATE UNIQUE INDEX once ON kintell_sessions (participant_id, scheduled_at)")
    moment = kintell.row(1)["scheduled_at"]
    rows = [kintell.row(n, scheduled_at=moment) if n in (1, 11, 21) else kintell.row(n) for n in range(30)]
    job = kintell.run(File(rows))  # participants go round by ten
    assert (job.status, job.inserted_rows, job.failed_rows) == ("completed", 28, 2)
    assert 'unique constraint "once"' in kintell.one("SELECT min(message) FROM backfill_rejects")


def test_a_user_who_vanished_is_still_told_apart(kintell: Kintell) -> None:
    alter(kintell, "ALTER TABLE kintell_sessions ADD CONSTRAINT short CHECK (duration_minutes < 600)")
    nobody = "00000000-0000-0000-0000-000000000009"
    with pytest.raises(SessionAssetsError, match="name a user who was deleted"):
        kintell.run(File([kintell.row(1, duration_minutes=700), kintell.row(2, participant_id=nobody)]))


def test_undo_of_a_job_with_refused_rows(kintell: Kintell) -> None:
    alter(kintell, "ALTER TABLE kintell_sessions ADD CONSTRAINT short CHECK (duration_minutes < 600)")
    job = kintell.run(file(kintell, {3, 17}, {"duration_minutes": 700}))
    assert kintell.revert(job.id).classes == {"removed": 38, "restored": 0}


def test_a_session_that_is_deleted_while_it_is_updated_is_made_again(
    kintell: Kintell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For example by the undo of another job: it is neither lost nor counted as skipped."""
    kintell.run(File([kintell.row(n) for n in range(3)]))
    marker = tmp_path / "classified"
    monkeypatch.setenv("SESSION_ASSETS_FAILPOINTS", f"kintell.classified=pause:{marker}")
    with ThreadPoolExecutor(1) as pool:
        importing = pool.submit(kintell.run, File([kintell.row(n, duration_minutes=500) for n in range(3)]))
        while not marker.exists():
            time.sleep(0.01)
        alter(kintell, "DELETE FROM kintell_sessions WHERE external_session_id = 'kintell-session-00001'")
        monkeypatch.setenv("SESSION_ASSETS_FAILPOINTS", "")
        marker.unlink()
        job = importing.result(30)
    assert (job.inserted_rows, job.updated_rows, job.skipped_rows) == (1, 2, 0)
    assert kintell.one("SELECT count(*) FROM kintell_sessions WHERE duration_minutes = 500") == 3
