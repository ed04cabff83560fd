"""A server is stopped in the middle of a command: one clear error that names the variable, exit 3, and the command goes on."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from session_assets.embedded.servers import Servers
from session_assets_tests.conftest import with_database
from session_assets_tests.flow.scenario import Guide
from session_assets_tests.shared_home import SharedHome
from session_assets_tests.web.acceptance.conftest import Open
from session_assets_tests.web.acceptance.terminal import Answer, Terminal

_PATIENCE = 60


@pytest.fixture(scope="module")
def own_postgres(shared_home: SharedHome) -> Iterator[Servers]:
    """A PostgreSQL server that no other test uses, and that may be stopped."""
    own = Servers(shared_home.new_home(), tell=print)
    own.up(["postgresql"])
    yield own
    own.down()


@pytest.fixture
def own_url(own_postgres: Servers) -> str:
    """A fresh database there."""
    url = own_postgres.environment({})["FLOW_DATABASE_URL"]
    name = f"test_{secrets.token_hex(6)}"
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}".encode())
    return with_database(url, name)


def lost(own: Servers, cli: Terminal, tmp_path: Path, failpoint: str, *arguments: str) -> Answer:
    """What a command says whose server is stopped while it pauses at a failpoint; the server is back then."""
    marker = tmp_path / "paused"
    running = cli.start(*arguments, SESSION_ASSETS_FAILPOINTS=f"{failpoint}=pause:{marker}")
    deadline = time.monotonic() + _PATIENCE
    while not marker.exists():
        assert running.is_alive() and time.monotonic() < deadline, running.wait()
        time.sleep(0.02)
    own.down(["postgresql"])
    marker.unlink()
    answer = running.wait()
    own.up(["postgresql"])
    return answer


@pytest.mark.parametrize("failpoint", ["flow.backfill.batch@3", "flow.begun.expand", "flow.ended.backfill"])
def test_the_flow_database_is_lost_during_apply(
    open_terminal: Open, own_postgres: Servers, own_url: str, tmp_path: Path, failpoint: str
) -> None:
    guide = Guide.new(own_url)
    wanted = guide.wanted()
    cli = open_terminal(None, FLOW_DATABASE_URL=own_url, FLOW_BATCH_ROWS="60")
    answer = lost(own_postgres, cli, tmp_path, failpoint, "apply", "flow")
    _is_clear(answer, "FLOW_DATABASE_URL")
    again = cli("apply", "flow")
    assert again.code == 0, again
    assert guide.found() == wanted


def test_dagsters_database_is_lost_during_apply(
    open_terminal: Open, own_postgres: Servers, own_url: str, stored: Guide, tmp_path: Path
) -> None:
    wanted = stored.wanted()
    dagster = own_url.replace("postgresql://", "postgresql+psycopg2://", 1)
    cli = open_terminal(None, FLOW_DATABASE_URL=stored.url, FLOW_BATCH_ROWS="60", DAGSTER_POSTGRES_URL=dagster)
    assert cli("plan", "flow").code == 0
    answer = lost(own_postgres, cli, tmp_path, "flow.backfill.batch@3", "apply", "flow")
    _is_clear(answer, "DAGSTER_POSTGRES_URL")
    again = cli("apply", "flow")
    assert again.code == 0, again
    assert stored.found() == wanted


def _is_clear(answer: Answer, variable: str) -> None:
    assert answer.code == 3, answer
    told = [line for line in answer.err.splitlines() if line.startswith("error:")]
    assert len(told) == 1 and variable in told[0], answer.err
    assert "Traceback" not in answer.out + answer.err
    assert len(answer.err.splitlines()) < 10, answer.err
