"""A store that is lost in the middle of a command: one line that names it and its variable, exit 3, and the command goes on."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psycopg
import pymongo
import pytest
from pymongo.database import Database

from session_assets.embedded.servers import Servers
from session_assets_tests.conftest import with_database
from session_assets_tests.counts import some
from session_assets_tests.kintell.files import clean, write
from session_assets_tests.kintell.scenario import Kintell
from session_assets_tests.shared_home import SharedHome
from session_assets_tests.web.acceptance.conftest import (  # noqa: F401 - fixtures
    Open,
    dagster_template,
    dagster_url,
    nothing_left,
    open_terminal,
    own_mongo_uri,
    own_servers,
)
from session_assets_tests.web.acceptance.documents import dump, fill, wrong_sessions
from session_assets_tests.web.acceptance.terminal import Answer, Terminal
from session_assets_tests.web.acceptance.test_two_at_once import Paused

Web = Database[dict[str, Any]]
_LARGEST = 3072
_WITH_MONGODB = [
    ("web.after_documents", "verify"),
    ("web.after_documents", "plan"),
    ("apply.after_look", "apply"),
    ("apply.after_write", "apply"),
]
_WITH_DAGSTER = [
    ("web.after_documents", "verify"),
    ("web.before_record", "plan"),
    ("apply.after_write", "apply"),
    ("apply.before_finish", "apply"),
]
GO_ON = "Nothing is lost: mend it and run the same command again."


def assert_one_error(answer: Answer, *named: str) -> None:
    """One line that is an error, whole, with nothing that only a programmer reads."""
    assert answer.code == 3, answer
    (line,) = [one for one in answer.err.splitlines() if "error" in one.lower()]
    assert line.startswith("error: ") and all(name in line for name in named), line
    assert line.endswith(GO_ON), line
    assert line.count(GO_ON) == 1
    assert len(line) < 500, line
    for noise in ("Topology", "psycopg", "SELECT", "INSERT", "sqlalche", "<", "{"):
        assert noise not in line, line
    assert "Traceback" not in answer.err and 'File "' not in answer.err, answer.err
    assert len(answer.err.splitlines()) < 6, answer.err


# -- MongoDB -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def web(own_mongo_uri: str) -> Iterator[Web]:  # noqa: F811
    with pymongo.MongoClient[dict[str, Any]](own_mongo_uri, tz_aware=True) as client:
        yield client.get_default_database()


@pytest.fixture
def cli(open_terminal: Open, own_mongo_uri: str) -> Terminal:  # noqa: F811
    return open_terminal(f"{own_mongo_uri}&serverSelectionTimeoutMS=500")


@contextmanager
def without(servers: Servers, name: str) -> Iterator[None]:
    """The server is killed for the block."""
    pid = servers.status()[name].pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    try:
        yield
    finally:
        servers.up([name])


@pytest.mark.parametrize(("place", "command"), some(_WITH_MONGODB, 1))
def test_mongodb_is_killed(
    own_servers: Servers,  # noqa: F811
    cli: Terminal,
    web: Web,
    tmp_path: Path,
    place: str,
    command: str,
) -> None:
    wiped = fill(web)
    paused = Paused(cli, tmp_path, place, command, "web")
    with without(own_servers, "mongodb"):
        answer = paused.release()
    assert_one_error(answer, "MongoDB (WEB_MONGO_URI) cannot be used: ")
    again = cli(command, "web", "--json")
    assert again.code == (1 if command == "verify" else 0), again
    assert cli("apply", "web").code == 0
    assert wrong_sessions(web) == {}
    assert wiped


def test_mongodb_is_killed_under_an_undo(own_servers: Servers, cli: Terminal, web: Web, tmp_path: Path) -> None:  # noqa: F811
    fill(web)
    before = dump(web)
    plan_id = cli("apply", "web", "--json").body["plan_id"]
    paused = Paused(cli, tmp_path, "apply.after_intent", "revert", "web", "--plan-id", plan_id)
    with without(own_servers, "mongodb"):
        answer = paused.release()
    assert_one_error(answer, "MongoDB (WEB_MONGO_URI) cannot be used: ")
    assert cli("revert", "web", "--plan-id", plan_id).code == 0
    assert dump(web) == before


# -- PostgreSQL of Dagster ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def own_postgres(shared_home: SharedHome) -> Iterator[Servers]:
    """A PostgreSQL server that no other test uses: it may be stopped."""
    own = Servers(shared_home.new_home(), tell=print)
    own.up(["postgresql"])
    yield own
    own.down()


def url_of(servers: Servers, name: str) -> str:
    """A database of the server, made if it is not there."""
    server = servers.environment({})["FLOW_DATABASE_URL"]
    with psycopg.connect(server, autocommit=True) as connection:
        if not connection.execute("SELECT FROM pg_database WHERE datname = %s", [name]).rowcount:
            connection.execute(f'CREATE DATABASE "{name}"'.encode())
    return with_database(server, name)


@pytest.fixture
def on_own_postgres(open_terminal: Open, own_postgres: Servers, mongo_uri: str) -> Terminal:  # noqa: F811
    url = url_of(own_postgres, "dagster").replace("postgresql://", "postgresql+psycopg2://", 1)
    terminal = open_terminal(mongo_uri, DAGSTER_POSTGRES_URL=url)
    with pymongo.MongoClient[dict[str, Any]](mongo_uri, tz_aware=True) as client:
        fill(client.get_default_database())
    assert terminal("verify", "web").code == 1  # Dagster's tables are there
    return terminal


@pytest.mark.parametrize(("place", "command"), some(_WITH_DAGSTER, 1))
def test_the_dagster_database_is_stopped(
    own_postgres: Servers, on_own_postgres: Terminal, tmp_path: Path, place: str, command: str
) -> None:
    paused = Paused(on_own_postgres, tmp_path, place, command, "web")
    own_postgres.down(["postgresql"])
    try:
        answer = paused.release()
        down = on_own_postgres(command, "web")
    finally:
        own_postgres.up(["postgresql"])
    assert_one_error(answer, "PostgreSQL (DAGSTER_POSTGRES_URL) cannot be used: ")
    assert_one_error(down, "PostgreSQL (DAGSTER_POSTGRES_URL) cannot be used: ")
    again = on_own_postgres(command, "web", "--json")
    assert again.code == (1 if command == "verify" else 0), again
    assert on_own_postgres("apply", "web").code == 0
    assert on_own_postgres("verify", "web").code == 0


def test_the_dagster_database_restarts(own_postgres: Servers, on_own_postgres: Terminal, tmp_path: Path) -> None:
    """What held a connection then is told of it, also if the server is back before anybody looks."""
    paused = Paused(on_own_postgres, tmp_path, "apply.after_write", "apply", "web")
    own_postgres.down(["postgresql"])
    own_postgres.up(["postgresql"])
    answer = paused.release()
    assert_one_error(answer, "PostgreSQL (DAGSTER_POSTGRES_URL) cannot be used: ")
    assert on_own_postgres("apply", "web").code == 0
    assert on_own_postgres("verify", "web").code == 0


@pytest.mark.parametrize("place", some(["kintell.begun", "kintell.staged", "kintell.committed", "kintell.loaded"], 1))
def test_an_import_loses_its_database_and_that_of_dagster(
    own_postgres: Servers, on_own_postgres: Terminal, tmp_path: Path, place: str
) -> None:
    """The third scenario of the runbook, on one server for both, as `session-assets up` starts it."""
    url = url_of(own_postgres, f"kintell_{place}")
    stored = Kintell.new(url)
    file = write(tmp_path / "sessions.csv", [clean(number) for number in range(1, 41)])
    command = ("import", str(file), "--batch-size", "10")
    on_own_postgres.options.update(KINTELL_DATABASE_URL=url)
    paused = Paused(on_own_postgres, tmp_path, place, *command)
    own_postgres.down(["postgresql"])
    try:
        answer = paused.release()
    finally:
        own_postgres.up(["postgresql"])
    assert_one_error(answer, "PostgreSQL (")
    assert on_own_postgres(*command).code == 0
    assert stored.one("SELECT count(*) FROM kintell_sessions") == 40


# -- the disk ----------------------------------------------------------------------------------------------------------

_DISK = "mkdir -p $0 && mount -t tmpfs -o size=1m tmpfs $0 && echo ready && exec cat"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MiB, in the mount namespace of a process of ours: whoever may make user namespaces may make it."""
    folder = tmp_path / "disk"
    command = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", _DISK, str(folder)]
    try:
        holder = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    except FileNotFoundError:
        pytest.skip("unshare is not installed")
    with holder:
        assert holder.stdin is not None and holder.stdout is not None
        seen = Path(f"/proc/{holder.pid}/root{folder}")
        if holder.stdout.readline() != "ready\n" or not os.access(seen, os.W_OK):
            holder.kill()
            pytest.skip("no file system can be made here")
        yield seen
        holder.stdin.close()


