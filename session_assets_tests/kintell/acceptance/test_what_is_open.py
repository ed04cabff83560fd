"""What a terminal says is what is so now: in the table, in the file, and among the events."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from session_assets_tests.kintell.acceptance.test_imports import imported
from session_assets_tests.kintell.files import clean, write
from session_assets_tests.kintell.scenario import Kintell
from session_assets_tests.web.acceptance.terminal import Terminal


def execute(kintell: Kintell, *statements: str) -> None:
    with kintell.connect() as connection:
        for statement in statements:
            connection.execute(statement.encode())


def sessions(kintell: Kintell) -> int:
    found: int = kintell.one("SELECT count(*) FROM kintell_sessions")
    return found


def test_the_runbooks_own_roll_back_is_seen_and_an_import_brings_it_back(
    cli: Terminal, tmp_path: Path, stored: Kintell
) -> None:
    path = write(tmp_path / "a.csv", [clean(n) for n in range(3)])
    job = imported(cli("import", path, "--json"))["job_id"]
    execute(stored, "DELETE FROM kintell_sessions", "UPDATE backfill_jobs SET status = 'failed'")
    verified = cli("verify", "kintell", "--json")
    check = verified.check("rows_are_there")
    assert (verified.code, check["severity"], check["passed"], check["count"]) == (1, "ERROR", False, 3)
    assert f"{job} (3 rows)" in check["description"]
    assert "session-assets jobs accept" in check["description"]
    again = imported(cli("import", path, "--json"))
    assert (again["job_id"], again["inserted"], again["status"], sessions(stored)) == (job, 3, "completed", 3)
    assert cli("verify", "kintell", "--json").check("rows_are_there")["passed"]
    assert "nothing to do" in cli("import", path).out
    reverted = cli("revert", "kintell", "--plan-id", job, "--json")
    assert (reverted.code, reverted.body["undoable"], sessions(stored)) == (0, 3, 0)


def test_a_removal_on_purpose_is_accepted(cli: Terminal, tmp_path: Path, stored: Kintell) -> None:
    path = write(tmp_path / "a.csv", [clean(n) for n in range(3)])
    job = imported(cli("import", path, "--json"))["job_id"]
    execute(stored, "DELETE FROM kintell_sessions WHERE external_session_id = 'kintell-session-00001'")
    assert cli("verify", "kintell").code == 1
    assert cli("jobs", "accept", job).code == 2  # without a note
    accepted = cli("jobs", "accept", job, "--note", "asked for by the school", "--json")
    assert (accepted.code, accepted.body["accepted"]) == (0, 1)
    assert cli("verify", "kintell").code == 0
    assert cli("import", path).code == 0
    assert sessions(stored) == 2
    assert [one["id"] for one in json.loads(cli("jobs", "--json").out)] == [job]


def test_users_are_created_and_the_whole_file_is_imported_again(cli: Terminal, tmp_path: Path, stored: Kintell) -> None:
    rows = [clean(n, **({"participant_email": f"new{n}@example.com"} if n else {})) for n in range(4)]
    path = write(tmp_path / "a.csv", rows)
    first = imported(cli("import", path, "--json"), code=1)
    assert (first["inserted"], first["open_rejects"]) == (1, 3)
    refused = cli("resume", first["job_id"])
    assert (refused.code, "import the same file again" in refused.err.replace("\n", " ")) == (2, True), refused
    execute(
        stored, "INSERT INTO users (email, role) SELECT 'new' || n || '@example.com', 'x' FROM generate_series(1, 2) n"
    )
    would = cli("import", path, "--dry-run", "--json")
    assert (would.code, would.body["would_insert"], would.body["rejected"]) == (1, 2, 1)
    again = imported(cli("import", path, "--json"), code=1)
    assert (again["retried"]["inserted"], again["rejected"], again["open_rejects"]) == (2, 1, 1)
    closed = cli("rejects", "close", first["job_id"], "--note", "left the school", "--json")
    assert (closed.code, closed.body["closed"]) == (0, 1)
    last = cli("import", path, "--json")
    assert (last.code, last.body["nothing_to_do"], last.body["open_rejects"]) == (0, True, 0)
    assert all(check["count"] == 0 for check in cli("verify", "kintell", "--json").body["checks"])


def test_rejects_that_are_new_after_the_closing_are_open(cli: Terminal, tmp_path: Path, stored: Kintell) -> None:
    rows = [clean(n) for n in range(4)]
    path = write(tmp_path / "a.csv", [rows[0] | {"participant_email": "new@example.com"}, *rows[1:]])
    job = imported(cli("import", path, "--json"), code=1)["job_id"]
    assert cli("rejects", "close", job, "--note", "left the school").code == 0
    assert cli("import", path).code == 0
    execute(
        stored,
        "DELETE FROM kintell_sessions WHERE external_session_id = 'kintell-session-00002'",
        f"DELETE FROM users WHERE email = '{rows[2]['volunteer_email']}'",
    )
    again = imported(cli("import", path, "--json"), code=1)
    assert (again["rejected"], again["open_rejects"]) == (2, 2)
    assert cli("verify", "kintell", "--json").check("users_exist")["count"] == 2
    assert cli("rejects", "close", job, "--note", "left, too", "--json").body["closed"] == 2
    assert cli("import", path).code == 0


def test_values_say_what_is_wrong_with_them(cli: Terminal, tmp_path: Path, stored: Kintell) -> None:
    path = write(
        tmp_path / "a.csv",
        [
            clean(1, date="2024-01-15T10:00:00"),
            clean(2, rating="4,5"),
            clean(3, duration_min="60.0"),
            clean(4, date="01/15/2024"),
        ],
    )
    job = imported(cli("import", path, "--json"), code=1)["job_id"]
    messages = cli("errors", job).out
    for part in (
        "2024-01-15T10:00:00 has no offset from UTC; say --timezone, for example Europe/London",
        "4,5 has a decimal comma, write a point",
        "60.0 has decimals, write whole minutes",
        "Invalid date format: 01/15/2024",
    ):
        assert part in messages
    again = imported(cli("import", path, "--timezone", "Europe/London", "--json"), code=1)
    assert again["retried"]["inserted"] == 1
    wrong = cli("import", path, "--timezone", "Mars/Base")
    assert (wrong.code, "there is no time zone Mars/Base" in wrong.err) == (2, True)


def test_odd_rows_are_told_with_their_counts(cli: Terminal, tmp_path: Path, stored: Kintell) -> None:
    rows = [
        clean(1, date="2099-01-01T10:00:00Z"),
        clean(2, date="0001-01-01T10:00:00Z"),
        clean(3, volunteer_email="participant3@example.com"),
    ]
    path = write(tmp_path / "a.csv", rows)
    warnings = {"date_in_future": 1, "date_too_old": 1, "same_person": 1}
    assert cli("import", path, "--dry-run", "--json").body["warnings"] == warnings
    assert "1 rows name the same user" in cli("import", path).out
    empty = write(tmp_path / "empty.csv", [])
    assert "files have a header and no rows" in cli("import", empty).out
    verified = cli("verify", "kintell", "--json")
    for name, count in (("values_are_plausible", 3), ("files_hold_rows", 1)):
        check = verified.check(name)
        assert (check["severity"], check["passed"], check["count"]) == ("WARN", False, count)
    assert verified.code == 0


def test_resume_of_a_completed_job_publishes_what_waits(
    cli: Terminal, tmp_path: Path, stored: Kintell, own_nats: str
) -> None:
    path = write(tmp_path / "a.csv", [clean(n) for n in range(3)])
    job = imported(cli("import", path, "--json", NATS_URL=None))["job_id"]
    waits = cli("resume", job, "--json", NATS_URL=None)
    assert (waits.code, waits.body["published"], "NATS_URL" in waits.body["note"]) == (1, 0, True)
    done = cli("resume", job, "--json")
    assert (done.code, done.body["waited"], done.body["published"]) == (0, 5, 5)
    refused = cli("resume", job)
    assert (refused.code, "none of its events waits" in refused.err.replace("\n", " ")) == (2, True)


def test_a_revert_names_what_it_leaves_and_exits_1(cli: Terminal, tmp_path: Path, stored: Kintell) -> None:
    job = imported(cli("import", write(tmp_path / "a.csv", [clean(n) for n in range(4)]), "--json"))["job_id"]
    execute(
        stored,
        "UPDATE kintell_sessions SET topics = '[1]' WHERE external_session_id = 'kintell-session-00000'",
        "CREATE TABLE notes (session uuid REFERENCES kintell_sessions (id))",
        "INSERT INTO notes SELECT id FROM kintell_sessions WHERE external_session_id = 'kintell-session-00001'",
        "DELETE FROM kintell_sessions WHERE external_session_id = 'kintell-session-00002'",
    )
    answer = cli("revert", "kintell", "--plan-id", job, "--json")
    assert (answer.code, answer.body["undoable"], answer.body["left_rows"]) == (1, 1, 2)
    words = [line.split(": ")[:2] for line in answer.body["refused_sample"]]
    assert words == [
        ["kintell-session-00000 (row 1)", "edited"],
        ["kintell-session-00001 (row 2)", "referenced"],
        ["kintell-session-00002 (row 3)", "gone"],
    ]


def test_a_revert_of_a_job_that_lost_records_says_how_many_rows_stay(
    cli: Terminal, tmp_path: Path, stored: Kintell
) -> None:
    job = imported(cli("import", write(tmp_path / "a.csv", [clean(n) for n in range(4)]), "--json"))["job_id"]
    execute(
        stored,
        "CREATE TABLE kept AS SELECT * FROM backfill_row_changes",
        "DELETE FROM backfill_row_changes WHERE row > 1",
    )
    revert = ("revert", "kintell", "--plan-id", job)
    dry, answer = cli(*revert, "--dry-run", "--json").body, cli(*revert, "--json")
    for body in (dry, answer.body):
        assert (body["undoable"], body["left_rows"], body["left"]) == (1, 3, {"unrecorded": 3})
    assert (answer.code, sessions(stored)) == (1, 3)
    execute(stored, "INSERT INTO backfill_row_changes SELECT * FROM kept WHERE row > 1")
    assert (cli(*revert).code, sessions(stored)) == (0, 0)


def test_a_blank_cell_keeps_what_is_stored(cli: Terminal, tmp_path: Path, stored: Kintell) -> None:
    full = clean(1, rating="5", feedback_text="Good", language_level="B1")
    imported(cli("import", write(tmp_path / "a.csv", [full]), "--json"))
    blank = write(
        tmp_path / "b.csv", [full | {"rating": "", "feedback_text": " ", "language_level": "", "duration_min": "9"}]
    )
    assert cli("import", blank, "--dry-run", "--json").body["would_keep"] == 1
    body: dict[str, Any] = imported(cli("import", blank, "--json"))
    assert (body["updated"], body["kept"]) == (1, 1)
    kept = "SELECT rating::float8, feedback_text, language_level, duration_minutes FROM kintell_sessions"
    assert stored.one(kept) == (1.0, "Good", "B1", 9)
    refused = cli("import", blank, "--policy", "replace")
    assert (refused.code, "take it back first" in refused.err.replace("\n", " ")) == (2, True)
    assert cli("revert", "kintell", "--plan-id", body["job_id"]).code == 0
    imported(cli("import", blank, "--policy", "replace", "--json"))
    assert stored.one(kept) == (None, " ", None, 9)


def test_another_database_than_the_one_of_the_imports_is_no_evidence(
    cli: Terminal, tmp_path: Path, stored: Kintell
) -> None:
    imported(cli("import", write(tmp_path / "a.csv", [clean(1)]), "--json"))
    verified = cli("verify", "kintell", "--json")
    assert verified.code == 0
    for check in verified.body["checks"]:
        figures = [check[name] for name in ("judged", "not_applicable", "unsettled", "unreadable")]
        assert check["read"] == sum(figures) > 0
    execute(stored, "DROP TABLE backfill_outbox, backfill_row_changes, backfill_rejects")
    lost = cli("verify", "kintell", "--json")
    assert lost.code == 1
    for check in lost.body["checks"]:
        assert (check["passed"], check["severity"], check["no_evidence"]) == (False, "ERROR", True)
    assert "1 import jobs were seen from here before" in lost.check("rows_are_there")["description"]


def test_verify_says_how_many_sessions_it_read_and_why_it_has_no_evidence(
    cli: Terminal, tmp_path: Path, stored: Kintell
) -> None:
    imported(cli("import", write(tmp_path / "a.csv", [clean(n) for n in range(3)]), "--json"))
    body = cli("verify", "kintell", "--json").body
    assert (body["read"], body["judged"], body["unit"]) == (3, 3, "sessions")
    assert "3 sessions read: 3 judged" in cli("verify", "kintell").out
    execute(stored, "DROP TABLE backfill_outbox, backfill_row_changes, backfill_rejects")
    lost = cli("verify", "kintell")
    assert lost.code == 1 and "holds no imports, but 1 import jobs were seen" in lost.out.replace("\n", " ")


def test_a_table_of_jobs_that_was_emptied_is_no_evidence(cli: Terminal, tmp_path: Path, stored: Kintell) -> None:
    imported(cli("import", write(tmp_path / "a.csv", [clean(1)]), "--json"))
    assert cli("verify", "kintell").code == 0
    execute(stored, "TRUNCATE backfill_jobs CASCADE", "TRUNCATE kintell_sessions CASCADE")
    emptied = cli("verify", "kintell", "--json")
    assert emptied.code == 1
    assert all((one["passed"], one["no_evidence"]) == (False, True) for one in emptied.body["checks"])
    assert "held 1 import jobs when it was verified before" in emptied.body["lack"]["text"]
    assert cli("verify", "kintell", "--allow-empty").code == 0


def test_events_that_somebody_removed_from_the_outbox_are_told(cli: Terminal, tmp_path: Path, stored: Kintell) -> None:
    away = Terminal(cli.home, {**cli.variables, "NATS_URL": "nats://127.0.0.1:1"}, cli.streams)
    assert away("import", write(tmp_path / "a.csv", [clean(1)])).code == 3
    execute(stored, "DELETE FROM backfill_outbox")
    check = cli("verify", "kintell", "--json").check("events_are_published")
    assert not check["passed"] and check["count"] > 0
    assert "0 of" not in check["description"] and "outbox does not hold them" in check["description"]


def test_a_job_that_is_marked_as_rolled_back_by_hand_is_not_believed(
    cli: Terminal, tmp_path: Path, stored: Kintell
) -> None:
    job = imported(cli("import", write(tmp_path / "a.csv", [clean(1)]), "--json"))["job_id"]
    execute(stored, "UPDATE backfill_jobs SET status = 'failed', reason = 'rolled back'")
    check = cli("verify", "kintell", "--json").check("rows_accounted")
    assert (check["passed"], check["count"], check["sample"]) == (False, 1, [job])
    assert cli("revert", "kintell", "--plan-id", job).code == 0
    assert sessions(stored) == 0
    assert cli("verify", "kintell", "--json").check("rows_accounted")["passed"]
