"""Taking a job back: the tables are as before it, except rows edited since, which are listed and left."""

from __future__ import annotations

from typing import Any

import pytest

from session_assets.errors import UsageError
from session_assets.kintell.jobs import Job
from session_assets.kintell.revert import relied_on
from session_assets.stores.kintell_revert import Undo
from session_assets_tests.kintell.killed import Work, run
from session_assets_tests.kintell.scenario import File, Kintell

POINTS = ["begun", "judged", "removed", "restored", "counted", "committed", "finished"]


def sessions(kintell: Kintell) -> list[tuple[Any, ...]]:
    """Everything that the table says, with ids and times of making."""
    return kintell.all("SELECT * FROM kintell_sessions ORDER BY external_session_id")


def updated_file(kintell: Kintell, count: int = 30) -> File:
    """Half of the rows update those of `first`, half are new."""
    half = count // 2
    return File(
        [kintell.row(n, duration_minutes=700, feedback_text="other", rating=None) for n in range(half, half + count)]
    )


def first(kintell: Kintell, count: int = 30) -> Job:
    return kintell.run(File([kintell.row(number) for number in range(count)]))


def edit(kintell: Kintell, statement: str) -> None:
    with kintell.connect() as connection:
        connection.execute(statement.encode())


def test_the_tables_are_as_before_the_job(kintell: Kintell) -> None:
    first(kintell)
    before = sessions(kintell)
    job = kintell.run(updated_file(kintell))
    assert kintell.look(job.id).classes == {"removed": 15, "restored": 15}
    assert sessions(kintell) != before
    assert kintell.revert(job.id).classes == {"removed": 15, "restored": 15}
    assert sessions(kintell) == before
    job = kintell.jobs.get(job.id)
    assert (job.status, job.reason, job.rolled_back) == ("failed", "rolled back", True)


def test_a_second_revert_changes_nothing(kintell: Kintell) -> None:
    job = first(kintell)
    assert kintell.revert(job.id).removed == 30
    after = kintell.dump()
    assert kintell.revert(job.id).removed == 30
    assert kintell.dump() == after


def test_each_undone_row_is_told_once(kintell: Kintell) -> None:
    first(kintell)
    job = kintell.run(updated_file(kintell))
    kintell.revert(job.id)
    told = kintell.all(
        "SELECT kind, external_session_id, duration_minutes FROM backfill_outbox WHERE job_id = %s AND number > 1000000"
        " ORDER BY external_session_id",
        job.id,
    )
    restored = [("restored", f"kintell-session-{n:05d}", 1 + n % 90) for n in range(15, 30)]
    removed = [("removed", f"kintell-session-{n:05d}", 700) for n in range(30, 45)]
    assert told == restored + removed
    assert kintell.jobs.get(job.id).events_total == 30 + 30


def test_rows_edited_since_are_left_and_listed(kintell: Kintell) -> None:
    first(kintell)
    job = kintell.run(updated_file(kintell))
    edit(
        kintell,
        "UPDATE kintell_sessions SET feedback_text = 'mine' WHERE external_session_id = 'kintell-session-00016'",
    )
    edit(kintell, "UPDATE kintell_sessions SET topics = '[1]' WHERE external_session_id = 'kintell-session-00040'")
    edit(kintell, "DELETE FROM kintell_sessions WHERE external_session_id = 'kintell-session-00041'")
    kept = [row for row in sessions(kintell) if row[1] in ("kintell-session-00016", "kintell-session-00040")]
    for undo in (kintell.look, kintell.revert, kintell.look):
        report = undo(job.id)
        assert report.classes == {"removed": 13, "restored": 14, "edited": 2, "gone": 1}
        assert report.refused.select("row", "external_session_id", "refusal").rows() == [
            (2, "kintell-session-00016", "edited"),
            (26, "kintell-session-00040", "edited"),
            (27, "kintell-session-00041", "gone"),
        ]
    assert [row for row in sessions(kintell) if row[1] in ("kintell-session-00016", "kintell-session-00040")] == kept


