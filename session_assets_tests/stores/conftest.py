"""A collection on a real server."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from pymongo import MongoClient
from pymongo.collection import Collection


@pytest.fixture
def collection(mongo_uri: str) -> Iterator[Collection[Any]]:
    """An empty collection in a fresh database."""
    with MongoClient[dict[str, Any]](mongo_uri) as client:
        yield client.get_default_database()["documents"]
