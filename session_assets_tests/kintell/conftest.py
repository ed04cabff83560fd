"""A migrated Kintell database for each test, and imports into it from files."""

from __future__ import annotations

from pathlib import Path

import pytest

from session_assets.graph.environment import Environment
from session_assets.kintell.assets import open_imports
from session_assets.kintell.imports import Imports
from session_assets_tests.kintell.scenario import Kintell


@pytest.fixture
def kintell(postgres_url: str) -> Kintell:
    return Kintell.new(postgres_url)


@pytest.fixture
def imports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kintell: Kintell) -> Imports:
    monkeypatch.setenv("SESSION_ASSETS_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("SESSION_ASSETS_STORAGE", raising=False)
    monkeypatch.setenv("KINTELL_DATABASE_URL", kintell.database.url)
    monkeypatch.delenv("NATS_URL", raising=False)
    return open_imports(Environment.load())