def test_a_column_of_the_application_counts_as_an_edit_too(kintell: Kintell) -> None:
    edit(kintell, "ALTER TABLE kintell_sessions ADD COLUMN note json")
    job = first(kintell, 3)
    edit(kintell, "ALTER TABLE kintell_sessions ADD COLUMN added_later integer DEFAULT 5")
    edit(
        kintell, """UPDATE kintell_sessions SET note = '{"a": 1}' WHERE external_session_id = 'kintell-session-00001'"""
    )
    assert kintell.revert(job.id).classes == {"removed": 2, "restored": 0, "edited": 1}


def test_a_later_job_is_reverted_first(kintell: Kintell) -> None:
    before = sessions(kintell)
    job = first(kintell)
    later = kintell.run(updated_file(kintell))
    assert kintell.look(job.id).classes == {"removed": 15, "restored": 0, "changed_later": 15}
    kintell.revert(later.id)
    assert kintell.revert(job.id).classes == {"removed": 30, "restored": 0}
    assert sessions(kintell) == before


def test_what_was_refused_is_undone_by_reverting_again(kintell: Kintell) -> None:
    """Reverted in the wrong order: the earlier job leaves what the later one changed, until that one is reverted."""
    before = sessions(kintell)
    job = first(kintell)
    later = kintell.run(updated_file(kintell))
    assert kintell.revert(job.id).classes == {"removed": 15, "restored": 0, "changed_later": 15}
    assert kintell.revert(later.id).classes == {"removed": 15, "restored": 15}
    assert kintell.look(job.id).classes == {"removed": 30, "restored": 0}
    assert kintell.revert(job.id).classes == {"removed": 30, "restored": 0}
    assert sessions(kintell) == before
    told = kintell.all("SELECT number FROM backfill_outbox WHERE job_id = %s AND kind = 'removed' ORDER BY 1", job.id)
    assert len(told) == 30
    early, late = [kintell.all("SELECT number FROM backfill_outbox WHERE job_id = %s AND kind = 'removed' AND"
        f" external_session_id {sign} 'kintell-session-00015'", job.id) for sign in ("<", ">=")]  # fmt: skip
    assert max(early) < min(late), "a publisher that has told the first ones must find the others after them"


def test_what_was_refused_is_left_once_its_file_was_imported_anew(kintell: Kintell) -> None:
    file = File([kintell.row(number) for number in range(3)])
    job = kintell.run(file)
    edit(kintell, "CREATE TABLE notes (session_id uuid REFERENCES kintell_sessions (id))")
    edit(kintell, "INSERT INTO notes SELECT id FROM kintell_sessions LIMIT 1")
    kintell.revert(job.id)
    assert kintell.run(file).skipped_rows == 1
    edit(kintell, "DROP TABLE notes")
    for undo in (kintell.look, kintell.revert):
        assert undo(job.id).classes == {"removed": 2, "restored": 0, "referenced": 1}
    assert len(sessions(kintell)) == 3


def test_a_job_of_another_program_is_not_taken_back(kintell: Kintell) -> None:
    edit(kintell, "INSERT INTO backfill_jobs (file_name, total_rows, status) VALUES ('old.csv', 3, 'completed')")
    with pytest.raises(UsageError, match="made by another program"):
        kintell.revert(kintell.one("SELECT id::text FROM backfill_jobs"))
    assert kintell.one("SELECT status FROM backfill_jobs") == "completed"


def test_a_later_job_that_came_back_to_the_same_content_is_seen(kintell: Kintell) -> None:
    job = kintell.run(File([kintell.row(1)]))
    kintell.run(File([kintell.row(1, duration_minutes=700)]))
    last = kintell.run(File([kintell.row(1), "one more line"]))
    assert kintell.look(job.id).classes == {"removed": 0, "restored": 0, "changed_later": 1}
    same = kintell.run(File([kintell.row(1), "another line"]))
    assert Undo(kintell.jobs, last).skipped_since() == [(same.id, "sessions.csv", 1)]
    assert f"{same.id} (sessions.csv, 1 rows)" in (relied_on(last.id, Undo(kintell.jobs, last).skipped_since()) or "")
    assert kintell.look(last.id).classes == {"removed": 0, "restored": 1}


