"""Proxies before the servers of the tests, and terminals that go through them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from session_assets.embedded.servers import Servers
from session_assets_tests.faults.cells import NATS, Cell
from session_assets_tests.faults.proxy import Proxy
from session_assets_tests.faults.stage import Between, OwnServers, Stage
from session_assets_tests.faults.trial import Goal, goal_of
from session_assets_tests.shared_home import SharedHome
from session_assets_tests.web.acceptance.conftest import (  # noqa: F401 - fixtures
    Open,
    dagster_template,
    dagster_url,
    nothing_left,
    open_terminal,
    web,
)

Goals = dict[tuple[str, str, bool], Goal]


@pytest.fixture
def between() -> Iterator[Between]:
    """A proxy before the server of a URL, and the URL that leads through it."""
    made: list[Proxy] = []

    def proxy(url: str) -> tuple[Proxy, str]:
        parts = urlsplit(url)
        made.append(Proxy(parts.hostname or "127.0.0.1", parts.port or 0))
        return made[-1], made[-1].of(url)

    yield proxy
    for one in made:
        one.close()


@pytest.fixture(scope="module")
def own_servers(shared_home: SharedHome, tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnServers]:
    """Servers that may be killed. They are started when they are asked for."""
    servers = Servers(shared_home.new_home(), tell=print)
    with ExitStack() as ends:
        yield OwnServers(servers, shared_home.home, tmp_path_factory.mktemp("template"), ends)
    servers.down()


@pytest.fixture
def stage(
    request: pytest.FixtureRequest,
    own_servers: OwnServers,
    between: Between,
    open_terminal: Open,  # noqa: F811
    tmp_path: Path,
) -> Iterator[Stage]:
    opened = Stage(request, own_servers, between, open_terminal, tmp_path)
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def goals() -> Goals:
    return {}


@pytest.fixture
def goal(stage: Stage, goals: Goals, cell: Cell) -> Goal:
    """What the step of the cell ends in, found once a module."""
    key = (cell.slice_, cell.step_name, cell.place == NATS)
    if key not in goals:
        goals[key] = goal_of(stage, cell)
    return goals[key]
