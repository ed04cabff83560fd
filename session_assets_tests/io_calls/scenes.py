"""A small target of each slice, with its home: brought back to where it stood before a step, and read after it."""

from __future__ import annotations

import re
import shutil
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from session_assets.changes.ledger import Ledger
from session_assets.changes.revert import to_undo
from session_assets.settings import Settings
from session_assets.storage import Storage
from session_assets.stores.cosmos import container
from session_assets.stores.cosmos_containers import create_containers, write_all
from session_assets.stores.postgres import Database
from session_assets_tests.conftest import with_database
from session_assets_tests.flow.scenario import Guide
from session_assets_tests.flow.test_kills import state as state_of_flow
from session_assets_tests.identity.scenario import Cosmos, session, user
from session_assets_tests.io_calls.work import Ended, Work, finish, run
from session_assets_tests.kintell.scenario import Kintell
from session_assets_tests.kintell.streams import fresh_stream, messages
from session_assets_tests.slices.sql_worlds import KintellWorld
from session_assets_tests.slices.worlds import CosmosWorld, MongoWorld, Variables
from session_assets_tests.web.acceptance.documents import DAYS, fill

LOOP = ("plan", "apply", "revert")
STEPS = {
    "web": LOOP,
    "contest": LOOP,
    "identity": LOOP,
    "kintell": ("import", "publish", "revert of import"),
    "flow": ("expand, backfill", "contract", "revert of contract", "revert of backfill", "revert of expand"),
}
_BEFORE = {"contract": "rehearsal"}
"""Steps that are done before another one, and not tried themselves."""
_WRITTEN = re.compile(r'"(updated_at|updatedAt|enhanced_at|backfill_updated_at)": ("[^"]*"|\{"\$date": "[^"]*"\})')
_NOW = re.compile(r"20(?:2[6-9]|[3-9][0-9])-[0-9]{2}-[0-9]{2}T[0-9:.+]*")  # the sample is of 2024
_SESSIONS = 6


class Scene(ABC):
    """One slice on a target of its own. After `prepare`, each step can be tried again and again from where it begins."""

    def __init__(self, slice_: str, variables: Variables, home: Path, folder: Path) -> None:
        self.slice_, self._home, self._folder = slice_, home, folder
        self.variables = {**variables, "SESSION_ASSETS_HOME": str(home)}
        self.ids: dict[str, str] = {}
        self.goals: dict[str, Any] = {}
        self.right: dict[str, Ended] = {}
        """How each step ends if nothing fails."""
        home.mkdir()
        folder.mkdir()
        self.fill()

    def prepare(self, until: str) -> None:
        """Do all steps up to one without a fault, and keep what stands before and after each."""
        for step in STEPS[self.slice_]:
            if before := _BEFORE.get(step):
                self.ids[before] = self._done(before).told
            self._keep(step)
            self.right[step] = self._done(step)
            self.ids[step] = self.right[step].told
            self.goals[step] = self.state(step)
            if step == until:
                return

    def _done(self, step: str) -> Ended:
        ended = self.run(step)
        assert ended.code == 0, (step, ended)
        return ended

    def _keep(self, step: str) -> None:
        shutil.copytree(self._home, self._kept(step))
        self.keep(step)

    def _kept(self, step: str) -> Path:
        return self._folder / f"home before {step}"

    def go_back(self, step: str) -> None:
        """Let target and home stand as before a step."""
        shutil.rmtree(self._home)
        shutil.copytree(self._kept(step), self._home)
        self.restore(step)

    def work(self, step: str) -> Work:
        return Work(self.slice_, step, self.variables, self.ids, self.file)

    def run(self, step: str, fault: str = "") -> Ended:
        return run(self.work(step), self._folder, fault)

    def finish(self, step: str) -> Ended:
        return finish(self.work(step), self._folder)

    file = ""

    @abstractmethod
    def fill(self) -> None:
        """What the slice works on."""

    @abstractmethod
    def keep(self, step: str) -> None:
        """Remember how the target stands."""

    @abstractmethod
    def restore(self, step: str) -> None:
        """Let it stand so again."""

    @abstractmethod
    def state(self, step: str) -> Any:
        """What target and ledger say, without what differs from run to run."""

    @abstractmethod
    def close(self) -> None:
        """Remove what the fixtures know nothing of."""


class _Documents(Scene):
    """Slices with a ledger."""

    def state(self, step: str) -> Any:
        return sorted(_WRITTEN.sub(r'"\1"', one) for one in self.dump()), self._account()

    @abstractmethod
    def dump(self) -> list[str]:
        """All documents."""

    def _account(self) -> Any:
        """What is pending, and for each plan: what its applies counted, row for row, and whether anything is left to undo."""
        settings = Settings.from_env(self.variables)
        storage = Storage(settings.storage, settings.home / "tmp")
        ledger = Ledger(storage, self.slice_)
        account: dict[str, Any] = {}
        for name in storage.names(f"{ledger.base}/plans"):
            plan = ledger.stored_plan(name.removesuffix(".json"))
            counted: Counter[str] = Counter()
            for attempt in ledger.attempts(plan.plan_id):
                for partition in () if attempt.is_revert else filter(attempt.is_counted, attempt.partitions):
                    counted.update(attempt.summary(partition)["outcomes"])
            if plan.rows:
                undoable, damaged = to_undo(ledger, plan)
                account[plan.plan_id] = (plan.rows, {k: n for k, n in counted.items() if n}, sorted(undoable), damaged)
        return ledger.pending(), account