def test_rows_that_others_refer_to_are_left(kintell: Kintell) -> None:
    job = first(kintell, 3)
    edit(kintell, "CREATE TABLE notes (session_id uuid REFERENCES kintell_sessions (id) ON DELETE CASCADE)")
    edit(
        kintell, "INSERT INTO notes SELECT id FROM kintell_sessions WHERE external_session_id = 'kintell-session-00001'"
    )
    assert kintell.look(job.id).classes == {"removed": 2, "restored": 0, "referenced": 1}
    assert kintell.revert(job.id).classes == {"removed": 2, "restored": 0, "referenced": 1}
    assert kintell.one("SELECT count(*) FROM notes") == 1


def test_rows_that_a_trigger_keeps_are_listed_and_not_told(kintell: Kintell) -> None:
    """For example one that marks a session as deleted instead."""
    first(kintell, 4)
    edit(kintell, "UPDATE kintell_sessions SET feedback_text = 'old'")
    job = kintell.run(File([kintell.row(n) for n in range(2, 6)]))
    edit(
        kintell, """CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
            IF OLD.external_session_id IN ('kintell-session-00002', 'kintell-session-00005') THEN RETURN NULL; END IF;
            RETURN coalesce(NEW, OLD); END $$;
            CREATE TRIGGER keep BEFORE UPDATE OR DELETE ON kintell_sessions FOR EACH ROW EXECUTE FUNCTION keep()"""
    )  # fmt: skip
    told = kintell.jobs.get(job.id).events_total
    found = kintell.revert(job.id)
    assert found.classes == {"removed": 1, "restored": 1, "kept": 2}
    assert found.refused["external_session_id"].to_list() == ["kintell-session-00002", "kintell-session-00005"]
    assert kintell.jobs.get(job.id).events_total == told + 2
    assert kintell.one("SELECT count(*) FROM backfill_outbox WHERE job_id = %s", job.id) == told + 2
    edit(kintell, "DROP TRIGGER keep ON kintell_sessions")
    assert kintell.revert(job.id).classes == {"removed": 2, "restored": 2}


def test_a_trigger_that_stamps_each_change_does_not_make_it_an_edit(kintell: Kintell) -> None:
    edit(
        kintell, """ALTER TABLE kintell_sessions ADD updated_at timestamptz;
            CREATE FUNCTION stamp() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                NEW.updated_at := clock_timestamp(); RETURN NEW; END $$;
            CREATE TRIGGER stamp BEFORE INSERT OR UPDATE ON kintell_sessions FOR EACH ROW EXECUTE FUNCTION stamp()"""
    )  # fmt: skip
    jobs = [kintell.run(File([kintell.row(n, duration_minutes=length) for n in range(3)])) for length in (1, 2, 3)]
    edit(kintell, "UPDATE kintell_sessions SET topics = '[1]' WHERE external_session_id = 'kintell-session-00002'")
    assert kintell.revert(jobs[0].id).classes == {"removed": 0, "restored": 0, "changed_later": 3}
    assert kintell.revert(jobs[2].id).classes == {"removed": 0, "restored": 2, "edited": 1}
    assert kintell.revert(jobs[1].id).classes == {"removed": 0, "restored": 2, "changed_later": 1}
    edit(kintell, "UPDATE kintell_sessions SET topics = '[1]' WHERE external_session_id = 'kintell-session-00001'")
    assert kintell.revert(jobs[0].id).classes == {"removed": 1, "restored": 0, "edited": 1, "changed_later": 1}


