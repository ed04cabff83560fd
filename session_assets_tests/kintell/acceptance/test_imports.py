"""Imports as a person sees them: files in, exact counts out, rejects repaired, and everything taken back."""

from __future__ import annotations

import csv
import gzip
import io
import json
from pathlib import Path
from typing import Any

import pytest

from session_assets.kintell.model import COLUMNS
from session_assets_tests.kintell.files import SAMPLE, Planted, clean, plant, write
from session_assets_tests.kintell.scenario import Kintell
from session_assets_tests.web.acceptance.terminal import Answer, Terminal

_TABLE = (
    "SELECT external_session_id, session_type, participant_id, volunteer_id, scheduled_at, duration_minutes, rating,"
    " feedback_text, language_level, metadata FROM kintell_sessions ORDER BY 1"
)


def table(kintell: Kintell) -> list[tuple[Any, ...]]:
    return kintell.all(_TABLE)


def imported(answer: Answer, code: int = 0) -> dict[str, Any]:
    assert answer.code == code, answer
    body = answer.body
    assert body["rows"] == body["inserted"] + body["updated"] + body["skipped"] + body["rejected"]
    return body


def repaired(errors: str, planted: Planted) -> list[dict[str, str]]:
    rows = list(csv.DictReader(io.StringIO(errors)))
    return [planted.repaired[int(row["_error_row"]) - 1] | {"_error_row": row["_error_row"]} for row in rows]


def test_runbook_sample_imports_three_of_three(cli: Terminal, sample: Path, stored: Kintell) -> None:
    body = imported(cli("import", sample, "--create-users", "--json"))
    assert (body["inserted"], body["status"]) == (3, "completed")
    assert stored.one("SELECT count(*) FROM users WHERE email IN ('john@example.com', 'diana@example.com')") == 2
    assert (body["events"], body["published"]) == (5, 5)  # three sessions, two of them rated
    verified = cli("verify", "kintell", "--json")
    assert verified.code == 0
    assert all(check["passed"] for check in verified.body["checks"])


def test_planted_violations_are_counted_exactly_and_repaired(cli: Terminal, tmp_path: Path, stored: Kintell) -> None:
    cli.options["NATS_URL"] = ""  # 20,000 events would take longer than all the rest
    planted = plant(10_000)
    path = write(tmp_path / "planted.csv", planted.rows)
    few = cli("import", path, "--max-rejected-share", "0.01", "--json")
    assert few.code == 2
    assert "more than 1.0%" in few.body["error"]
    assert (table(stored), stored.one("SELECT count(*) FROM backfill_rejects")) == ([], 0)

    body = imported(cli("import", path, "--json"), code=1)
    wanted = planted.counts
    assert body["reasons"] == wanted
    assert (body["rejected"], body["skipped"]) == (len(planted.reasons), planted.repeated)
    assert body["inserted"] == 10_000 - len(planted.reasons) - planted.repeated
    errors = cli("errors", body["job_id"])
    assert errors.code == 0
    fixed = write(tmp_path / "fixed.csv", repaired(errors.out, planted), columns=[*COLUMNS, "_error_row"])
    again = imported(cli("import", fixed, "--json"))
    assert again["rejected"] == 0
    repaired_table = table(stored)
    with stored.connect() as connection:
        connection.execute(
            "TRUNCATE kintell_sessions, backfill_jobs, backfill_rejects, backfill_row_changes, backfill_outbox"
        )
    imported(cli("import", write(tmp_path / "clean.csv", planted.repaired), "--json"))
    assert table(stored) == repaired_table
    assert len(repaired_table) == len({row["session_id"] for row in planted.repaired})


def test_dry_run_writes_nothing(cli: Terminal, tmp_path: Path, sample: Path, postgres_url: str) -> None:
    answer = cli("import", sample, "--dry-run", "--json")
    assert (answer.code, answer.body["rejected"], answer.body["missing_users"]) == (1, 3, 6)
    import psycopg

    with psycopg.connect(postgres_url) as connection:
        assert connection.execute("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'").fetchone() == (0,)
    errors = Path(answer.body["error_file"])
    assert len(errors.read_text().splitlines()) == 4


def test_same_bytes_under_another_name_are_recognised(cli: Terminal, tmp_path: Path, stored: Kintell) -> None:
    first = imported(cli("import", write(tmp_path / "a.csv", [clean(1)]), "--json"))
    (tmp_path / "b.csv").write_bytes((tmp_path / "a.csv").read_bytes())
    second = imported(cli("import", tmp_path / "b.csv", "--json"))
    assert (second["job_id"], second["nothing_to_do"]) == (first["job_id"], True)
    assert stored.one("SELECT count(*) FROM backfill_jobs") == 1


def test_killed_import_is_stuck_until_it_is_resumed(cli: Terminal, tmp_path: Path, stored: Kintell) -> None:
    path = write(tmp_path / "a.csv", [clean(n) for n in range(100)])
    cli.killed_at("kintell.committed@3", "import", path, "--batch-size", "10")
    (job,) = json.loads(cli("jobs", "--json").out)
    assert (job["stuck"], job["processed_rows"]) == (True, 30)
    other = write(tmp_path / "other.csv", [clean(n, rating="2") for n in range(100)])
    refused = cli("import", other, "--resume", job["id"], "--json")
    assert refused.code == 1
    assert "not the one that job" in refused.body["error"]
    path.unlink()
    resumed = imported(cli("resume", job["id"], "--json"))
    assert (resumed["inserted"], resumed["job_id"]) == (100, job["id"])
    assert list((cli.home / "imports").iterdir()) == [] or not any(
        one.name.endswith("-a.csv") for one in (cli.home / "imports").iterdir()
    )


