"""`session-assets flow describe` proposes a description: what can be derived is right, the rest is asked."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from os import environ
from pathlib import Path

import pytest

from session_assets.flow.description import described
from session_assets.flow.model import MIGRATION, Migration
from session_assets_tests.flow.scenario import VARIABLE, Guide


def describe(guide: Guide, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from session_assets.cli import main; main()", "flow", "describe", *options]
    return subprocess.run(command, env={**environ, VARIABLE: guide.url}, capture_output=True, text=True, check=False)


def answered(text: str, answers: list[tuple[str, str]]) -> str:
    """The proposal with its questions answered, each by what stands before its mark."""
    for before, answer in answers:
        assert text.count(f'{before}"?"') == 1, (before, text)
        text = text.replace(f'{before}"?"', f"{before}{answer}")
    return text


def read(tmp_path: Path, text: str) -> Migration:
    (tmp_path / "schema.yaml").write_text(text)
    return described({"FLOW_SCHEMA": str(tmp_path / "schema.yaml")}).migration


def test_the_guides_schema_is_found(guide: Guide, tmp_path: Path) -> None:
    before = guide.rows()
    done = describe(guide)
    assert (done.returncode, done.stderr.split(":")[0]) == (0, "3 questions"), done.stderr
    text = answered(
        done.stdout,
        [
            ("active: [", "active"),
            ("    status: ", "migrated"),
            ("    user_id: ", "session_assets"),
            ("fallback: ", "created_at"),
        ],
    )
    found = read(tmp_path, text)
    flows = replace(
        MIGRATION.flows,
        active=("active",),
        literals={"status": "migrated", "user_id": "session_assets"},
        titled=("flow_name", "{}"),
    )
    linked = {one.name: one for one in MIGRATION.linked}
    linked["assets"] = replace(linked["assets"], on_delete=None)  # what a person wants of it cannot be derived
    assert {one.name: one for one in found.linked} == linked
    assert (found.sessions, found.flows) == (MIGRATION.sessions, flows)
    assert "# left out: data_import_sessions.parent_session_id: it points at its own table" in text
    assert guide.rows() == before


def test_a_key_of_several_columns_points_at_sessions_by_its_id(guide: Guide) -> None:
    guide.run(
        "ALTER TABLE data_import_sessions ADD UNIQUE (id, client_account_id);"
        " CREATE TABLE notes (id int PRIMARY KEY, import_ref uuid, client_account_id uuid,"
        " FOREIGN KEY (import_ref, client_account_id) REFERENCES data_import_sessions (id, client_account_id))"
    )
    notes = describe(guide).stdout.partition("- table: notes")[2].partition("- table")[0]
    assert "    old: import_ref\n" in notes and "    fate: fill\n" in notes


def test_keys_that_point_at_different_columns_are_asked_about(guide: Guide) -> None:
    guide.run(
        "ALTER TABLE data_import_sessions ADD code text UNIQUE;"
        " CREATE TABLE notes (id int PRIMARY KEY, code text REFERENCES data_import_sessions (code))"
    )
    text = describe(guide).stdout
    assert "QUESTION: foreign keys point at id and code" in text and '  key: "?"' in text
    assert "# left out: notes.code: it points at code of data_import_sessions, not at id" in text


def test_what_cannot_be_sessions_or_flows_is_refused(guide: Guide) -> None:
    guide.run("CREATE TABLE pairs (a int, b int, PRIMARY KEY (a, b))")
    for option, said in (
        ("--sessions", "no primary key of one column"),
        ("--flows", "no unique column that could be the id"),
    ):
        refused = describe(guide, option, "pairs")
        assert refused.returncode == 2 and said in refused.stderr, refused


def test_a_file_is_written_once_and_never_over_another(guide: Guide, tmp_path: Path) -> None:
    file = tmp_path / "new.yaml"
    assert describe(guide, "--out", str(file)).returncode == 0
    content = file.read_text()
    assert content.startswith("# What becomes of the session ids")
    again = describe(guide, "--out", str(file))
    assert (again.returncode, file.read_text()) == (2, content) and "exists and is kept" in again.stderr
    with pytest.raises(Exception, match=r"new\.yaml, line \d+: flows\.active\[0\]: answer the question"):
        described({"FLOW_SCHEMA": str(file)})


def test_several_tables_that_could_be_meant_are_asked_for(guide: Guide) -> None:
    guide.run(
        "CREATE TABLE user_sessions (id uuid PRIMARY KEY); CREATE TABLE clicks (id uuid PRIMARY KEY,"
        " user_session_id uuid REFERENCES user_sessions)"
    )
    asked = describe(guide)
    assert asked.returncode == 2
    assert "data_import_sessions (2 tables point at it) or user_sessions (1 tables point at it)" in asked.stderr
    assert "--sessions TABLE" in asked.stderr
    told = describe(guide, "--sessions", "data_import_sessions")
    assert told.returncode == 0 and "clicks" not in told.stdout.replace("# left out: clicks", "")
    unknown = describe(guide, "--sessions", "nothing")
    assert unknown.returncode == 2 and "there is no table nothing" in unknown.stderr


def test_a_column_that_holds_something_else_is_left_out(guide: Guide) -> None:
    guide.run(
        "CREATE TABLE web_log (id bigint PRIMARY KEY, session_id text); INSERT INTO web_log VALUES (1, 'cookie');"
        " CREATE TABLE web_draft (id bigint PRIMARY KEY, session_id text)"
    )
    done = describe(guide)
    assert "# left out: web_log.session_id: none of 1 values is a session or a flow" in done.stdout
    draft = done.stdout.partition("- table: web_draft")[2].partition("- table")[0]
    assert 'fate: "?"' in draft and "QUESTION: it has this name only" in draft
