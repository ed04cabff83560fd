"""The loop on a real server, with a ledger of its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pymongo import MongoClient
from pymongo.collection import Collection

from session_assets_tests.changes.scenario import Loop


@pytest.fixture
def collection(mongo_uri: str) -> Iterator[Collection[Any]]:
    """An empty collection in a fresh database."""
    with MongoClient[dict[str, Any]](mongo_uri) as client:
        yield client.get_default_database()["documents"]


@pytest.fixture
def loop(collection: Collection[Any], tmp_path: Path) -> Loop:
    """A loop with an empty ledger."""
    return Loop.new(collection, tmp_path)
