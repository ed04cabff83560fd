"""Nothing is green, exit 0 or "nothing to do" on a database, a folder or a tree that says nothing."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from session_assets_tests.conftest import with_database
from session_assets_tests.flow.scenario import Guide, unique
from session_assets_tests.web.acceptance.conftest import Open
from session_assets_tests.web.acceptance.terminal import Answer, Terminal

TABLES = "assets, access_audit_log, flow_deletion_audit, llm_usage_logs"
_OF_TABLES = (
    "application_triggers", "row_counts", "foreign_keys_valid", "schema_is_as_its_step", "conditions_are_restored",
)  # fmt: skip


@pytest.fixture
def other_url(postgres_server: str) -> Iterator[str]:
    """A database that holds nothing."""
    name = f"test_{unique()}"
    with psycopg.connect(postgres_server, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}".encode())
        yield with_database(postgres_server, name)
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


def checks(answer: Answer) -> dict[str, dict[str, Any]]:
    """All checks; their figures add up."""
    found = {one["name"]: one for one in answer.body["checks"]}
    for one in found.values():
        assert one["read"] == sum(one[name] for name in ("judged", "not_applicable", "unsettled", "unreadable")), one
        assert not one["passed"] or one["judged"] or "Rightly" in one["description"] or "read" in one["description"], (
            one
        )
    return found


def refused(cli: Terminal, *said: str, code: int = 1) -> None:
    """Verify, plan and apply fail and say the same."""
    for command in ("verify", "plan", "apply"):
        answer = cli(command, "flow")
        assert answer.code == code, (command, answer)
        told = " ".join((answer.out + answer.err).split())
        assert all(one in told for one in said), (command, told)


def test_a_right_database_is_counted_whole(cli: Terminal, stored: Guide) -> None:
    found = checks(cli("verify", "flow", "--json"))
    total = sum(stored.one(f"SELECT count(*) FROM {table}") for table in TABLES.split(", "))
    assert (found["unknown_sessions"]["read"], found["values_are_understood"]["judged"]) == (total, total)
    assert found["orphaned_sessions"]["read"] == stored.one("SELECT count(*) FROM data_import_sessions")
    assert found["row_counts"]["passed"] and "not begun" in found["row_counts"]["description"]


def test_a_database_of_another_name_or_without_the_tables(cli: Terminal, stored: Guide, other_url: str) -> None:
    refused(Terminal(cli.home, {**cli.variables, "FLOW_DATABASE_URL": stored.url + "_x"}, cli.streams),
            "FLOW_DATABASE_URL", "does not exist", code=3)  # fmt: skip
    empty = Terminal(cli.home, {**cli.variables, "FLOW_DATABASE_URL": other_url}, cli.streams)
    name = other_url.rpartition("/")[2].partition("?")[0]
    refused(empty, name, "data_import_sessions", "FLOW_DATABASE_URL")
    found = checks(empty("verify", "flow", "--json"))
    assert {(one["passed"], one["severity"], one["no_evidence"]) for one in found.values()} == {(False, "ERROR", True)}
    with psycopg.connect(other_url) as connection:
        assert connection.execute("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'").fetchone() == (0,)


def test_tables_that_were_renamed_or_emptied(cli: Terminal, stored: Guide) -> None:
    assert cli("verify", "flow").code == 0
    stored.run("ALTER TABLE assets RENAME TO things")
    refused(cli, "no assets", "FLOW_DATABASE_URL")
    stored.run("ALTER TABLE things RENAME TO assets; TRUNCATE access_audit_log")
    refused(cli, "access_audit_log", "when it was verified before")
    stored.run(f"TRUNCATE {TABLES}, discovery_flows, data_import_sessions")
    refused(cli, "data_import_sessions", "when it was verified before")
    found = checks(cli("verify", "flow", "--json"))
    assert not any(one["passed"] for one in found.values())
    fresh = cli("verify", "flow", "--json", SESSION_ASSETS_HOME=str(cli.home / "other"))
    assert {(one["passed"], one["severity"]) for one in checks(fresh).values()} == {(False, "WARN")}
    assert "hold nothing" in found["unknown_sessions"]["description"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("ALTER assets TYPE bigint USING ('x' || substr(md5(session_id::text), 1, 8))::bit(32)::bigint", "bigint"),
        ("ALTER assets TYPE text USING 'batch ' || session_id", "'batch "),
    ],
)
def test_types_that_are_not_understood(cli: Terminal, stored: Guide, change: str, said: str) -> None:
    kind = change.partition(" TYPE ")[2]
    stored.run(
        "ALTER TABLE assets DROP CONSTRAINT assets_session_id_fkey; ALTER TABLE assets ALTER session_id TYPE " + kind
    )
    found = checks(cli("verify", "flow", "--json"))
    named = stored.one("SELECT count(session_id) FROM assets")
    odd = found["values_are_understood"]
    assert (odd["passed"], odd["severity"], odd["unreadable"]) == (False, "ERROR", named)
    assert "assets.session_id" in odd["description"] and said in odd["description"] and "uuid" in odd["description"]
    assert not found["rows_follow_their_session"]["passed"]
    assert cli("apply", "flow").code != 0
    assert not stored.all("SELECT FROM pg_class WHERE relname LIKE 'session_assets%'")


def test_ids_as_text_are_understood(cli: Terminal, stored: Guide) -> None:
    wanted = stored.wanted()
    stored.run(
        "ALTER TABLE assets DROP CONSTRAINT assets_session_id_fkey; ALTER TABLE assets ALTER session_id TYPE text"
        " USING upper(session_id::text)"
    )
    assert checks(cli("verify", "flow", "--json"))["values_are_understood"]["passed"]
    assert cli("apply", "flow").code == 0
    assert stored.found() == wanted


def test_a_tree_without_code_or_a_wrong_folder(open_terminal: Open, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for folder, code in (("empty", 1), ("missing", 2)):
        answer = open_terminal(None, FLOW_CODE_ROOT=str(tmp_path / folder))("verify", "flow/code")
        assert answer.code == code and "FLOW_CODE_ROOT" in answer.out + answer.err, answer


def test_figures_of_a_file_without_rows_or_of_a_wrong_database(
    open_terminal: Open, stored: Guide, other_url: str, tmp_path: Path
) -> None:
    (tmp_path / "figures.csv").write_text("name,value\n")
    answer = open_terminal(None, FLOW_METRICS_PATH=str(tmp_path / "figures.csv"))("verify", "flow/metrics", "--json")
    assert not any(one["passed"] for one in checks(answer).values())
    answer = open_terminal(None, FLOW_DATABASE_URL=other_url)("verify", "flow/metrics", "--json")
    assert (answer.code, checks(answer)["foreign_key_violations"]["severity"]) == (1, "ERROR")
    stored.run(f"TRUNCATE {TABLES}, discovery_flows, data_import_sessions")
    answer = open_terminal(None, FLOW_DATABASE_URL=stored.url)("verify", "flow/metrics", "--json")
    assert not checks(answer)["foreign_key_violations"]["passed"]


def test_stored_files_of_a_wrong_or_empty_folder_and_of_another_map(
    open_terminal: Open, stored: Guide, other_url: str, tmp_path: Path
) -> None:
    root = tmp_path / "root"
    (root / "validation_sessions").mkdir(parents=True)
    cli = open_terminal(None, FLOW_DATABASE_URL=stored.url, FLOW_VALIDATION_ROOT=str(root))
    wrong = cli("verify", "flow/files", FLOW_VALIDATION_ROOT=str(tmp_path))
    assert wrong.code == 1 and "FLOW_VALIDATION_ROOT" in wrong.out
    empty = checks(cli("verify", "flow/files", "--json"))["validation_files_moved"]
    assert (empty["passed"], empty["severity"]) == (False, "WARN")
    session = stored.one(
        "SELECT import_session_id::text FROM discovery_flows WHERE import_session_id IS NOT NULL LIMIT 1"
    )
    file = root / "validation_sessions" / session / "result.json"
    file.parent.mkdir()
    file.write_text(json.dumps({"session_id": session}))
    os.utime(file, (1_700_000_000, 1_700_000_000))
    assert cli("plan", "flow/files").code == 0
    Guide.new(other_url)
    refused = cli("apply", "flow/files", FLOW_DATABASE_URL=other_url)
    assert refused.code == 2 and "map of" in refused.err and "Nothing was looked at" in refused.err, refused
    assert file.exists()
    assert cli("apply", "flow/files").code == 0
    moved = checks(cli("verify", "flow/files", "--json"))["validation_files_moved"]
    assert (moved["passed"], moved["judged"]) == (True, 1)
    (next((root / "validation_flows").rglob("*.json"))).unlink()
    emptied = checks(cli("verify", "flow/files", "--json"))["validation_files_moved"]
    assert (emptied["passed"], emptied["severity"]) == (False, "ERROR")
