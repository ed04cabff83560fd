"""A connection on which nothing comes any more: the command ends, names the server, frees its locks, and goes on when run again.

A statement that takes its time is left in peace, and Ctrl-C ends a command in the middle of the silence.
"""

from __future__ import annotations

import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeout
from pathlib import Path

import psycopg
import pytest

from session_assets.embedded.binaries import postgres_bin
from session_assets.errors import StoreUnavailable
from session_assets.stores import cosmos_account, cosmos_transport
from session_assets.stores.cosmos import Container, container
from session_assets.stores.cosmos_account import disconnect
from session_assets.stores.cosmos_containers import create_containers
from session_assets.stores.postgres import Database
from session_assets.stores.postgres_programs import run_program
from session_assets.stores.silence import own_sockets
from session_assets_tests.counts import FULL, some
from session_assets_tests.faults.conftest import Between
from session_assets_tests.faults.silent import SECONDS, Statement, find_slowly, sleep
from session_assets_tests.flow.dying import is_killed
from session_assets_tests.web.acceptance.conftest import Open
from session_assets_tests.web.acceptance.documents import Web, fill, wrong_sessions
from session_assets_tests.web.acceptance.test_two_at_once import Paused

GO_ON = "Nothing is lost: mend it and run the same command again."
HASTY = "serverSelectionTimeoutMS=500&connectTimeoutMS=500"
SHORT = {} if FULL else {"SESSION_ASSETS_SILENCE_SECONDS": "1"}


def assert_ended(code: int, err: str, variable: str) -> None:
    assert code == 3, err
    (line,) = [one for one in err.splitlines() if one.startswith("error: ")]
    assert variable in line and line.endswith(GO_ON), line
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("place", "command"),
    some(
        [
            ("web.after_documents", "verify"),
            ("web.after_documents", "plan"),
            ("apply.after_look", "apply"),
            ("apply.after_intent", "apply"),
        ],
        2,
    ),
)
def test_a_silent_mongodb_ends_the_command(
    between: Between, open_terminal: Open, mongo_uri: str, web: Web, tmp_path: Path, place: str, command: str
) -> None:
    fill(web)
    proxy, uri = between(mongo_uri)
    cli = open_terminal(f"{uri}&{HASTY}", **SHORT)
    paused = Paused(cli, tmp_path, place, command, "web")
    with proxy.broken("black hole"):
        answer = paused.release()
    assert_ended(answer.code, answer.err, "WEB_MONGO_URI")
    again = cli(command, "web", "--json")  # nobody holds a lock
    assert again.code == (1 if command == "verify" else 0), again
    assert cli("apply", "web").code == 0
    assert wrong_sessions(web) == {}


def test_one_silent_connection_to_a_server_that_answers_costs_only_its_statement(
    between: Between, open_terminal: Open, mongo_uri: str, web: Web, tmp_path: Path
) -> None:
    fill(web)
    proxy, uri = between(mongo_uri)
    cli = open_terminal(f"{uri}&{HASTY}", **SHORT)
    paused = Paused(cli, tmp_path, "web.after_documents", "plan", "web", "--json")
    proxy.break_down("stall")
    answer = paused.release()
    assert answer.code == 0, answer  # a read goes out again
    assert cli("apply", "web").code == 0
    assert wrong_sessions(web) == {}


@pytest.mark.parametrize("place", some(["web.after_documents", "apply.after_intent"], 1))
def test_a_silent_dagster_database_ends_the_command(
    between: Between, open_terminal: Open, dagster_url: str, mongo_uri: str, web: Web, tmp_path: Path, place: str
) -> None:
    fill(web)
    proxy, url = between(dagster_url)
    cli = open_terminal(mongo_uri, **SHORT, DAGSTER_POSTGRES_URL=url)
    paused = Paused(cli, tmp_path, place, "apply", "web")
    with proxy.broken("black hole"):
        answer = paused.release()
    assert_ended(answer.code, answer.err, "DAGSTER_POSTGRES_URL")
    assert cli("apply", "web").code == 0
    assert wrong_sessions(web) == {}