@pytest.fixture
def on_mongo(open_terminal: Open, mongo_uri: str) -> Iterator[tuple[Terminal, Web]]:  # noqa: F811
    with pymongo.MongoClient[dict[str, Any]](mongo_uri, tz_aware=True) as client:
        web = client.get_default_database()
        fill(web, sessions=400, wrong=200)
        yield open_terminal(mongo_uri), web


@pytest.mark.parametrize(
    ("place", "command"),
    some([("web.before_record", "plan"), ("apply.after_look", "apply"), ("apply.after_write", "apply")], 2),
)
def test_the_disk_of_the_storage_is_full(
    on_mongo: tuple[Terminal, Web], small_disk: Path, tmp_path: Path, place: str, command: str
) -> None:
    cli, web = on_mongo
    cli.options["SESSION_ASSETS_STORAGE"] = str(small_disk / "storage")
    paused = Paused(cli, tmp_path, place, command, "web")
    filler = small_disk / "filler"
    with filler.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(4096))
    answer = paused.release()
    assert_one_error(answer, "The storage (SESSION_ASSETS_STORAGE) cannot be used: No space left on device")
    filler.unlink()
    assert not list(small_disk.rglob(".*"))
    assert cli(command, "web").code == 0
    assert cli("apply", "web").code == 0
    assert wrong_sessions(web) == {}


