"""`verify flow/code`, `flow/files`, `flow/metrics` in a terminal, and their jobs in CI: exit codes say what is left."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from session_assets_tests.flow.scenario import Guide
from session_assets_tests.web.acceptance.conftest import Open
from session_assets_tests.web.acceptance.terminal import Terminal


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A source tree with one active reference."""
    folder = tmp_path / "app"
    folder.mkdir()
    (folder / "service.py").write_text("def run(session_id): return 1\n")
    (folder / "clean.py").write_text("flow_id = 1\n")
    return folder


@pytest.fixture
def code(open_terminal: Open, tree: Path) -> Terminal:
    return open_terminal(None, FLOW_CODE_ROOT=str(tree))


def job(cli: Terminal, name: str) -> int:
    """`dagster job execute`, as the docs say it for CI."""
    command = [sys.executable, "-m", "dagster", "job", "execute", "-m", "session_assets.definitions", "-j", name]
    return subprocess.run(command, env=dict(cli.variables), capture_output=True, check=False).returncode


def test_verify_flow_code_is_1_while_active_references_remain(code: Terminal, tree: Path) -> None:
    found = code("verify", "flow/code", "--json")
    assert found.code == 1
    check = found.check("no_active_references")
    assert (check["passed"], check["severity"], check["count"]) == (False, "ERROR", 1)
    assert found.body["read"] == 2
    told = code("verify", "flow/code")
    assert told.code == 1 and "service.py:1" in "".join(told.out.split()) and "error:" not in told.err
    assert job(code, "flow_code") != 0
    (tree / "service.py").write_text("def run(flow_id): return 1\n")
    assert code("verify", "flow/code").code == 0
    assert job(code, "flow_code") == 0


def test_a_search_that_read_hardly_any_file_proves_nothing(code: Terminal, tree: Path) -> None:
    (tree / "service.py").write_text("def run(flow_id): return 1\n")
    for number in range(5):
        (tree / f"cut{number}.py").write_text("def run(:\n  session_id\n")
    found = code("verify", "flow/code", "--json")
    check = found.check("code_files_are_read")
    assert (found.code, check["severity"], check["no_evidence"], check["unreadable"]) == (1, "ERROR", True, 5), found
    allowed = code("verify", "flow/code", SESSION_ASSETS_MAX_UNREADABLE_SHARE="1")
    assert "No evidence" not in allowed.out, allowed


def test_what_only_looks_cannot_be_applied(code: Terminal) -> None:
    refused = code("apply", "flow/code")
    assert refused.code == 2
    assert "session-assets verify flow/code" in refused.err


def test_verify_flow_metrics_without_data_warns_and_a_critical_one_fails(
    open_terminal: Open, stored: Guide, tmp_path: Path
) -> None:
    nothing = open_terminal(None)("verify", "flow/metrics", "--json")
    assert nothing.code == 0
    assert {(one["passed"], one["severity"], one["judged"]) for one in nothing.body["checks"]} == {(False, "WARN", 0)}
    cli = open_terminal(None, FLOW_DATABASE_URL=stored.url)
    stored.run(
        "ALTER TABLE assets DROP CONSTRAINT assets_session_id_fkey; INSERT INTO assets (name, session_id)"
        " VALUES ('x', gen_random_uuid()); ALTER TABLE assets ADD CONSTRAINT k FOREIGN KEY (session_id)"
        " REFERENCES data_import_sessions NOT VALID"
    )
    found = cli("verify", "flow/metrics", "--json")
    assert found.code == 1
    assert found.check("foreign_key_violations")["severity"] == "ERROR"
    assert job(cli, "flow_metrics") != 0
    file = tmp_path / "figures.json"
    file.write_text(json.dumps({"foreign_key_violations": 0}))
    said = cli("verify", "flow/metrics", "--json", FLOW_METRICS_PATH=str(file))
    check = said.check("foreign_key_violations")
    assert (said.code, check["severity"], check["passed"]) == (1, "ERROR", False), "no file outranks the database"
    assert "1 rows break" in check["description"] and "the application says 0" in check["description"]


def test_verify_flow_files_is_1_while_files_wait_for_their_move(
    open_terminal: Open, stored: Guide, tmp_path: Path
) -> None:
    session = stored.one(
        "SELECT import_session_id::text FROM discovery_flows WHERE import_session_id IS NOT NULL LIMIT 1"
    )
    file = tmp_path / "root" / "validation_sessions" / session / "result.json"
    file.parent.mkdir(parents=True)
    file.write_text(json.dumps({"session_id": session}))
    os.utime(file, (1_700_000_000, 1_700_000_000))
    cli = open_terminal(None, FLOW_DATABASE_URL=stored.url, FLOW_VALIDATION_ROOT=str(tmp_path / "root"))
    found = cli("verify", "flow/files", "--json")
    assert (found.code, found.check("validation_files_moved")["count"]) == (1, 1)
    assert cli("apply", "flow/files").code == 0
    assert cli("verify", "flow/files").code == 0