def test_job_is_paused_failed_and_resumed(cli: Terminal, tmp_path: Path, stored: Kintell) -> None:
    path = write(tmp_path / "a.csv", [clean(n) for n in range(50)])
    cli.killed_at("kintell.committed@1", "import", path, "--batch-size", "10")
    job = json.loads(cli("jobs", "--json").out)[0]["id"]
    told = json.loads(cli("fail", job, "--json").out)
    assert (told["id"], told["status"], told["processed_rows"]) == (job, "failed", 10)
    assert stored.one("SELECT status FROM backfill_jobs") == "failed"
    assert imported(cli("import", path, "--resume", job, "--json"))["inserted"] == 50
    assert cli("pause", job).code == 2
    assert cli("resume", "no such job").code == 2


def test_revert_takes_back_a_job_and_lists_what_was_edited(cli: Terminal, tmp_path: Path, stored: Kintell) -> None:
    path = write(tmp_path / "a.csv", [clean(n) for n in range(20)])
    job = imported(cli("import", path, "--json"))["job_id"]
    with stored.connect() as connection:
        connection.execute(
            "UPDATE kintell_sessions SET topics = '[1]' WHERE external_session_id = 'kintell-session-00007'"
        )
    preview = cli("revert", "kintell", "--plan-id", job, "--dry-run", "--json")
    assert (preview.body["undoable"], preview.body["refused"], len(table(stored))) == (19, 1, 20)
    undone = cli("revert", "kintell", "--plan-id", job, "--json")
    assert (undone.code, undone.body["undoable"]) == (1, 19)
    assert [row[0] for row in table(stored)] == ["kintell-session-00007"]
    again = imported(cli("import", path, "--json"))
    assert again["job_id"] != job


def test_plan_and_apply_take_what_lies_in_the_drop_folder(
    cli: Terminal, drops: Path, tmp_path: Path, stored: Kintell
) -> None:
    source = write(tmp_path / "a.csv", [clean(n) for n in range(5)], delimiter=";", end="\r\n")
    (drops / "a.csv.gz").write_bytes(gzip.compress(source.read_bytes()))
    write(drops / "b.csv", [clean(7, date="soon"), clean(8)])
    planned = cli("plan", "kintell", "--json")
    assert (planned.code, planned.body["read"], planned.body["classes"]) == (
        0,
        7,
        {"accepted": 6, "skipped": 0, "rejected": 1},
    )
    assert table(stored) == []
    applied = cli("apply", "kintell", "--json")
    assert (applied.code, applied.body["classes"]["inserted"], applied.body["reasons"]) == (1, 6, {"date_invalid": 1})
    assert cli("apply", "all", "--json").bodies[-1]["read"] == 0


@pytest.mark.parametrize("content", [b"", b"\x00\x01", b"a,b\n1,2\n"])
def test_file_that_is_no_import_is_refused_before_anything(
    cli: Terminal, tmp_path: Path, stored: Kintell, content: bytes
) -> None:
    (tmp_path / "a.csv").write_bytes(content)
    answer = cli("import", tmp_path / "a.csv", "--json")
    assert answer.code == 1
    assert "a.csv" in answer.body["error"]
    assert stored.one("SELECT count(*) FROM backfill_outbox") == 0
    assert cli("import", tmp_path, "--json").code == 1


def test_latin_1_is_imported_when_told(cli: Terminal, tmp_path: Path, stored: Kintell) -> None:
    path = write(tmp_path / "a.csv", [clean(1, feedback_text="très bien")])
    path.write_bytes(path.read_text().encode("latin-1"))
    assert imported(cli("import", path, "--encoding", "latin-1", "--json"))["inserted"] == 1
    assert table(stored)[0][7] == "très bien"
    (tmp_path / "b.csv").write_text(SAMPLE)
    assert cli("import", tmp_path / "b.csv", "--encoding", "klingon", "--json").code == 2


def test_before_the_first_import_there_is_nothing_to_say(cli: Terminal, tmp_path: Path) -> None:
    assert json.loads(cli("jobs", "--json").out) == []
    for command in (["errors", "x"], ["pause", "x"], ["fail", "x"], ["revert", "kintell", "--plan-id", "x"]):
        answer = cli(*command)
        assert (answer.code, "There is no import job x" in answer.err) == (2, True), answer
    verified = cli("verify", "kintell", "--json")
    assert (verified.code, {one["passed"] for one in verified.body["checks"]}) == (0, {True})
    assert (cli("plan", "kintell").code, cli("apply", "kintell").code) == (0, 0)
    assert "there is no such file" in cli("import", tmp_path / "none.csv").err


def test_failed_preflight_is_a_matter_of_usage(cli: Terminal, tmp_path: Path, stored: Kintell) -> None:
    with stored.connect() as connection:
        connection.execute("DROP INDEX kintell_sessions_external_session_id_once")
    answer = cli("import", write(tmp_path / "a.csv", [clean(1)]))
    assert (answer.code, answer.err.strip().splitlines()[0]) == (
        2,
        "error: The import was not started, nothing was changed:",
    )


def test_without_its_variable_the_slice_says_so(cli: Terminal, sample: Path) -> None:
    answer = cli("import", sample, "--json", KINTELL_DATABASE_URL=None)
    assert answer.code == 2
    assert "KINTELL_DATABASE_URL is not set" in answer.body["error"]
    assert "kintell: skipped, KINTELL_DATABASE_URL is not set" in cli("verify", "all", KINTELL_DATABASE_URL=None).err
