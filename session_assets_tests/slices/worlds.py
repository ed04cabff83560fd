"""A right target of each document slice, and ways to make a wrong one of it: mistyped names, changed types."""

from __future__ import annotations

import secrets
from abc import ABC, abstractmethod
from collections.abc import Callable
from datetime import UTC, datetime
from random import Random
from typing import Any

import pymongo
from bson import json_util
from pymongo.database import Database

from session_assets.embedded.contest_sample import replant as plant_contest
from session_assets.stores.cosmos import container
from session_assets.stores.cosmos_account import DATABASE, PREFIX
from session_assets.stores.cosmos_containers import create_containers
from session_assets_tests.identity.scenario import Cosmos, session, user
from session_assets_tests.web.acceptance.documents import fill

Variables = dict[str, str]
ODD: tuple[Any, ...] = (True, 7.5, ["a"], {"a": 1}, b"\x00", "2025-03-01T10:00:00")


class World(ABC):
    """One slice with documents in its right target."""

    slice_: str

    @abstractmethod
    def fill(self) -> None:
        """Documents, some of them wrong, so that there is something to plan."""

    @abstractmethod
    def spoil(self, kind: str, chance: Random) -> Variables:
        """Make a wrong target; returns the variables that lead to it."""

    @abstractmethod
    def held(self, variables: Variables) -> int:
        """How many documents the collection of sessions holds there, counted by the driver."""

    @abstractmethod
    def dump(self, variables: Variables) -> list[str]:
        """All of them, to the byte."""


class MongoWorld(World):
    """A slice whose documents are in MongoDB."""

    def __init__(self, slice_: str, variable: str, uri: str, fields: tuple[str, ...], source: str) -> None:
        self.slice_, self._variable, self._uri, self._fields, self._source = slice_, variable, uri, fields, source
        self._client: pymongo.MongoClient[dict[str, Any]] = pymongo.MongoClient(uri, tz_aware=True)
        self.database: Database[dict[str, Any]] = self._client.get_default_database()

    def fill(self) -> None:
        if self.slice_ == "web":
            fill(self.database)
        else:
            plant_contest(self._uri, now=datetime.now(UTC), sessions=100)
            odd = {"$or": [{name: {"$type": "string"}} for name in ("shuffle", "score", "totalTime")]}
            self.database.sessions.delete_many(odd)

    def spoil(self, kind: str, chance: Random) -> Variables:
        return getattr(self, f"_{kind}")(chance)

    def _missing(self, _chance: Random) -> Variables:
        return self._named(f"absent_{secrets.token_hex(4)}")

    def _clone(self, _chance: Random) -> Variables:
        name = f"clone_{secrets.token_hex(4)}"
        for collection in self.database.list_collection_names():
            documents = list(self.database[collection].find())
            if documents:
                self._client[name][collection].insert_many(documents)
        return self._named(name)

    def _empty(self, chance: Random) -> Variables:
        self.database[chance.choice(["sessions", self._source])].delete_many({})
        return {}

    def _renamed(self, chance: Random) -> Variables:
        self.database[chance.choice(["sessions", self._source])].rename("elsewhere")
        return {}

    def _types(self, chance: Random) -> Variables:
        name, value = chance.choice(self._fields), chance.choice(ODD)
        self.database.sessions.update_many({}, {"$set": {name: value}})
        return {}

    def _field(self, chance: Random) -> Variables:
        name = chance.choice(self._fields)
        self.database.sessions.update_many({name: {"$exists": True}}, {"$rename": {name: f"other_{name}"}})
        return {}

    def held(self, variables: Variables) -> int:
        return self._sessions(variables).count_documents({})

    def dump(self, variables: Variables) -> list[str]:
        return sorted(json_util.dumps(one) for one in self._sessions(variables).find())

    def close(self) -> None:
        for name in self._client.list_database_names():
            if name.startswith(("clone_", "absent_")):
                self._client.drop_database(name)
        self._client.close()

    def _named(self, name: str) -> Variables:
        path, _, options = self._uri.partition("?")
        return {self._variable: f"{path.rpartition('/')[0]}/{name}?{options}"}

    def _sessions(self, variables: Variables) -> Any:
        uri = variables.get(self._variable, self._uri)
        return self._client[uri.partition("?")[0].rpartition("/")[2]].sessions


class CosmosWorld(World):
    """Sessions in Cosmos DB."""

    slice_ = "identity"

    def __init__(self, variables: Variables) -> None:
        self._variables = variables

    def _stores(self, variables: Variables) -> Cosmos:
        env = {**self._variables, **variables}
        return Cosmos(container("user_sessions", env), container("auth", env))

    def fill(self) -> None:
        create_containers(self._variables)
        mails = [f"user{number}@example.com" for number in range(4)]
        guids = [f"ee661ad6-af09-4ae0-8502-ee78ca3febf{number}" for number in range(4)]
        sessions = [session(mails[number % 4], number) for number in range(12)]
        self._stores({}).fill(sessions, [user(*pair) for pair in zip(mails, guids, strict=True)])

    def spoil(self, kind: str, chance: Random) -> Variables:
        wrong: dict[str, Callable[[], Variables]] = {
            "missing": lambda: {DATABASE: f"absent_{secrets.token_hex(4)}"},
            "prefix": self._prefix,
            "empty": self._emptied,
            "types": lambda: self._rewritten({"user_id": chance.choice([7, True, {"a": 1}, ["a"]])}),
            "field": lambda: self._rewritten({chance.choice(["type", "user_id"]): None}),
        }
        return wrong[kind]()

    def _prefix(self) -> Variables:
        other = {PREFIX: "other_"}
        create_containers({**self._variables, **other})
        return other

    def _emptied(self) -> Variables:
        store = self._stores({})
        for one in store.stored():
            self._delete(store, one)
        return {}

    def _rewritten(self, fields: dict[str, Any]) -> Variables:
        store = self._stores({})
        documents = store.stored()
        for one in documents:
            self._delete(store, one)
        store.fill(
            [{name: value for name, value in {**one, **fields}.items() if value is not None} for one in documents], []
        )
        return {}

    def _delete(self, store: Cosmos, document: dict[str, Any]) -> None:
        sessions = store.sessions
        value = sessions.partition_value(document)
        sessions.account.run(sessions.client.delete_item(document["id"], partition_key=value))

    def held(self, variables: Variables) -> int:
        return len(self._stores(variables).stored())

    def dump(self, variables: Variables) -> list[str]:
        return sorted(json_util.dumps(one) for one in self._stores(variables).stored())
