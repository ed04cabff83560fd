"""The same file again: its rejected rows are retried, sessions that are gone come back, and what is there stays."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from session_assets.cli.files import partition_of
from session_assets.errors import SessionAssetsError
from session_assets.kintell.attempt import Options
from session_assets.kintell.imports import Imports
from session_assets.kintell.jobs import Job, NotResumable
from session_assets.stores.kintell_outstanding import accept_lost, close_rejects, lost_rows
from session_assets.stores.kintell_recount import accounts, lost, rejected_reasons
from session_assets_tests.kintell.files import clean, write
from session_assets_tests.kintell.killed import Work, run
from session_assets_tests.kintell.scenario import File, Kintell


def execute(kintell: Kintell, *statements: str) -> None:
    with kintell.connect() as connection:
        for statement in statements:
            connection.execute(statement.encode())


def imported(imports: Imports, path: Path, **options: Any) -> Job:
    return imports.run(imports.take(partition_of(path), path), Options(batch_size=3, **options), say=print)[0]


def counted(job: Job) -> tuple[int, int, int, int]:
    assert job.total_rows == job.inserted_rows + job.updated_rows + job.skipped_rows + job.failed_rows
    assert job.successful_rows == job.total_rows - job.failed_rows
    return job.inserted_rows, job.updated_rows, job.skipped_rows, job.failed_rows


def adds_up(kintell: Kintell) -> bool:
    """Whether the counters of all jobs are those of the tables."""
    rows = accounts(kintell.database)
    pairs = [("inserted", "inserted_rows"), ("updated", "updated_rows"), ("rejected", "rejected_rows")]
    return all(rows[one].to_list() == rows[other].to_list() for one, other in pairs) and not lost(kintell.database)[0]


def stored(kintell: Kintell) -> list[str]:
    return [row[0] for row in kintell.all("SELECT external_session_id FROM kintell_sessions ORDER BY 1")]


def test_sessions_removed_by_hand_come_back_and_can_be_reverted(kintell: Kintell) -> None:
    """The runbook's own roll back."""
    file = File([kintell.row(number) for number in range(40)])
    job = kintell.run(file)
    before = kintell.dump()
    execute(kintell, "DELETE FROM kintell_sessions", "UPDATE backfill_jobs SET status = 'failed'")
    assert len(lost(kintell.database)[0]) == 40
    again = kintell.run(file)
    assert (again.id, again.status, counted(again)) == (job.id, "completed", (40, 0, 0, 0))
    assert kintell.dump()["sessions"] == before["sessions"]
    assert adds_up(kintell)
    assert kintell.revert(job.id).classes == {"removed": 40, "restored": 0}
    assert stored(kintell) == []


def test_a_session_that_is_gone_comes_back_with_events_of_its_own(kintell: Kintell) -> None:
    file = File([kintell.row(number) for number in range(1, 4)])
    job = kintell.run(file)
    told = kintell.one("SELECT max(number) FROM backfill_outbox")
    execute(kintell, "DELETE FROM kintell_sessions WHERE external_session_id = 'kintell-session-00002'")
    kintell.run(file)
    new = kintell.all("SELECT number, kind, session_id FROM backfill_outbox WHERE number > %s ORDER BY 1", told)
    session = kintell.one("SELECT id FROM kintell_sessions WHERE external_session_id = 'kintell-session-00002'")
    assert [(kind, named) for _, kind, named in new] == [("completed", session), ("rated", session)]
    assert kintell.jobs.get(job.id).events_total == kintell.one("SELECT count(*) FROM backfill_outbox")


def test_rows_that_the_job_had_skipped_come_back_too(kintell: Kintell) -> None:
    rows = [kintell.row(number) for number in range(20)]
    first = kintell.run(File(rows[:10]))
    later = File(rows)
    kintell.run(later)
    kintell.revert(first.id)
    assert len(stored(kintell)) == 10
    assert counted(kintell.run(later)) == (20, 0, 0, 0)
    assert (len(stored(kintell)), adds_up(kintell)) == (20, True)


