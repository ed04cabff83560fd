"""Homes of embedded servers for one test run, shared by its pytest-xdist workers.

The last worker stops the servers. A run that was killed leaves them: the next run finds that none of its users lives
and stops them first.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path

import psutil

from session_assets.embedded.servers import Servers
from session_assets.embedded.state import exclusive

_HOMES = "home"
_USERS = "users"
_PLENTY = 4 * 1024**3


class SharedHome:
    """The folder of this test run; a process `join`s before it uses a home and `leave`s at its end."""

    def __init__(self, base: Path | None = None) -> None:
        self._base = base or fast_folder() / f"session-assets-tests-{os.getuid()}"
        self._run = self._base / (os.environ.get("PYTEST_XDIST_TESTRUNUID") or str(os.getpid()))
        self._me = self._run / _USERS / str(os.getpid())

    @property
    def home(self) -> Path:
        """The home that all workers share."""
        return self._run / _HOMES

    def new_home(self) -> Path:
        """A home of its own for a test that stops and breaks servers."""
        return Path(tempfile.mkdtemp(prefix=f"{_HOMES}-", dir=self._run))

    def join(self) -> None:
        """Clear up after runs that were killed, and take part in this one."""
        self._base.mkdir(exist_ok=True)
        if self._base.stat().st_uid != os.getuid():
            raise PermissionError(f"{self._base} belongs to another user")
        with exclusive(self._base / "lock", 120, print):
            for run in self._base.iterdir():
                if run.is_dir() and not _living_users(run):
                    _remove(run)
            self._me.parent.mkdir(parents=True, exist_ok=True)
            self._me.write_text(str(psutil.Process().create_time()))

    def leave(self) -> None:
        """Stop the servers and remove the folder if nobody else of this run is left."""
        with exclusive(self._base / "lock", 120, print):
            self._me.unlink()
            if not _living_users(self._run):
                _remove(self._run)


def fast_folder() -> Path:
    """A folder in memory where there is plenty of it: half of the time of database tests is waiting for the disk."""
    memory = Path("/dev/shm")
    if memory.is_dir() and os.access(memory, os.W_OK) and shutil.disk_usage(memory).free > _PLENTY:
        return memory
    return Path(tempfile.gettempdir())


def _living_users(run: Path) -> list[Path]:
    living: list[Path] = []
    for user in (run / _USERS).glob("*"):
        with suppress(psutil.Error, ValueError):
            if abs(psutil.Process(int(user.name)).create_time() - float(user.read_text())) < 2:
                living.append(user)
    return living


def _remove(run: Path) -> None:
    for home in run.glob(f"{_HOMES}*"):
        Servers(home).down()
    shutil.rmtree(run, ignore_errors=True)
