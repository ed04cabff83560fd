"""A fault between a step of a slice and its servers: nothing is lost or doubled, it ends, and it goes on when run again.

The full run tries each fault before each server in each step, the default one a few that the name of the step chooses.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random

import psycopg
import pymongo
import pytest
from psycopg import sql

from session_assets.stores.cosmos_containers import drop_database
from session_assets.stores.cosmos_settings import DATABASE
from session_assets.stores.locks import VARIABLE as DAGSTER
from session_assets_tests.conftest import with_database
from session_assets_tests.counts import FULL
from session_assets_tests.faults.conftest import Between
from session_assets_tests.faults.proxy import FAULTS, Proxy
from session_assets_tests.faults.steps import STEPS, Scene, Step, scene_of
from session_assets_tests.slices.worlds import Variables
from session_assets_tests.web.acceptance.conftest import Open
from session_assets_tests.web.acceptance.terminal import Answer, Terminal

DONE = "is completed already"  # by the first run, which could not say so
GO_ON = "Nothing is lost: mend it and run the same command again."
HASTY = "serverSelectionTimeoutMS=500&connectTimeoutMS=500"
SERVERS = ("store", "Dagster's database")
CASES = [(slice_, step) for slice_, steps in STEPS.items() for step in steps if step.name != "rehearsal"]
CHOSEN = [CASES[0], CASES[4], CASES[6], CASES[9], CASES[12]]
Fresh = Callable[[str], Variables]


@pytest.fixture
def fresh(request: pytest.FixtureRequest) -> Iterator[Fresh]:
    """Variables of an empty database for a slice; the first is the address of its server. Dropped after the test."""
    ends: list[Callable[[], None]] = []

    def made(slice_: str) -> Variables:
        name = f"test_{secrets.token_hex(6)}"
        if slice_ == "identity":
            variables = {**request.getfixturevalue("cosmos_server"), DATABASE: name}
            ends.append(lambda: drop_database(variables))
            return variables
        if slice_ in ("kintell", "flow"):
            server: str = request.getfixturevalue("postgres_server")
            _on(server, "CREATE DATABASE {}", name)
            ends.append(lambda: _on(server, "DROP DATABASE {} WITH (FORCE)", name))
            return {f"{slice_.upper()}_DATABASE_URL": with_database(server, name)}
        uri: str = request.getfixturevalue("mongo_server")
        ends.append(lambda: _drop(uri, name))
        return {f"{slice_.upper()}_MONGO_URI": with_database(uri, name)}

    yield made
    for end in ends:
        end()


def _on(server: str, statement: str, name: str) -> None:
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(sql.SQL(statement).format(sql.Identifier(name)))  # type: ignore[arg-type]


def _drop(uri: str, name: str) -> None:
    with pymongo.MongoClient[dict[str, object]](uri) as client:
        client.drop_database(name)


def through(between: Between, url: str) -> tuple[Proxy, str]:
    proxy, led = between(url)
    return proxy, f"{led}&{HASTY}" if led.startswith("mongodb") else led


@pytest.mark.parametrize(("slice_", "step"), CASES if FULL else CHOSEN, ids=lambda one: getattr(one, "name", one))
def test_a_fault_costs_nothing(
    between: Between, open_terminal: Open, dagster_url: str, fresh: Fresh, tmp_path: Path, slice_: str, step: Step
) -> None:
    chance = Random(f"{slice_} {step.name}")
    to_dagster, dagster = through(between, dagster_url)

    def scene(name: str) -> tuple[Scene, Terminal, dict[str, Proxy]]:
        variables = fresh(slice_)
        made = scene_of(slice_, variables, tmp_path / f"files-{name}")
        to_store, url = through(between, made.url)
        led = {**variables, made.variable: url, DAGSTER: dagster, "CONTEST_START_DATE": "2025-01-01"}
        cli = open_terminal(None, name, **led, SESSION_ASSETS_SILENCE_SECONDS="1", FLOW_SETTLE_MINUTES="0")
        made.until(cli, step)
        return made, cli, dict(zip(SERVERS, (to_store, to_dagster), strict=True))

    right, cli, proxies = scene("right")
    for proxy in proxies.values():
        proxy.break_down("")
    right.note(step, right.run(cli, step))
    goal, chunks = right.state(), {name: proxy.chunks for name, proxy in proxies.items()}
    cells = [(server, fault) for server in SERVERS for fault in FAULTS]
    for number, (server, fault) in enumerate(cells if FULL else [chance.choice(cells)]):
        faulty, cli, proxies = scene(f"faulty-{number}")
        proxies[server].break_down(fault, after=chance.randint(1, max(1, chunks[server])))
        answer = faulty.run(cli, step)
        begun = proxies[server].has_begun
        proxies[server].mend()
        if begun:
            assert_clear(answer, step)
        if answer.code == 3:
            again = faulty.run(cli, step)
            assert again.code == step.code or DONE in str(again.body["error"]), again
        assert faulty.state() == goal, (server, fault, answer)


def assert_clear(answer: Answer, step: Step) -> None:
    """The command went on, or said in one line which server is lost."""
    assert "Traceback" not in answer.err, answer
    if answer.code == step.code:
        return
    assert answer.code == 3, answer
    said = [
        one for one in [*answer.err.splitlines(), *(str(body.get("error")) for body in answer.bodies)] if GO_ON in one
    ]
    assert said, answer
