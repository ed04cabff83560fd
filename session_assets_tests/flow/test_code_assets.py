"""The asset over a tree with its history: what it counts, what it says of files that it cannot read, and what it keeps."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest

from session_assets.errors import BadInput, NotConfigured, UsageError
from session_assets.flow import code_history
from session_assets.flow.code_assets import FILES_FILE, REFERENCES_FILE, code_references
from session_assets.flow.code_tree import CodeSettings
from session_assets.graph.environment import Environment
from session_assets.graph.markdown import plain
from session_assets_tests.flow.test_description import GUIDE

FILES = {
    "app/service.py": "# session_id\ndef run(session_id): return session_id\n",
    "app/api/import.ts": "const key = `import_session_${session_id}`;\n",
    "db/query.sql": "SELECT session_id FROM t -- session_id\n",
    "alembic/versions/0001.py": "op.drop_column('assets', 'session_id')\n",
    "web/broken.py": "session_id = '''\n",
    "web/clean.py": "flow_id = 1\n",
    "docs/readme.md": "session_id\n",
    "node_modules/x/index.js": "session_id\n",
}


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    root = tmp_path / "code"
    for name, text in FILES.items():
        _write(root / name, text)
    monkeypatch.setenv("FLOW_CODE_ROOT", str(root))
    monkeypatch.setenv("SESSION_ASSETS_HOME", str(tmp_path / "home"))
    return root


@pytest.fixture
def commit(root: Path) -> Callable[[], None]:
    def git(*arguments: str) -> None:
        named = ["-c", "user.name=Sam", "-c", "user.email=sam@example.com"]
        subprocess.run(["git", *named, *arguments], cwd=root, check=True, capture_output=True)

    git("init", "-q")

    def work() -> None:
        git("add", "-A")
        git("commit", "-q", "-m", "step")

    return work


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def _run() -> tuple[dict[str, Any], dict[str, dg.AssetCheckEvaluation]]:
    result = dg.materialize([code_references], raise_on_error=False)
    metadata = result.asset_materializations_for_node("flow__code_references")[0].metadata
    checks = {one.check_name: one for one in result.get_asset_check_evaluations()}
    return {name: value.value for name, value in metadata.items()}, checks


def test_it_counts_and_the_check_says_where(root: Path) -> None:
    metadata, checks = _run()
    check = checks["no_active_references"]
    assert not check.passed
    assert check.severity == dg.AssetCheckSeverity.ERROR
    counted = {name: metadata[name] for name in ("active", "identifiers", "strings", "comments", "allowed")}
    assert counted == {"active": 5, "identifiers": 5, "strings": 0, "comments": 2, "allowed": 1}
    assert check.description is not None
    assert "app/service.py:2" in plain(check.description)
    assert "FLOW_CODE_ALLOW" in plain(check.description)
    assert metadata["tokenized_by"].startswith("CPython 3.")
    assert metadata["folders_passed_over"] == "node_modules 1"
    stored = Environment.load().storage.read_parquet(REFERENCES_FILE)
    assert stored.filter("active").height == 5
    assert "no trend: git cannot read" in metadata["note"]


def test_files_that_are_not_read_to_their_end_are_said(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLOW_CODE_MAX_BYTES", "100")
    (root / "app/binary.py").write_bytes(b"session_id\0")
    (root / "app/latin.py").write_bytes(b"session_id = '\xe9'\n")
    _write(root / "app/huge.py", "#" * 200)
    (root / "app/link.py").symlink_to(root / "app/service.py")
    (root / "loop").symlink_to(root)
    (root / "outside").symlink_to(root.parent)
    _write(root / "web/App.vue", "x" * 200 + "session_id")
    _write(root / ".gitmodules", '[submodule "a"]\n\tpath = lib/a\n\turl = ../a\n[submodule "b"]\n\tpath = app\n')
    metadata, checks = _run()
    check = checks["code_files_are_read"]
    assert not check.passed
    assert check.severity == dg.AssetCheckSeverity.ERROR, "most files were not read"
    assert (
        check.metadata["sample"].value
        == "app/binary.py, app/huge.py, app/latin.py, web/App.vue, web/broken.py:1, outside, lib/a"
    )
    assert metadata["files_of_other_kinds"] == "5, of which 2 hold a name"  # loop and outside are links
    files = Environment.load().storage.read_parquet(FILES_FILE)
    states = {path: (state, reason) for path, state, reason in files.select("path", "state", "reason").iter_rows()}
    assert states["app/binary.py"] == ("skipped", "binary")
    assert states["app/latin.py"] == ("partly", "undecodable")
    assert states["app/huge.py"] == ("skipped", "too_large")
    assert states["app/link.py"] == ("skipped", "symlink")
    assert states["web/broken.py"] == ("partly", "syntax_error")
    assert states["docs/readme.md"] == ("skipped", "other_language")


def test_it_passes_where_only_comments_and_allowed_files_are_left(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("app/api/import.ts", "db/query.sql", "web/broken.py"):
        (root / name).unlink()
    (root / "app/service.py").write_text("# session_id\n")
    assert all(check.passed for check in _run()[1].values())
    _write(root / "web/[id].ts", "let a = {\n// session_id")
    assert {(check.passed, check.severity.value) for check in _run()[1].values()} == {(False, "ERROR")}
    monkeypatch.setenv("SESSION_ASSETS_MAX_UNREADABLE_SHARE", "0.5")
    assert {(check.passed, check.severity.value) for check in _run()[1].values()} == {(False, "WARN")}
    monkeypatch.setenv("FLOW_CODE_ALLOW", "alembic/*,web/[id].ts")
    assert all(check.passed for check in _run()[1].values())
    monkeypatch.setenv("FLOW_CODE_ROOT", str(root / "docs"))
    assert not any(check.passed for check in _run()[1].values()), "a folder without code proves nothing"


def test_the_trend_is_that_of_the_revisions_and_each_blob_is_read_once(root: Path, commit: Callable[[], None]) -> None:
    commit()
    (root / "app/service.py").write_text("def run(flow_id): return flow_id\n")
    commit()
    (root / "app/service.py").write_text("changed but not committed: session_id\n")
    environment, settings = Environment.load(), CodeSettings.from_env()
    found, fresh = code_history.trend(environment.storage, settings)
    active = found.select(pl.col("identifiers") + pl.col("strings"))["identifiers"].to_list()
    assert active == [5, 3]
    assert found["allowed"].to_list() == [1, 1]
    assert fresh == 7
    again, fresh = code_history.trend(environment.storage, settings)
    assert fresh == 0
    assert again.equals(found)
    assert "trend" in _run()[0]


def test_revisions_are_spaced_evenly(root: Path, commit: Callable[[], None], monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(6):
        (root / "web/clean.py").write_text(f"flow_id = {number}\n")
        commit()
    monkeypatch.setenv("FLOW_CODE_REVISIONS", "3")
    settings = CodeSettings.from_env()
    every = code_history.Repository(root).commits()
    found, _ = code_history.trend(Environment.load().storage, settings)
    assert found["revision"].to_list() == [every[place].revision for place in (0, 2, 5)]


def test_many_files_on_several_processes_give_the_same(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("session_assets.flow.code_scan._WORTH_A_PROCESS", 0)
    metadata, _ = _run()
    assert metadata["active"] == 5


def test_settings_that_cannot_be_used_are_named(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(NotConfigured, match="FLOW_CODE_ROOT"):
        CodeSettings.from_env({})
    with pytest.raises(UsageError, match="FLOW_CODE_ROOT"):
        CodeSettings.from_env({"FLOW_CODE_ROOT": str(root / "nowhere")})
    with pytest.raises(UsageError, match="FLOW_CODE_IDENTIFIERS"):
        CodeSettings.from_env({"FLOW_CODE_ROOT": str(root), "FLOW_CODE_IDENTIFIERS": "session id"})
    with pytest.raises(BadInput, match="history"):
        code_history.Repository(root)


def test_with_another_schema_its_old_columns_are_looked_for(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "schema.yaml"
    file.write_text(
        GUIDE.replace("session: import_session_id", "session: visitRef").replace("old: session_id", "old: visit_ref")
    )
    monkeypatch.setenv("FLOW_SCHEMA", str(file))
    assert all(check.passed for name, check in _run()[1].items() if name == "no_active_references")
    _write(root / "app/visits.py", "visit_ref = row.visitRef\n")
    assert _run()[0]["active"] == 2
    file.write_text(file.read_text().replace("old: visit_ref, fate: archive", "old: Visit Ref, fate: archive"))
    with pytest.raises(
        UsageError, match=r"FLOW_SCHEMA: the old column 'Visit Ref' is no identifier\. Say in FLOW_CODE_IDENT"
    ):
        CodeSettings.from_env()
    monkeypatch.setenv("FLOW_CODE_IDENTIFIERS", "visitRef")
    assert _run()[0]["active"] == 1