@pytest.mark.parametrize("fault", some(["black hole", "stall"], 1))
def test_ctrl_c_ends_a_command_that_waits_in_silence(
    between: Between, open_terminal: Open, dagster_url: str, mongo_uri: str, web: Web, tmp_path: Path, fault: str
) -> None:
    fill(web)
    of_mongo, uri = between(mongo_uri)
    of_dagster, url = between(dagster_url)
    cli = open_terminal(uri, DAGSTER_POSTGRES_URL=url)
    paused = Paused(cli, tmp_path, "web.after_documents", "plan", "web")
    for proxy in (of_mongo, of_dagster):
        proxy.break_down(fault)
    paused.let_go()
    began = time.monotonic()
    os.kill(paused.running.pid, signal.SIGINT)
    answer = paused.running.wait()
    assert answer.code == 130, answer
    assert "run the same command again to go on" in answer.err
    assert time.monotonic() - began < 60  # ten seconds on a machine that does nothing else
    for proxy in (of_mongo, of_dagster):
        proxy.mend()
    assert cli("apply", "web").code == 0
    assert wrong_sessions(web) == {}


@pytest.mark.parametrize("statement", [find_slowly, sleep])
def test_a_statement_that_takes_its_time_is_left_in_peace(
    mongo_uri: str, postgres_url: str, web: Web, statement: object
) -> None:
    web.sessions.insert_one({})
    url = mongo_uri if statement is find_slowly else postgres_url
    assert not is_killed(statement, Statement(url, "0.5"))  # type: ignore[arg-type]


@pytest.mark.parametrize("fault", ["black hole", "stall"])
def test_a_backup_that_waits_in_silence_is_ended(
    between: Between, postgres_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    monkeypatch.setenv("SESSION_ASSETS_SILENCE_SECONDS", "1")
    proxy, url = between(postgres_url)
    proxy.break_down(fault, after=4)
    with pytest.raises(StoreUnavailable, match="no byte came for 1 s to session-assets pg_dump"):
        dump(url, tmp_path)


def test_a_backup_that_waits_for_a_lock_is_left_in_peace(
    postgres_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SESSION_ASSETS_SILENCE_SECONDS", "0.5")
    with psycopg.connect(postgres_url) as holder, ThreadPoolExecutor() as beside:
        holder.execute("CREATE TABLE taken ()")
        holder.commit()
        holder.execute("LOCK TABLE taken")
        waiting = beside.submit(dump, postgres_url, tmp_path)
        with pytest.raises(FutureTimeout):
            waiting.result(SECONDS)
        holder.rollback()
        assert waiting.result() is None


def dump(url: str, folder: Path) -> str | None:
    return run_program(postgres_bin() / "pg_dump", Database("FLOW_DATABASE_URL", url), ["-f", str(folder / "dump")])


def test_looking_for_connections_leaves_no_descriptors_behind() -> None:
    """A look copied those of files, too: their number doubled every few seconds of a long statement."""
    folder = Path("/proc/self/fd")
    if not folder.exists():
        pytest.skip("this system does not tell")
    before = len([*folder.iterdir()])
    for _ in range(3):
        assert own_sockets({("192.0.2.1", 1)}) == []
    assert len([*folder.iterdir()]) == before


def test_after_a_silent_read_of_cosmos_nothing_waits_for_it(
    between: Between, cosmos: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A plan of some partitions waited a minute for each of its reads, more than three in all."""
    create_containers(cosmos)
    monkeypatch.setattr(cosmos_account, "_READ_SECONDS", 1)
    monkeypatch.setattr(cosmos_transport, "_READING", 1.5)
    monkeypatch.setattr(cosmos_transport, "_HURRY", 3.0)
    proxy, url = between(cosmos["AZURE_COSMOS_ENDPOINT"])
    variables = {**cosmos, "AZURE_COSMOS_ENDPOINT": url}
    sessions = container("user_sessions", variables)
    try:
        with proxy.broken("black hole"):
            assert seconds_of_refusal(sessions) > 1.5
            assert seconds_of_refusal(sessions) < 1
        deadline = time.monotonic() + 20
        while not answers(sessions):
            assert time.monotonic() < deadline, "it is never asked again"
            time.sleep(0.1)
    finally:
        disconnect(variables)


def seconds_of_refusal(sessions: Container) -> float:
    began = time.monotonic()
    with pytest.raises(StoreUnavailable, match="no answer"):
        sessions.count()
    return time.monotonic() - began


def answers(sessions: Container) -> bool:
    try:
        return sessions.count() == 0
    except StoreUnavailable:
        return False
