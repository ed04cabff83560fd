"""Jobs belong to the database that they were imported into: on a copy they are refused until somebody accepts it."""

from __future__ import annotations

import re
from pathlib import Path

import psycopg

from session_assets_tests.conftest import with_database
from session_assets_tests.kintell.acceptance.test_imports import imported
from session_assets_tests.kintell.files import clean, write
from session_assets_tests.kintell.scenario import Kintell
from session_assets_tests.web.acceptance.terminal import Terminal


def test_a_job_is_neither_undone_nor_published_on_a_clone(
    cli: Terminal, tmp_path: Path, stored: Kintell, postgres_server: str, clone_name: str
) -> None:
    file = write(tmp_path / "a.csv", [clean(n) for n in range(3)])
    job = imported(cli("import", file, "--json", NATS_URL=None))["job_id"]  # its events wait
    with psycopg.connect(postgres_server, autocommit=True) as connection:
        source = stored.one("SELECT current_database()")
        connection.execute(f"CREATE DATABASE {clone_name} TEMPLATE {source}".encode())
    url = with_database(postgres_server, clone_name)
    clone = Kintell.new(url)
    there = clone.dump()
    on_clone = Terminal(cli.home, {**cli.variables, "KINTELL_DATABASE_URL": url}, cli.streams)
    for command in (("revert", "kintell", "--plan-id", job), ("resume", job), ("import", str(file))):
        refused = on_clone(*command)
        assert refused.code == 2, (command, refused)
        assert "imported on another database" in refused.err and clone_name in refused.err, refused
    assert clone.dump() == there
    own = imported(on_clone("import", write(tmp_path / "b.csv", [clean(7)]), "--json"))
    assert (own["inserted"], own["published"], "were left alone" in own["note"]) == (1, own["events"], True)
    assert clone.one("SELECT events_published FROM backfill_jobs WHERE id = %s", job) == 0
    accept = re.search(r"target accept (\w+) (\w+)", refused.err)
    assert accept
    assert on_clone("target", "accept", accept[1], accept[2], "--note", "restored").code == 0
    assert on_clone("revert", "kintell", "--plan-id", job).code == 0
    assert clone.one("SELECT count(*) FROM kintell_sessions") == 1
    assert stored.one("SELECT count(*) FROM kintell_sessions") == 3
    assert cli("revert", "kintell", "--plan-id", job).code == 0
