"""A terminal on a contest database of its own, and on a Dagster database."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pymongo
import pytest
from pymongo.database import Database

from session_assets.embedded.contest_truth import CATALOGUE
from session_assets_tests.web.acceptance.conftest import (  # noqa: F401 - fixtures
    Open,
    dagster_template,
    dagster_url,
    nothing_left,
    open_terminal,
    own_mongo_uri,
    own_servers,
)
from session_assets_tests.web.acceptance.terminal import Terminal


@pytest.fixture
def cli(open_terminal: Open, mongo_uri: str) -> Terminal:  # noqa: F811
    """A terminal on a fresh environment."""
    return open_terminal(None, CONTEST_MONGO_URI=mongo_uri, CONTEST_START_DATE="2025-01-01")


@pytest.fixture
def goaime(mongo_uri: str) -> Iterator[Database[dict[str, Any]]]:
    """The database that `cli` works on; it holds the problems of the sample, and no user."""
    with pymongo.MongoClient[dict[str, Any]](mongo_uri, tz_aware=True) as client:
        database = client.get_default_database()
        database.problems.insert_many([*map(dict, CATALOGUE)])
        database.create_collection("users")
        yield database
