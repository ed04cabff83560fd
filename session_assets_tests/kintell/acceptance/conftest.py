"""A terminal on a Kintell database of its own, on NATS, and on a Dagster database."""

from __future__ import annotations

from pathlib import Path

import pytest

from session_assets_tests.kintell.files import SAMPLE
from session_assets_tests.kintell.scenario import Kintell
from session_assets_tests.web.acceptance.conftest import (  # noqa: F401 - fixtures
    Open,
    dagster_template,
    dagster_url,
    nothing_left,
    open_terminal,
)
from session_assets_tests.web.acceptance.terminal import Terminal


@pytest.fixture
def cli(open_terminal: Open, postgres_url: str, own_nats: str) -> Terminal:  # noqa: F811
    """A terminal on an empty database."""
    return open_terminal(None, KINTELL_DATABASE_URL=postgres_url, NATS_URL=own_nats)


@pytest.fixture
def drops(cli: Terminal) -> Path:
    folder = cli.home / "drops" / "kintell"
    folder.mkdir(parents=True)
    return folder


@pytest.fixture
def sample(tmp_path: Path) -> Path:
    path = tmp_path / "sample.csv"
    path.write_text(SAMPLE)
    return path


@pytest.fixture
def stored(kintell: Kintell) -> Kintell:
    """What the database says; it holds participant0…9 and volunteer0…4 already."""
    return kintell
