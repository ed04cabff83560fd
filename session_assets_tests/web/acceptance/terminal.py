"""`session-assets` as people call it, in a process of its own, from a fork server that has loaded Dagster already.

Loading takes three of the four seconds of a command; what reads the environment at import is loaded after the fork.
"""

from __future__ import annotations

import json
import os
import secrets
import signal
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

from session_assets_tests.faults import modes
from session_assets_tests.fork_server import CONTEXT, READ_AT_IMPORT

_started: list[Running] = []
_PATIENCE_SECONDS = 200
KILLED = -signal.SIGKILL


@dataclass(frozen=True)
class Answer:
    """What a command left: exit code, the objects of `--json`, and both streams."""

    code: int
    out: str
    err: str

    @property
    def bodies(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.out.splitlines() if line.startswith("{")]

    @property
    def body(self) -> dict[str, Any]:
        (only,) = self.bodies
        return only

    def check(self, name: str) -> dict[str, Any]:
        return next(one for one in self.body["checks"] if one["name"] == name)


class Running:
    """A command at work."""

    def __init__(self, process: ForkServerProcess, streams: Path) -> None:
        self._process = process
        self._streams = streams

    @property
    def pid(self) -> int:
        assert self._process.pid is not None
        return self._process.pid

    def is_alive(self) -> bool:
        return self._process.is_alive()

    def kill(self) -> None:
        """kill -9."""
        self._process.kill()

    def wait(self) -> Answer:
        self._process.join(_PATIENCE_SECONDS)
        if self._process.exitcode is None:
            self._process.kill()
            raise TimeoutError(self._read("err"))
        return Answer(self._process.exitcode, self._read("out"), self._read("err"))

    @property
    def errors(self) -> str:
        """Standard error so far."""
        return self._read("err")

    def _read(self, name: str) -> str:
        with suppress(FileNotFoundError):
            return self._streams.with_suffix(f".{name}").read_text()
        return ""


@dataclass(frozen=True)
class Terminal:
    """A shell with an environment. `home` is SESSION_ASSETS_HOME."""

    home: Path
    variables: Mapping[str, str]
    streams: Path
    options: dict[str, str] = field(default_factory=dict)  # more variables for all commands from now on

    def __call__(self, *arguments: str | Path, **variables: str | None) -> Answer:
        """Run a command to its end. A variable that is None is unset."""
        return self.start(*arguments, **variables).wait()

    def start(self, *arguments: str | Path, **variables: str | None) -> Running:
        environment = {**self.variables, **self.options, **variables}
        streams = self.streams / secrets.token_hex(6)
        target = (
            [str(one) for one in arguments],
            {name: value for name, value in environment.items() if value is not None},
            streams,
        )
        process = CONTEXT.Process(target=_command, args=target, daemon=True)  # ends with the tests at the latest
        process.start()
        _started.append(Running(process, streams))
        return _started[-1]

    def killed_at(self, failpoint: str, *arguments: str | Path) -> Answer:
        """Run a command that kills itself with -9 at a failpoint."""
        answer = self(*arguments, SESSION_ASSETS_FAILPOINTS=f"{failpoint}=kill")
        assert answer.code == KILLED, (failpoint, answer)
        return answer

    def killed_after(self, seconds: float, *arguments: str | Path) -> bool:
        """Run a command and kill it with -9 some time after its start; False where it was quicker."""
        running = self.start(*arguments)
        deadline = time.monotonic() + seconds
        while running.is_alive() and time.monotonic() < deadline:
            time.sleep(0.005)
        running.kill()
        return running.wait().code == KILLED


def kill_all() -> None:
    """End what a test that failed has left paused."""
    while _started:
        _started.pop().kill()


def _command(arguments: list[str], variables: dict[str, str], streams: Path) -> None:
    from session_assets_tests.loaded import SET_AT_IMPORT

    os.environ.clear()
    os.environ.update(SET_AT_IMPORT | variables)
    if modes.VARIABLE in variables:
        modes.obey_modes()
    if any(variables.get(name) != value for name, value in READ_AT_IMPORT.items()):
        for name in [one for one in sys.modules if one.startswith("session_assets.")]:
            del sys.modules[name]
    for descriptor, name in ((1, "out"), (2, "err")):
        is_shown = name == "err" or modes.NO_OUTPUT not in variables
        path = streams.with_suffix(f".{name}") if is_shown else os.devnull
        opened = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(opened, descriptor)
    sys.argv = ["session-assets", *arguments]
    sys.stdout, sys.stderr = os.fdopen(1, "w", closefd=False), os.fdopen(2, "w", closefd=False)
    from session_assets.cli import main

    try:
        main()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