class MongoScene(_Documents):
    """Sessions of one day or month, most of them wrong."""

    def fill(self) -> None:
        (variable, uri), *_ = self.variables.items()
        self._world = MongoWorld(self.slice_, variable, uri, (), "")
        self._stands: dict[str, dict[str, list[Any]]] = {}
        database = self._world.database
        if self.slice_ == "web":
            fill(database, _SESSIONS + 2, days=DAYS[:1])
            return
        self._world.fill()
        months = Counter(_month(one) for one in database.sessions.find())
        wanted, _ = months.most_common(1)[0]
        of_month = [one["_id"] for one in database.sessions.find().sort("_id") if _month(one) == wanted]
        database.sessions.delete_many({"_id": {"$nin": of_month[:_SESSIONS]}})

    def keep(self, step: str) -> None:
        database = self._world.database
        self._stands[step] = {name: [*database[name].find()] for name in database.list_collection_names()}

    def restore(self, step: str) -> None:
        for name, documents in self._stands[step].items():
            self._world.database[name].delete_many({})
            if documents:
                self._world.database[name].insert_many(documents)

    def dump(self) -> list[str]:
        return self._world.dump({})

    def close(self) -> None:
        self._world.close()


def _month(document: Mapping[str, Any]) -> str:
    return str(document.get("created_at"))[:7]


class CosmosScene(_Documents):
    """Sessions of one shard, all of them under an e-mail."""

    def fill(self) -> None:
        create_containers(self.variables)
        self._stores = Cosmos(container("user_sessions", self.variables), container("auth", self.variables))
        self._stands: dict[str, list[dict[str, Any]]] = {}
        mails = [f"user{number}@example.com" for number in range(2)]
        guids = [f"ee661ad6-af09-4ae0-8502-ee78ca3febf{number}" for number in range(2)]
        sessions = [session(mails[number % 2], number, id=f"a{number}") for number in range(4)]
        self._stores.fill(sessions, [user(*pair) for pair in zip(mails, guids, strict=True)])

    def keep(self, step: str) -> None:
        self._stands[step] = self._stores.stored()

    def restore(self, step: str) -> None:
        self._stores.clear()
        write_all(self._stores.sessions, self._stands[step])

    def dump(self) -> list[str]:
        return CosmosWorld(self.variables).dump({})

    def close(self) -> None: ...


class _Tables(Scene):
    """Slices in PostgreSQL: the database is made again, under its name, from a copy."""

    @cached_property
    def _copies(self) -> dict[str, str]:
        return {}

    @property
    def url(self) -> str:
        return next(iter(self.variables.values()))

    @property
    def _name(self) -> str:
        return self.url.partition("?")[0].rpartition("/")[2]

    def keep(self, step: str) -> None:
        self._copies[step] = f"{self._name}_{len(self._copies)}"
        self._on_server("CREATE DATABASE {} TEMPLATE {}", self._copies[step], self._name)

    def restore(self, step: str) -> None:
        self._on_server("DROP DATABASE {} WITH (FORCE)", self._name)
        self._on_server("CREATE DATABASE {} TEMPLATE {}", self._name, self._copies[step])

    def _on_server(self, statement: str, *names: str) -> None:
        with psycopg.connect(with_database(self.url, "postgres"), autocommit=True) as connection:
            connection.execute(sql.SQL(statement).format(*map(sql.Identifier, names)))  # type: ignore[arg-type]

    def close(self) -> None:
        for name in self._copies.values():
            self._on_server("DROP DATABASE IF EXISTS {} WITH (FORCE)", name)


class KintellScene(_Tables):
    """A file of 13 rows, of which one is rejected, and an empty stream for its events."""

    def restore(self, step: str) -> None:
        super().restore(step)
        fresh_stream(self.variables["NATS_URL"])

    def fill(self) -> None:
        world = KintellWorld(self.url, self._folder)
        world.fill()
        self.file = str(world.file)

    def state(self, step: str) -> Any:
        variable = next(iter(self.variables))
        kintell = Kintell(Database.from_env(variable, self.variables))
        text = repr(kintell.dump())
        for key, mail in kintell.all("SELECT id, email FROM users"):
            text = text.replace(str(key), mail)
        told = [name for name, _, _ in messages(self.variables["NATS_URL"])] if step == "publish" else []
        return text, told


class FlowScene(_Tables):
    """A few imports and rows."""

    def fill(self) -> None:
        self.variables["FLOW_WAIVE_TWIN"] = "a test"  # a twin makes thousands of calls
        self._guide = Guide.new(self.url, sessions=8, rows=12)

    def state(self, step: str) -> Any:
        return _NOW.sub("now", repr(state_of_flow(self._guide)))


SCENES: dict[str, Callable[..., Scene]] = {
    "web": MongoScene,
    "contest": MongoScene,
    "identity": CosmosScene,
    "kintell": KintellScene,
    "flow": FlowScene,
}
