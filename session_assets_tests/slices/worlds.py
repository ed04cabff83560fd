"""A right target of each document slice, and ways to make a wrong one of it: mistyped names, changed types."""

from __future__ import annotations

import secrets
from abc import ABC, abstractmethod
from datetime import UTC, datetime
from random import Random
from typing import Any

import pymongo
from bson import json_util
from pymongo.database import Database

from session_assets.embedded.contest_sample import replant as plant_contest
from session_assets.stores.cosmos import container
from session_assets.stores.cosmos_containers import create_containers
from session_assets.stores.cosmos_settings import DATABASE, PREFIX
from session_assets_tests.identity.scenario import Cosmos, plain, session, user
from session_assets_tests.web.acceptance.documents import fill
from session_assets_tests.web.acceptance.terminal import Terminal

Variables = dict[str, str]
Command = tuple[str, ...]
ODD: tuple[Any, ...] = (True, 7.5, ["a"], {"a": 1}, b"\x00", "2025-03-01T10:00:00")


class World(ABC):
    """One slice with documents in its right target."""

    slice_: str
    guards_rows = True
    """Whether each document of the plan is changed by each way to spoil the right target: then nothing may be written there."""

    @abstractmethod
    def fill(self) -> None:
        """Documents, some of them wrong, so that there is something to plan."""

    def prepare(self, cli: Terminal) -> str:
        """Begin work on the right target: its plan, or the job or step that was done there."""
        plan = cli("plan", self.slice_, "--json").body
        assert plan["planned"] > 0
        return plan["plan_id"]

    def uses(self, plan_id: str, chance: Random) -> list[Command]:
        """Commands that go on with that work, or undo it."""
        return [(command, self.slice_, "--plan-id", plan_id) for command in ("apply", "revert")]

    def spoil(self, kind: str, chance: Random) -> Variables:
        """Make a wrong target; returns the variables that lead to it."""
        return getattr(self, f"_{kind}")(chance)

    @abstractmethod
    def held(self, variables: Variables) -> int:
        """How many documents or rows there are to be judged, counted by the driver."""

    @abstractmethod
    def dump(self, variables: Variables) -> list[str]:
        """Everything in the database, by its content."""

    @abstractmethod
    def close(self) -> None:
        """Remove the databases that were made."""


class MongoWorld(World):
    """A slice whose documents are in MongoDB."""

    def __init__(self, slice_: str, variable: str, uri: str, fields: tuple[str, ...], source: str) -> None:
        self.slice_, self._variable, self._uri, self._fields, self._source = slice_, variable, uri, fields, source
        self._made: list[str] = []  # databases
        self._client: pymongo.MongoClient[dict[str, Any]] = pymongo.MongoClient(uri, tz_aware=True)
        self.database: Database[dict[str, Any]] = self._client.get_default_database()

    def fill(self) -> None:
        if self.slice_ == "web":
            fill(self.database)
        else:
            midnight = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
            plant_contest(self._uri, now=midnight, sessions=100)
            odd = {"$or": [{name: {"$type": "string"}} for name in ("shuffle", "score", "totalTime")]}
            self.database.sessions.delete_many(odd)

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
        name = chance.choice([one for one in self._fields if self.database.sessions.find_one({one: {"$exists": True}})])
        self.database.sessions.update_many({}, {"$rename": {name: f"other_{name}"}})
        return {}

    def held(self, variables: Variables) -> int:
        return self._database(variables).sessions.count_documents({})

    def dump(self, variables: Variables) -> list[str]:
        collections = [self._database(variables)[name] for name in self._database(variables).list_collection_names()]
        return sorted(
            f"{one.name}: {json_util.dumps(document)}"
            for one in collections
            for document in [*one.find(), *one.index_information().items()]
        )

    def close(self) -> None:
        for name in self._made:
            self._client.drop_database(name)
        self._client.close()

    def _named(self, name: str) -> Variables:
        self._made.append(name)
        path, _, options = self._uri.partition("?")
        return {self._variable: f"{path.rpartition('/')[0]}/{name}?{options}"}

    def _database(self, variables: Variables) -> Database[dict[str, Any]]:
        uri = variables.get(self._variable, self._uri)
        return self._client[uri.partition("?")[0].rpartition("/")[2]]


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

    def _missing(self, _chance: Random) -> Variables:
        return {DATABASE: f"absent_{secrets.token_hex(4)}"}

    def _types(self, chance: Random) -> Variables:
        return self._rewritten({"user_id": chance.choice([7, True, {"a": 1}, ["a"]])})

    def _field(self, chance: Random) -> Variables:
        return self._rewritten({chance.choice(["type", "user_id"]): None})

    def _prefix(self, _chance: Random) -> Variables:
        other = {PREFIX: "other_"}
        create_containers({**self._variables, **other})
        return other

    def _empty(self, _chance: Random) -> Variables:
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
        stores = self._stores(variables)
        found = {
            "sessions": stores.stored(),
            "auth": [plain(one) for page in stores.auth.pages("SELECT * FROM c") for one in page],
        }
        return sorted(f"{name}: {json_util.dumps(one)}" for name, documents in found.items() for one in documents)

    def close(self) -> None:
        """The fixture drops its database."""