def test_what_a_later_job_wrote_comes_back_over_what_an_older_one_restored(kintell: Kintell) -> None:
    old = File([kintell.row(number) for number in range(10)])
    new = File([kintell.row(number, duration_minutes=500) for number in range(5)], name="new.csv")
    kintell.run(old)
    job = kintell.run(new)
    before = kintell.dump()["sessions"]
    execute(kintell, "DELETE FROM kintell_sessions")
    kintell.run(old)
    assert {row.job_id for row in lost(kintell.database)[0]} == {job.id}
    assert counted(kintell.run(new)) == (0, 5, 0, 0)
    assert (kintell.dump()["sessions"], adds_up(kintell)) == (before, True)


def test_what_is_there_stays_as_it_is(kintell: Kintell) -> None:
    file = File([kintell.row(number) for number in range(10)])
    kintell.run(file)
    execute(
        kintell,
        "UPDATE kintell_sessions SET duration_minutes = 7 WHERE external_session_id = 'kintell-session-00003'",
        "DELETE FROM kintell_sessions WHERE external_session_id = 'kintell-session-00004'",
    )
    assert counted(kintell.run(file)) == (10, 0, 0, 0)
    found = "SELECT duration_minutes FROM kintell_sessions WHERE external_session_id = 'kintell-session-00003'"
    assert kintell.one(found) == 7


@pytest.mark.parametrize(
    "point",
    ["kintell.dropped@2", "kintell.restored@2", "kintell.recounted@1", "kintell.retried@2", "kintell.retried@4"],
)
def test_a_killed_retry_is_finished_by_running_again(kintell: Kintell, point: str) -> None:
    file = File([kintell.row(number) for number in range(50)])
    job = kintell.run(file)
    before = kintell.dump()["sessions"]
    execute(kintell, "DELETE FROM kintell_sessions WHERE duration_minutes % 3 > 0")
    assert run(Work("import", kintell.database.url, file, failpoints=f"{point}=kill"))
    kintell.killed_job(file)
    again = kintell.run(file)
    assert (again.id, again.status, counted(again)) == (job.id, "completed", (50, 0, 0, 0))
    assert (kintell.dump()["sessions"], adds_up(kintell)) == (before, True)
    assert again.events_total == kintell.one("SELECT count(*) FROM backfill_outbox")


def test_removed_on_purpose_stays_removed(kintell: Kintell) -> None:
    file = File([*(kintell.row(number) for number in range(10)), "Participant not found: x"])
    job = kintell.run(file)
    execute(kintell, "DELETE FROM kintell_sessions WHERE duration_minutes < 4")
    assert accept_lost(kintell.database, job, "wrong month") == 3
    assert lost(kintell.database)[0] == []
    kintell.run(replace(file, rows=file.rows))
    assert len(stored(kintell)) == 7
    assert kintell.one("SELECT accepted_note FROM backfill_jobs") == "wrong month"


def test_users_created_since_and_the_dry_run_says_so(imports: Imports, kintell: Kintell, tmp_path: Path) -> None:
    rows = [clean(n, **({"participant_email": f"new{n}@example.com"} if n > 5 else {})) for n in range(9)]
    path = write(tmp_path / "a.csv", rows)
    assert counted(imported(imports, path)) == (6, 0, 0, 3)
    first = imports.dry_run(path, Options(batch_size=3))
    assert (first["nothing_to_do"], first["rejected"], first["would_insert"]) == (True, 3, 0)
    execute(
        kintell, "INSERT INTO users (email, role) SELECT 'new' || n || '@example.com', 'x' FROM generate_series(6, 7) n"
    )
    would = imports.dry_run(path, Options(batch_size=4))
    names = ("would_insert", "would_update", "would_leave", "rejected", "accepted", "nothing_to_do")
    assert [would[name] for name in names] == [2, 0, 6, 1, 8, False]
    assert counted(imported(imports, path)) == (8, 0, 0, 1)
    assert adds_up(kintell)
    last = imports.dry_run(path, Options())
    assert (last["nothing_to_do"], last["open_rejects"]) == (True, 1)


