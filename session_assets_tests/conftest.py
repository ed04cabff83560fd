"""Real servers for tests: started once a run, a fresh database for each test."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import hypothesis
import psycopg
import pymongo
import pytest
from psycopg import sql

from session_assets.embedded.servers import Servers
from session_assets.stores.cosmos_account import disconnect
from session_assets.stores.cosmos_containers import drop_database
from session_assets_tests.longest import LONGEST
from session_assets_tests.shards import is_in, shard
from session_assets_tests.shared_home import SharedHome

hypothesis.settings.register_profile("any machine", deadline=None)  # slow is not wrong
hypothesis.settings.load_profile("any machine")

# Servers of the tester's own, to be used instead of embedded ones; tests make and drop databases on them.
_OWN_MONGO = "SESSION_ASSETS_TEST_MONGO_URI"
_OWN_POSTGRES = "SESSION_ASSETS_TEST_POSTGRES_URL"
_OWN_COSMOS, _OWN_COSMOS_KEY = "SESSION_ASSETS_TEST_COSMOS_ENDPOINT", "SESSION_ASSETS_TEST_COSMOS_KEY"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """The tests of the shard. The longest files first, each as a whole; the others in their order."""
    if chosen := shard():
        left_out = [item for item in items if not is_in(item.nodeid, *chosen)]
        items[:] = [item for item in items if is_in(item.nodeid, *chosen)]
        config.hook.pytest_deselected(items=left_out)
    place = {name: at for at, name in enumerate(LONGEST)}
    here = Path(__file__).parent
    assert all((here / name).exists() for name in LONGEST), "longest.py names a file that is gone"
    items.sort(key=lambda item: place.get(item.path.relative_to(here).as_posix(), len(LONGEST)))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """How many calls there are to be failed and killed at."""
    for report in terminalreporter.getreports("passed"):
        for name, value in report.user_properties:
            if name == "calls" and report.when == "call":
                terminalreporter.write_line(value)


@pytest.fixture(scope="session")
def shared_home() -> Iterator[SharedHome]:
    """The folder for homes of this test run."""
    shared = SharedHome()
    shared.join()
    yield shared
    shared.leave()


@pytest.fixture(scope="session")
def servers(shared_home: SharedHome) -> Servers:
    """Embedded servers with MongoDB and PostgreSQL running; for others call `servers.up(["nats"])`. Never stop them."""
    shared = Servers(shared_home.home, tell=print)
    own = {"mongodb": _OWN_MONGO, "postgresql": _OWN_POSTGRES}
    shared.up([name for name, variable in own.items() if not os.environ.get(variable)])
    return shared


@pytest.fixture(scope="module")
def own_nats(shared_home: SharedHome) -> Iterator[str]:
    """URL of a NATS server that no other test module uses: streams have one name, whatever the database."""
    servers = Servers(shared_home.new_home(), tell=print)
    servers.up(["nats"])
    yield servers.environment({})["NATS_URL"]
    servers.down()


@pytest.fixture(scope="session")
def mongo_server(request: pytest.FixtureRequest) -> str:
    """URI of the MongoDB server for tests: the tester's own or the embedded one."""
    own = os.environ.get(_OWN_MONGO)
    return own or request.getfixturevalue("servers").environment({})["WEB_MONGO_URI"]


@pytest.fixture(scope="session")
def postgres_server(request: pytest.FixtureRequest) -> str:
    """URL of the PostgreSQL server for tests: the tester's own or the embedded one."""
    own = os.environ.get(_OWN_POSTGRES)
    return own or request.getfixturevalue("servers").environment({})["FLOW_DATABASE_URL"]


@pytest.fixture
def mongo_uri(mongo_server: str) -> Iterator[str]:
    """URI of a fresh MongoDB database, dropped after the test."""
    name = f"test_{secrets.token_hex(6)}"
    yield with_database(mongo_server, name)
    with pymongo.MongoClient[dict[str, Any]](mongo_server) as client:
        client.drop_database(name)


@pytest.fixture
def postgres_url(postgres_server: str) -> Iterator[str]:
    """URL of a fresh PostgreSQL database, dropped after the test even where connections are left open."""
    name = f"test_{secrets.token_hex(6)}"
    with psycopg.connect(postgres_server, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        yield with_database(postgres_server, name)
        connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@pytest.fixture
def clone_name(postgres_server: str) -> Iterator[str]:
    """The name of a PostgreSQL database that a test makes; dropped after it."""
    name = f"test_{secrets.token_hex(6)}"
    yield name
    with psycopg.connect(postgres_server, autocommit=True) as connection:
        connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))


@pytest.fixture(scope="session")
def cosmos_server(request: pytest.FixtureRequest) -> dict[str, str]:
    """Variables that lead to the Cosmos DB emulator for tests: the tester's own or the embedded one."""
    own = os.environ.get(_OWN_COSMOS)
    if own:
        return {"AZURE_COSMOS_ENDPOINT": own, "AZURE_COSMOS_KEY": os.environ[_OWN_COSMOS_KEY]}
    servers: Servers = request.getfixturevalue("servers")
    servers.up(["cosmos"])
    return {name: value for name, value in servers.environment({}).items() if name.startswith(("AZURE_", "COSMOS_"))}


@pytest.fixture
def cosmos(cosmos_server: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, str]]:
    """Variables, which are set, of a fresh database on the Cosmos DB emulator; it holds no containers. Dropped after the test."""
    variables = {**cosmos_server, "COSMOS_DATABASE_NAME": f"test_{secrets.token_hex(6)}"}
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    yield variables
    drop_database(variables)
    disconnect(variables)


def with_database(uri: str, name: str) -> str:
    """The same server, another database. MongoDB goes on to authenticate against the one that the URI named."""
    parts = urlsplit(uri)
    options = dict(parse_qsl(parts.query))
    if parts.scheme.startswith("mongodb") and "@" in parts.netloc:
        options.setdefault("authSource", parts.path.strip("/") or "admin")
    return urlunsplit(parts._replace(path=f"/{name}", query=urlencode(options)))