@pytest.mark.parametrize("command", some(["verify", "plan", "apply"], 1))
def test_the_disk_of_temporary_files_is_full(on_mongo: tuple[Terminal, Web], tmp_path: Path, command: str) -> None:
    """The kernel refuses files of more than some KiB, with another number than that of a full disk."""
    cli, web = on_mongo
    paused = Paused(cli, tmp_path, "web.after_documents", command, "web")
    resource.prlimit(paused.running.pid, resource.RLIMIT_FSIZE, (_LARGEST, resource.RLIM_INFINITY))
    answer = paused.release()
    assert_one_error(answer, "(SESSION_ASSETS_HOME) cannot be used: File too large")
    assert list((cli.home / "tmp").iterdir()) == []
    assert cli(command, "web").code == (1 if command == "verify" else 0)
    assert cli("apply", "web").code == 0
    assert wrong_sessions(web) == {}


def test_a_server_that_is_lost_while_python_clears_up_is_told_in_one_line() -> None:
    """Dagster asks its database again while a step of it is cleared away: Python showed a trace of 60 lines."""
    code = (
        "import importlib\n"
        "main = importlib.import_module('session_assets.cli.main')\n"
        "from session_assets.errors import StoreUnavailable\n"
        "class Step:\n"
        "    def __init__(self, error): self.error = error\n"
        "    def __del__(self): raise self.error\n"
        "def work(**_):\n"
        "    Step(StoreUnavailable('PostgreSQL', 'DAGSTER_POSTGRES_URL', 'gone'))\n"
        "    Step(ValueError('ours'))\n"
        "    return 0\n"
        "main.cli.main = work\n"
        "main.main()\n"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    lines = ended.stderr.splitlines()
    assert ended.returncode == 0
    assert lines[0].startswith("note: PostgreSQL (DAGSTER_POSTGRES_URL) cannot be used: gone.")
    assert lines[1].startswith("Exception ignored in"), "a fault of ours keeps its trace"
