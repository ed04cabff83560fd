"""A rehearsal counts only where the restored backup equals the moment that was dumped."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from session_assets.errors import UsageError
from session_assets.flow import rehearsal
from session_assets.storage import Storage
from session_assets.stores.flow_rehearsal import RehearsalFailed, server_version
from session_assets.stores.flow_steps import StepRecord
from session_assets_tests.flow.scenario import Guide

_LOSING = """#!/bin/sh
[ "$1" = --version ] && exec {real}/pg_restore --version
{real}/pg_restore "$@" && {real}/psql -qc "DELETE FROM assets WHERE name = 'host-5'"
"""


def test_a_backup_that_lost_a_row_is_found_and_does_not_count(
    guide: Guide, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flow, storage = guide.flow(), Storage(str(tmp_path / "storage"), tmp_path / "scratch")
    flow.apply()

    def rehearse(step: StepRecord) -> dict[str, object]:
        return rehearsal.rehearse(flow.database, storage, step.id, flow.say)

    real = rehearsal.programs_for(server_version(flow.database))
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "pg_dump").symlink_to(real / "pg_dump")
    (programs / "pg_restore").write_text(_LOSING.format(real=real))
    (programs / "pg_restore").chmod(0o755)
    with monkeypatch.context() as patched:
        patched.setenv("PATH", f"{programs}:{os.environ['PATH']}")
        with pytest.raises(RehearsalFailed, match=r"differs in public\.assets"):
            flow.rehearse(rehearse)
    assert [one.name for one in flow.gates()] == ["rehearsal_missing"]
    monkeypatch.setenv("FLOW_BACKUP_FOLDER", str(tmp_path / "backups"))
    step = flow.rehearse(rehearse)
    assert flow.gates() == []
    kept = Path(step.counts["kept"])
    assert kept.stat().st_mode & 0o777 == 0o600
    assert kept.read_bytes()[:5] == b"PGDMP"
    assert not guide.all("SELECT FROM pg_database WHERE datname LIKE 'session_assets_rehearsal%'")


def test_programs_that_are_older_than_the_server_are_refused() -> None:
    with pytest.raises(UsageError, match="must be of version 99 or newer"):
        rehearsal.programs_for(99)
