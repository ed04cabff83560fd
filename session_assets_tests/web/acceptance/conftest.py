"""An environment of its own for each test: home, Dagster database, MongoDB database, and a terminal on it."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pymongo
import pytest
from psycopg import sql
from pymongo.database import Database

from session_assets.embedded.servers import Servers
from session_assets_tests.conftest import with_database
from session_assets_tests.fork_server import READ_AT_IMPORT
from session_assets_tests.shared_home import SharedHome
from session_assets_tests.web.acceptance.terminal import Terminal, kill_all

Open = Callable[..., Terminal]


@pytest.fixture(scope="session")
def dagster_template(postgres_server: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with template(postgres_server, tmp_path_factory.mktemp("template")) as name:
        yield name


@contextmanager
def template(server: str, folder: Path) -> Iterator[str]:
    """The name of a PostgreSQL database with Dagster's tables, made once: making them takes longer than most commands."""
    name = f"template_{secrets.token_hex(6)}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        answer = _terminal(folder, _dagster_url(server, name), None)("verify", "all")
        assert answer.code == 2 and "no slice is configured" in answer.err, answer
    yield name
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@pytest.fixture(autouse=True)
def nothing_left() -> Iterator[None]:
    """No command outlives its test."""
    yield
    kill_all()


@pytest.fixture
def dagster_url(postgres_server: str, dagster_template: str) -> Iterator[str]:
    """DAGSTER_POSTGRES_URL of a fresh database."""
    with dagster_database(postgres_server, dagster_template) as url:
        yield url


@contextmanager
def dagster_database(server: str, template: str) -> Iterator[str]:
    """DAGSTER_POSTGRES_URL of a copy of a template. Dropped after the block."""
    name = f"test_{secrets.token_hex(6)}"
    names = {"name": sql.Identifier(name), "template": sql.Identifier(template)}
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {name} TEMPLATE {template}").format(**names))
    yield _dagster_url(server, name)
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@pytest.fixture
def open_terminal(dagster_url: str, tmp_path: Path) -> Open:
    """Opens terminals on one Dagster database: `open_terminal(mongo_uri, home=…, WEB_START_DATE=…)`."""

    def opened(mongo_uri: str | None, home: str = "home", **variables: str) -> Terminal:
        folder = tmp_path / home
        folder.mkdir(exist_ok=True)
        return _terminal(folder, dagster_url, mongo_uri, **variables)

    return opened


@pytest.fixture
def cli(open_terminal: Open, mongo_uri: str) -> Terminal:
    """A terminal on a fresh environment."""
    return open_terminal(mongo_uri)


@pytest.fixture
def web(mongo_uri: str) -> Iterator[Database[dict[str, Any]]]:
    """The database that `cli` works on."""
    with pymongo.MongoClient[dict[str, Any]](mongo_uri, tz_aware=True) as client:
        yield client.get_default_database()


@pytest.fixture(scope="module")
def own_servers(shared_home: SharedHome) -> Iterator[Servers]:
    """A MongoDB server that no other test uses: its counters are exact, and it may be stopped."""
    own = Servers(shared_home.new_home(), tell=print)
    own.up(["mongodb"])
    yield own
    own.down()


@pytest.fixture
def own_mongo_uri(own_servers: Servers) -> Iterator[str]:
    """URI of a fresh database there."""
    uri = own_servers.mongodb.uri(own_servers.status()["mongodb"].port or 0, f"test_{secrets.token_hex(6)}")
    yield uri
    with pymongo.MongoClient[dict[str, Any]](uri) as client:
        client.drop_database(client.get_default_database())


def _terminal(folder: Path, dagster_url: str, mongo_uri: str | None, **variables: str) -> Terminal:
    streams = folder / "streams"
    streams.mkdir(exist_ok=True)
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": os.environ.get("HOME", str(folder)),
        "SESSION_ASSETS_HOME": str(folder),
        "DAGSTER_HOME": str(folder / "dagster"),
        "DAGSTER_POSTGRES_URL": dagster_url,
        "FLOW_WAIVE_TWIN": "a test",  # tests of the twin set it to nothing: one takes some seconds
        **READ_AT_IMPORT,
        **({"WEB_MONGO_URI": mongo_uri} if mongo_uri else {}),
        **variables,
    }
    return Terminal(folder, environment, streams)


def _dagster_url(server: str, name: str) -> str:
    return with_database(server, name).replace("postgresql://", "postgresql+psycopg2://", 1)
