"""Whatever is killed, whenever: the next call finds what runs, starts what does not, and harms nobody else."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from dataclasses import replace
from pathlib import Path

import psutil
import psycopg
import pytest

from session_assets.embedded import state
from session_assets.embedded.nats import Nats
from session_assets.embedded.servers import Servers
from session_assets_tests.embedded.conftest import UpProcess, is_silent, port_of, processes_of


def pids(servers: Servers) -> dict[str, int | None]:
    return {name: one.pid for name, one in servers.status().items() if one.running}


def test_servers_outlive_the_process_that_started_them(used_home: Path, up_process: UpProcess) -> None:
    parent = up_process(used_home, "mongodb", "postgresql", "nats")
    assert parent.stdout is not None and parent.stdout.readline().split() == ["True"] * 3
    servers = Servers(used_home)
    before = pids(servers)
    parent.kill()
    parent.wait()
    again = servers.up(["mongodb", "postgresql", "nats"])
    assert {name: one.pid for name, one in again.items()} == before
    assert sorted(processes_of(used_home)) == sorted(pid for pid in before.values() if pid)
    assert all(os.getsid(pid) == pid for pid in before.values() if pid), "each has a session of its own"


@pytest.mark.parametrize(
    ("name", "step"),
    [
        ("nats", "intended"),
        ("nats", "started"),
        ("nats", "recorded"),
        ("mongodb", "started"),
        ("postgresql", "started"),
    ],
)
def test_up_killed_half_way_is_finished_by_the_next(
    used_home: Path, up_process: UpProcess, name: str, step: str
) -> None:
    killed = up_process(used_home, name, failpoints=f"embedded.{name}.{step}=kill")
    assert killed.wait(30) == -signal.SIGKILL
    left_running = processes_of(used_home)
    assert len(left_running) == (0 if step == "intended" else 1)

    servers = Servers(used_home)
    after = servers.up([name])[name]
    assert processes_of(used_home) == [after.pid]
    assert left_running in ([], [after.pid])
    servers.down()
    assert processes_of(used_home) == []


def test_down_finds_what_a_killed_up_did_not_record(used_home: Path, up_process: UpProcess) -> None:
    assert up_process(used_home, "nats", failpoints="embedded.nats.started=kill").wait(30) == -signal.SIGKILL
    assert len(processes_of(used_home)) == 1
    assert Servers(used_home).down() == ["nats"]
    assert processes_of(used_home) == []


def test_half_made_database_folder_is_made_anew(home: Path, up_process: UpProcess) -> None:
    killed = up_process(home, "postgresql", failpoints="embedded.postgresql.made=kill")
    assert killed.wait(30) == -signal.SIGKILL
    folder = home / "embedded" / "postgresql"
    assert list(folder.glob("data.new-*")) and not (folder / "data").exists()
    servers = Servers(home)
    servers.up(["postgresql"])
    assert not list(folder.glob("data.new-*"))
    with psycopg.connect(servers.environment({})["DAGSTER_POSTGRES_URL"].replace("+psycopg2", "")) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)


def test_killed_servers_start_again_at_the_same_address(used_home: Path) -> None:
    servers = Servers(used_home)
    servers.up(["mongodb", "postgresql"])
    environment = servers.environment({})
    for pid in pids(servers).values():
        assert pid
        os.kill(pid, signal.SIGKILL)
    states = servers.up(["mongodb", "postgresql"])
    assert all(one.started_here for one in states.values())
    assert servers.environment({}) == environment


def test_two_calls_at_once_start_one_server(used_home: Path, up_process: UpProcess) -> None:
    both = [up_process(used_home, "mongodb", "nats") for _ in range(2)]
    answers = [one.stdout.readline().split() for one in both if one.stdout]
    assert sorted(answers) == [["False", "False"], ["True", "True"]]
    assert len(processes_of(used_home)) == 2


def test_recycled_pid_is_not_touched(used_home: Path, bystander: subprocess.Popen[bytes]) -> None:
    servers = Servers(used_home)
    servers.up(["nats"])
    servers.down()
    path = used_home / "embedded" / "nats" / "server.json"
    its_start = psutil.Process(bystander.pid).create_time()
    ours = replace(state.load(path), command=("nats-server", "--port", "1"), recorded=its_start)
    state.save(path, replace(ours, pid=bystander.pid, started=its_start))
    assert servers.down() == []
    assert servers.status()["nats"].pid is None
    # The same command line even, but another start time.
    state.save(path, replace(ours, command=("sleep", "600"), recorded=its_start + 60, pid=bystander.pid, started=1.0))
    assert servers.down() == []
    assert servers.up(["nats"])["nats"].pid != bystander.pid
    assert bystander.poll() is None


def test_recycled_pid_in_the_lock_file_of_postgresql(used_home: Path) -> None:
    servers = Servers(used_home)
    pid = servers.up(["postgresql"])["postgresql"].pid
    assert pid
    lock = used_home / "embedded" / "postgresql" / "data" / "postmaster.pid"
    os.kill(pid, signal.SIGKILL)
    # Of the same user, for `postgres` ignores a pid that it may not signal.
    user = lock.stat().st_uid if os.geteuid() == 0 else None
    bystander = subprocess.Popen(["sleep", "600"], user=user)
    try:
        lock.write_text(lock.read_text().replace(str(pid), str(bystander.pid), 1))
        servers.up(["postgresql"])
        assert bystander.poll() is None
    finally:
        bystander.kill()
        bystander.wait()


def test_damaged_record_does_not_hinder(used_home: Path) -> None:
    servers = Servers(used_home)
    servers.up(["nats"])
    servers.down()
    (used_home / "embedded" / "nats" / "server.json").write_text('{"command":')
    assert servers.up(["nats"])["nats"].started_here


def test_servers_of_a_deleted_home_are_replaced(home: Path) -> None:
    servers = Servers(home)
    before = servers.up(["mongodb", "nats"])
    port = port_of(servers, "nats")
    while home.exists():  # MongoDB goes on writing into it
        shutil.rmtree(home, ignore_errors=True)
    home.mkdir()
    after = servers.up(["mongodb", "nats"])
    assert sorted(processes_of(home)) == sorted(one.pid for one in after.values() if one.pid)
    assert all(before[name].pid != one.pid for name, one in after.items())
    assert port_of(servers, "nats") == port


def test_server_that_ignores_signals_is_killed_in_bounded_time(
    used_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    servers = Servers(used_home)
    pid = servers.up(["nats"])["nats"].pid
    assert pid
    os.kill(pid, signal.SIGSTOP)
    monkeypatch.setattr(Nats, "stop_steps", ((signal.SIGTERM, 0.3), (signal.SIGKILL, 5.0)))
    begun = time.monotonic()
    assert servers.down() == ["nats"]
    assert time.monotonic() - begun < 5
    assert is_silent(port_of(servers, "nats"))
    assert json.loads((used_home / "embedded" / "nats" / "server.json").read_text())["command"] == []