def test_a_dry_run_sees_sessions_that_are_gone(imports: Imports, kintell: Kintell, tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", [clean(n) for n in range(9)])
    imported(imports, path)
    execute(kintell, "DELETE FROM kintell_sessions WHERE external_session_id < 'kintell-session-00004'")
    before = kintell.dump()
    would = imports.dry_run(path, Options(batch_size=4))
    assert (would["would_insert"], would["would_restore"], would["would_leave"]) == (4, 4, 5)
    assert kintell.dump() == before
    assert counted(imported(imports, path)) == (9, 0, 0, 0)


def test_a_file_read_in_the_wrong_encoding_is_read_again(imports: Imports, kintell: Kintell, tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", [clean(n, feedback_text="très bien" if n % 2 else "good") for n in range(6)])
    path.write_bytes(path.read_text().encode("latin-1"))
    assert counted(imported(imports, path)) == (3, 0, 0, 3)
    assert imports.dry_run(path, Options(encoding="latin-1"))["would_insert"] == 3
    job = imported(imports, path, encoding="latin-1")
    assert (counted(job), job.encoding) == ((6, 0, 0, 0), "latin-1")
    assert kintell.one("SELECT count(*) FROM kintell_sessions WHERE feedback_text = 'très bien'") == 3


def test_sessions_that_were_read_wrongly_are_not_said_to_be_right(imports: Imports, tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", [clean(n, feedback_text="très bien" if n % 2 else "good") for n in range(6)])
    job = imported(imports, path, encoding="latin-1")
    with pytest.raises(NotResumable, match=rf"3 sessions that job {job.id} imported.*would say something else"):
        imported(imports, path, encoding="utf-8")
    assert imports.jobs.get(job.id).status == "completed"


def test_local_times_are_read_again_with_their_time_zone(imports: Imports, kintell: Kintell, tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", [clean(1), clean(2, date="2024-07-15T10:00:00")])
    job = imported(imports, path)
    assert (counted(job), rejected_reasons(imports.database)) == ((1, 0, 0, 1), {"date_without_offset": (1, 0)})
    job = imported(imports, path, timezone="Europe/London")
    assert (counted(job), job.timezone) == ((2, 0, 0, 0), "Europe/London")
    assert kintell.one("SELECT count(*) FROM kintell_sessions WHERE scheduled_at = '2024-07-15T09:00:00Z'") == 1


def test_a_reject_that_was_corrected_since_does_not_overwrite_the_correction(
    imports: Imports, kintell: Kintell, tmp_path: Path
) -> None:
    path = write(tmp_path / "a.csv", [clean(1), clean(2, participant_email="new@example.com")])
    imported(imports, path)
    imported(imports, write(tmp_path / "fixed.csv", [clean(2, duration_min="777")]))
    execute(kintell, "INSERT INTO users (email, role) VALUES ('new@example.com', 'x')")
    assert imports.dry_run(path, Options())["would_update"] == 0
    assert counted(imported(imports, path)) == (1, 0, 1, 0)
    assert kintell.one("SELECT count(*) FROM kintell_sessions WHERE duration_minutes = 777") == 1


def test_another_policy_for_a_file_that_was_imported_is_refused(imports: Imports, tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", [clean(1), clean(2, date="soon")])
    job = imported(imports, path)
    with pytest.raises(NotResumable, match="with the policy update"):
        imported(imports, path, policy="replace")
    assert imports.jobs.get(job.id).status == "completed"


def test_closed_rejects_are_open_no_more(imports: Imports, kintell: Kintell, tmp_path: Path) -> None:
    job = imported(imports, write(tmp_path / "a.csv", [clean(1), clean(2, date="soon")]))
    assert close_rejects(imports.database, job, "known") == 1
    assert imports.jobs.outstanding(job).open_rejects == 0
    assert rejected_reasons(imports.database) == {"date_invalid": (0, 0)}
    other = imported(imports, write(tmp_path / "b.csv", [clean(3, date="soon")]))
    assert rejected_reasons(imports.database) == {"date_invalid": (1, 0)}
    execute(kintell, f"UPDATE backfill_jobs SET completed_at = now() - interval '31 days' WHERE id = '{other.id}'")
    assert rejected_reasons(imports.database) == {"date_invalid": (0, 0)}


def test_a_check_that_refuses_leaves_a_completed_job_as_it_is(kintell: Kintell) -> None:
    from session_assets.kintell.importing import run_import

    file = File([kintell.row(1), "Participant not found: x"])
    job = kintell.run(file)

    def refuse(_: Job) -> File:
        raise SessionAssetsError("too many rejects")

    with pytest.raises(SessionAssetsError, match="too many"):
        run_import(kintell.jobs, job, refuse)
    assert kintell.jobs.get(job.id).status == "completed"
    with kintell.connect() as connection:
        assert lost_rows(connection) == []