def test_rows_that_the_table_refuses_are_left_and_the_others_taken_back(kintell: Kintell) -> None:
    first(kintell, 4)
    job = kintell.run(File([kintell.row(n, duration_minutes=700) for n in range(2, 6)]))
    edit(kintell, "ALTER TABLE kintell_sessions ADD CHECK (external_session_id <> 'kintell-session-00003' OR"
                  " duration_minutes = 700)")  # fmt: skip
    edit(
        kintell, """CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
            IF OLD.external_session_id = 'kintell-session-00004' THEN RAISE 'never'; END IF; RETURN OLD; END $$;
            CREATE TRIGGER refuse BEFORE DELETE ON kintell_sessions FOR EACH ROW EXECUTE FUNCTION refuse()"""
    )  # fmt: skip
    assert kintell.revert(job.id).classes == {"removed": 1, "restored": 1, "refused": 2}
    assert kintell.one("SELECT count(*) FROM kintell_sessions WHERE duration_minutes = 700") == 2
    assert kintell.jobs.get(job.id).rolled_back
    edit(kintell, "DROP TRIGGER refuse ON kintell_sessions")
    assert kintell.revert(job.id).classes == {"removed": 2, "restored": 1, "refused": 1}


def test_a_restored_row_needs_its_users(kintell: Kintell) -> None:
    edit(kintell, "ALTER TABLE kintell_sessions ALTER participant_id DROP NOT NULL")
    edit(kintell, "INSERT INTO kintell_sessions (external_session_id, session_type, volunteer_id)"
                  " SELECT 'kintell-session-00007', 'language', id FROM users LIMIT 1")  # fmt: skip
    assert kintell.revert(kintell.run(File([kintell.row(7)])).id).classes == {"removed": 0, "restored": 1}
    kintell.run(File([kintell.row(1)]))
    users = kintell.users()
    job = kintell.run(File([kintell.row(1, participant_id=users["participant2@example.com"])]))
    edit(kintell, "DELETE FROM users WHERE email = 'participant1@example.com'")
    assert kintell.revert(job.id).classes == {"removed": 0, "restored": 0, "user_gone": 1}


def test_a_job_that_was_rolled_back_can_be_imported_again_and_tells_again(kintell: Kintell) -> None:
    file = updated_file(kintell)
    job = kintell.run(file)
    whole = kintell.dump()["sessions"]
    kintell.revert(job.id)
    with pytest.raises(UsageError, match="was rolled back: there is nothing to resume"):
        kintell.jobs.get(job.id).require_resumable()
    again = kintell.run(file)
    assert again.id != job.id
    assert kintell.dump()["sessions"] == whole
    assert again.events_total == 30


def test_a_paused_job_is_taken_back_as_far_as_it_came(kintell: Kintell) -> None:
    assert run(Work("import", kintell.database.url, updated_file(kintell), failpoints="kintell.committed@2=kill"))
    job = kintell.killed_job(updated_file(kintell))
    assert job is not None
    assert job.stuck
    assert kintell.revert(job.id).removed == 20
    assert sessions(kintell) == []


@pytest.mark.parametrize("point", [*POINTS, "committed@2", "restored@2"])
def test_a_killed_revert_is_finished_by_running_again(kintell: Kintell, point: str) -> None:
    first(kintell)
    before = sessions(kintell)
    job = kintell.run(updated_file(kintell))
    work = Work("revert", kintell.database.url, job_id=job.id, failpoints=f"kintell.revert.{point}=kill", page=7)
    assert run(work)
    if point != "finished":
        with pytest.raises(UsageError, match="is being rolled back"):
            kintell.jobs.get(job.id).require_resumable()
        with pytest.raises(UsageError, match="is being rolled back"):  # else it could be resumed without what is undone
            kintell.jobs.fail(job.id)
    assert kintell.revert(job.id).classes == {"removed": 15, "restored": 15}
    assert sessions(kintell) == before
    assert kintell.jobs.get(job.id).events_total == 30 + 30
    assert kintell.one("SELECT count(*) FROM backfill_outbox WHERE job_id = %s", job.id) == 60
