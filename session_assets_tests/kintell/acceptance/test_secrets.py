"""Canaries in files: e-mails reach neither Dagster, nor the terminal, nor any log; error files are for their owner alone."""

from __future__ import annotations

import stat
from pathlib import Path

from session_assets_tests.canaries import MAILS, PASSWORD, assert_none, assert_private, dagster_rows
from session_assets_tests.kintell.files import clean, write
from session_assets_tests.kintell.scenario import Kintell
from session_assets_tests.web.acceptance.terminal import Terminal


def test_canaries_stay_where_they_are(
    cli: Terminal, drops: Path, tmp_path: Path, stored: Kintell, dagster_url: str
) -> None:
    rows = [
        *(clean(n, participant_email=mail, volunteer_email=mail.upper()) for n, mail in enumerate(MAILS)),
        *(clean(10 + n, session_type=f"call {mail}", session_id=f"id-{mail}") for n, mail in enumerate(MAILS)),
        *(clean(20 + n, participant_email=f"{mail}@", date=mail, rating=mail) for n, mail in enumerate(MAILS)),
        clean(30, feedback_text=MAILS[0]),
        clean(31, session_id=f"good-{MAILS[0]}") | {f"for {MAILS[0]}": MAILS[1]},
        clean(32, session_id=f"good-{MAILS[0]}"),
    ]
    columns = [*clean(0), f"for {MAILS[0]}"]
    path = write(
        tmp_path / f"from-{MAILS[0]}.csv",
        [{name: row.get(name, "") for name in columns} for row in rows],
        columns=columns,
    )
    write(drops / f"drop-{MAILS[0]}.csv", [clean(41, participant_email=MAILS[0])])
    bad = tmp_path / "bad.csv"
    bad.write_text(f"session_id,{MAILS[0]}\n1,2\n")
    answers = [
        cli("import", path, "--dry-run"),
        cli("import", path, "--dry-run", "--json"),
        cli("import", path, "--json"),
    ]
    job = answers[-1].body["job_id"]
    answers += [
        cli("import", path),
        cli("import", bad),
        cli("import", bad, "--json"),
        cli("jobs"),
        cli("jobs", "--json"),
    ]
    answers += [
        cli("plan", "kintell"),
        cli("apply", "kintell"),
        cli("verify", "kintell"),
        cli("verify", "kintell", "--json"),
    ]
    with stored.connect() as connection:
        connection.execute("UPDATE kintell_sessions SET topics = '[1]' WHERE external_session_id LIKE 'kintell%%'")
    answers += [cli("revert", "kintell", "--plan-id", job, *more) for more in (("--dry-run",), ("--json",))]
    url = cli.variables["KINTELL_DATABASE_URL"].replace("127.0.0.1", f"mary:{PASSWORD}@127.0.0.1")
    answers += [cli("verify", "kintell", KINTELL_DATABASE_URL=url), cli("import", path, KINTELL_DATABASE_URL=url)]

    for answer in answers:
        assert "Traceback" not in answer.err
        assert_none(f"{answer.out}\n{answer.err}", "terminal")
    for table, text in dagster_rows(dagster_url):
        assert_none(text, table)
    for file in cli.home.rglob("*"):
        private = any(file.is_relative_to(cli.home / name) for name in ("storage/kintell", "imports", "drops"))
        if file.is_file() and not private:
            assert_none(file.read_text(errors="replace"), str(file))
    for folder in ("storage/kintell", "imports"):
        assert_private(cli.home / folder)


def test_error_file_shows_the_data_unmasked_to_who_asks(cli: Terminal, tmp_path: Path, stored: Kintell) -> None:
    body = cli("import", write(tmp_path / "a.csv", [clean(1, participant_email=MAILS[0])]), "--json").body
    errors = cli("errors", body["job_id"]).out
    assert f"Participant not found: {MAILS[0]}" in errors
    assert stat.S_IMODE(Path(body["error_file"]).stat().st_mode) == 0o600
