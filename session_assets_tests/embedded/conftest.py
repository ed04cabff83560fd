"""Homes that a test may stop and break, and ways to look at processes from outside."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from session_assets.embedded import ports
from session_assets.embedded.servers import Servers
from session_assets_tests.shared_home import SharedHome

UpProcess = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def home(shared_home: SharedHome) -> Iterator[Path]:
    """A home for one test; whatever still runs in it is stopped afterwards."""
    folder = shared_home.new_home()
    folder.chmod(0o755)
    yield folder
    Servers(folder).down()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def used_folder(shared_home: SharedHome) -> Iterator[Path]:
    folder = shared_home.new_home()
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def used_home(used_folder: Path) -> Iterator[Path]:
    """A home that other tests of the module used before, nothing of which runs: starting takes less time."""
    yield used_folder
    Servers(used_folder).down()


@pytest.fixture
def up_process() -> Iterator[UpProcess]:
    """Run `Servers(home).up(names)` in a process of its own, which may be killed; it waits for its stdin to end."""
    started: list[subprocess.Popen[str]] = []

    def run(home: Path, *names: str, failpoints: str = "") -> subprocess.Popen[str]:
        script = (
            "import sys; from pathlib import Path; from session_assets.embedded.servers import Servers\n"
            "states = Servers(Path(sys.argv[1])).up(sys.argv[2:])\n"
            "print(*(state.started_here for state in states.values()), flush=True); sys.stdin.read()"
        )
        child = subprocess.Popen(
            [sys.executable, "-c", script, str(home), *names],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "SESSION_ASSETS_FAILPOINTS": failpoints, "PYTHONPATH": os.pathsep.join(sys.path)},
        )
        started.append(child)
        return child

    yield run
    for child in started:
        child.kill()
        child.communicate()


@pytest.fixture
def bystander() -> Iterator[subprocess.Popen[bytes]]:
    """A process that has nothing to do with us and must outlive everything."""
    child = subprocess.Popen(["sleep", "600"])
    yield child
    child.kill()
    child.wait()


def processes_of(home: Path) -> list[int]:
    """Pids of the servers in the process table whose arguments lie in the home; not of the children that a server forks."""
    found: dict[int, int] = {}
    for process in psutil.process_iter(["cmdline", "ppid"]):
        arguments = process.info["cmdline"] or []
        if process.pid != os.getpid() and any(part.startswith(f"{home}/embedded") for part in arguments):
            found[process.pid] = process.info["ppid"]
    return [pid for pid, parent in found.items() if parent not in found]


def port_of(servers: Servers, name: str) -> int:
    port = servers.status()[name].port
    assert port is not None
    return port


def is_silent(port: int) -> bool:
    return not ports.accepts(port)


def hang_up_on_all(taker: socket.socket) -> None:
    """Be a server that wants nobody, until the socket is closed."""

    def run() -> None:
        with suppress(OSError):
            while True:
                taker.accept()[0].close()

    threading.Thread(target=run, daemon=True).start()
