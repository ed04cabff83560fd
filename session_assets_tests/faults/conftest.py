"""Proxies before the servers of the tests, and terminals that go through them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from urllib.parse import urlsplit

import pytest

from session_assets_tests.faults.proxy import Proxy
from session_assets_tests.web.acceptance.conftest import (  # noqa: F401 - fixtures
    dagster_template,
    dagster_url,
    nothing_left,
    open_terminal,
    web,
)

Between = Callable[[str], tuple[Proxy, str]]


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
