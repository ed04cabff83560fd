"""Reading from MongoDB: all of it, in the order asked for, and one clear error when it cannot be reached."""

from __future__ import annotations

import threading
from collections.abc import Generator
from functools import partial
from typing import Any, cast

import polars as pl
import pytest
from pymongo import MongoClient
from pymongo.collection import Collection
from pymongo.errors import OperationFailure

from session_assets.errors import NotConfigured, StoreUnavailable, UsageError
from session_assets.stores import mongo
from session_assets.stores.bson_frames import Field, Kind
from session_assets.stores.mongo import MongoSource, database
from session_assets_tests.stores.scenario import stored

FIELDS = (Field("n", Kind.NUMBER), Field("s", Kind.TEXT, strict=True))


@pytest.fixture
def source(collection: Collection[Any]) -> MongoSource:
    return MongoSource(collection, "WEB_MONGO_URI")


def test_every_document_is_read_over_many_batches(source: MongoSource) -> None:
    source.collection.insert_many([{"_id": number, "n": number, "s": "x" * 20_000} for number in range(2500)])
    frames = list(source.documents(FIELDS, {}))
    assert len(frames) > 2
    whole = pl.concat(frames)
    assert dict(zip(whole["key"], whole["document"], strict=True)) == stored(source.collection)
    assert sorted(pl.concat(source.frames(FIELDS, {"n": {"$lt": 10}}))["n"]) == list(range(10))
    assert source.count({}) == source.estimated_count() == 2500


def test_a_reader_that_stops_early_leaves_no_thread_behind(source: MongoSource) -> None:
    source.collection.insert_many([{"_id": number, "s": "x" * 20_000} for number in range(5000)])
    reading = cast(Generator[bytes], source.batches({}))
    next(reading)
    reading.close()
    assert not [thread for thread in threading.enumerate() if thread.name == "mongo-read"]


def test_an_error_of_the_server_reaches_the_reader(source: MongoSource) -> None:
    source.collection.insert_one({})
    with pytest.raises(OperationFailure):
        list(source.batches({"$nonsense": 1}))


@pytest.mark.parametrize(
    ("index", "options", "useful"),
    [
        ([("s", 1)], {}, True),
        ([("s", 1), ("n", 1)], {}, True),
        ([("s", "hashed")], {}, True),
        ([("n", 1), ("s", 1)], {}, False),
        ([("s", 1)], {"partialFilterExpression": {"n": 1}}, False),
        ([("s", 1)], {"partialFilterExpression": {"s": {"$type": "string"}}, "unique": True}, True),
    ],
)
def test_values_are_looked_up_where_an_index_leads_with_the_field(
    source: MongoSource, index: list[tuple[str, Any]], options: dict[str, Any], useful: bool
) -> None:
    values = pl.Series(["b", "a"])
    assert list(source.by_values("s", values)) == [{}]
    source.collection.create_index(index, **options)
    assert list(source.by_values("s", values)) == [{"s": {"$in": ["a", "b"], "$type": "string"}} if useful else {}]


def test_long_values_are_looked_up_in_queries_that_a_server_takes(source: MongoSource) -> None:
    source.collection.create_index("s")
    source.collection.insert_one({"s": "x"})
    values = pl.Series([f"{number}{'y' * 3000}" for number in range(6000)] + ["x", "y" * (5 << 20)])
    queries = list(source.by_values("s", values))
    assert sorted(value for query in queries for value in query["s"]["$in"]) == values.sort().to_list()
    assert sum(source.count(query) for query in queries) == 1


def test_an_unset_variable_and_an_unreadable_uri_are_named() -> None:
    with pytest.raises(NotConfigured, match="WEB_MONGO_URI"):
        database("WEB_MONGO_URI", "web", {})
    for uri in ("http://nowhere", "mongodb://user:se/cret@host"):
        with pytest.raises(UsageError, match="WEB_MONGO_URI") as raised:
            database("WEB_MONGO_URI", "web", {"WEB_MONGO_URI": uri})
        assert "cret" not in str(raised.value)


def test_a_uri_that_asks_for_no_answer_to_writes_is_refused(mongo_uri: str) -> None:
    with pytest.raises(UsageError, match="WEB_MONGO_URI says w=0"):
        database("WEB_MONGO_URI", "web", {"WEB_MONGO_URI": f"{mongo_uri}&w=0"})


def test_a_store_that_is_down_is_named_without_its_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    uri = "mongodb://mary:secret@127.0.0.1:1/web"
    monkeypatch.setattr(mongo, "MongoClient", partial(_impatient, mongo.MongoClient))
    with pytest.raises(StoreUnavailable, match="WEB_MONGO_URI") as raised:
        database("WEB_MONGO_URI", "web", {"WEB_MONGO_URI": uri})
    assert "secret" not in str(raised.value)


def _impatient(client: type[MongoClient[Any]], uri: str, **options: Any) -> MongoClient[Any]:
    return client(uri, **{**options, "serverSelectionTimeoutMS": 300})


def test_the_database_of_the_uri_is_used_else_the_default(mongo_uri: str, mongo_server: str) -> None:
    assert database("V", "web", {"V": mongo_uri}).name.startswith("test_")
    assert database("V", "fallback", {"V": mongo_server.replace("/web?", "/?")}).name == "fallback"
