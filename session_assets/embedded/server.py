"""What all embedded servers share: find the running one, else prepare, start, wait until it answers; stop it again.

A subclass says how its data is prepared, with which command it runs, and what "it answers" means.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import psutil

from session_assets.durable import own_folder
from session_assets.embedded import logs, ports, process
from session_assets.embedded.account import Account
from session_assets.embedded.failures import ServerFailed
from session_assets.embedded.state import Record, load, save
from session_assets.failpoints import failpoint

_ATTEMPTS = 3
_POLL_SECONDS = 0.03


class NotReady(Exception):
    """The server does not answer as it should yet; the message says what is missing."""


class _Ended(Exception):
    """The process ended before it was ready."""


@dataclass(frozen=True)
class ServerState:
    """One server as seen now. `started_here` is true where this very call started it."""

    name: str
    running: bool
    pid: int | None
    port: int | None
    log: Path
    started_here: bool = False


class Server(ABC):
    """One embedded server in its own folder. Callers hold the lock of the home (see `servers`)."""

    name: ClassVar[str]
    title: ClassVar[str]
    stop_steps: ClassVar[tuple[process.StopStep, ...]]
    # Phrases in the log of a server that ended at start which another try may cure.
    passing_faults: ClassVar[tuple[str, ...]] = ()

    def __init__(self, folder: Path, tell: Callable[[str], None], patience: float = 60.0) -> None:
        self.folder = folder
        self.tell = tell
        self.patience = patience
        self.log = folder / "log"
        self._record_path = folder / "server.json"

    @abstractmethod
    def prepare(self) -> None:
        """Make programs and data folder ready for `command`. Idempotent, whatever a killed call has left."""

    @abstractmethod
    def command(self, port: int) -> list[str]:
        """The command line. It names our folder and has the port as an argument of its own."""

    @abstractmethod
    def check(self, running: psutil.Process, port: int) -> None:
        """Return if this very process serves on the port with all that clients need; else raise `NotReady`.

        Completes what is missing (replica set, databases), for a call that was killed half-way too.
        """

    @abstractmethod
    def variables(self, port: int) -> Mapping[str, str]:
        """The environment variables that lead clients to this server."""

    def account(self) -> Account | None:
        """The user to run as; None for our own."""
        return None

    def folder_mode(self) -> int:
        """For our own user alone."""
        return 0o700

    def telling(self, lines: list[str]) -> list[str]:
        """Of these lines of the log those that tell a person what went wrong."""
        return lines

    def failed(self, reason: str, offset: int = 0) -> ServerFailed:
        """The error that shows the end of the log, as far as it was written after `offset`."""
        lines = self.telling(logs.lines_since(self.log, offset))
        return ServerFailed(self.title, reason, self.log, logs.tail(lines))

    def up(self) -> ServerState:
        """Start the server unless it runs; return when it answers. Raises `ServerFailed` or `ServerMissing`."""
        try:
            own_folder(self.folder, self.folder_mode())
            record = load(self._record_path)
            running = process.find(record)
            if running is not None and record.port is not None:
                self._remember(record, running)
                with suppress(_Ended):
                    self._await(running, record.port)
                    return self.state()
            return self._start(record)
        except OSError as error:  # a folder of another user, a full disk
            raise ServerFailed(self.title, f"{error.filename or self.folder}: {error.strerror}") from error

    def down(self) -> bool:
        """Stop the server if it runs; True if it did. Raises `ServerFailed` if not even SIGKILL ends it."""
        record = load(self._record_path)
        running = process.find(record)
        if running is not None and not process.stop(running, self.stop_steps):
            raise self.failed(f"process {running.pid} does not end")
        if record.command:
            save(self._record_path, Record(port=record.port))
        return running is not None

    def state(self) -> ServerState:
        """Look, without touching anything."""
        record = load(self._record_path)
        running = process.find(record)
        pid = running.pid if running else None
        return ServerState(self.name, running is not None, pid, record.port, self.log)

    def _start(self, record: Record) -> ServerState:
        process.await_end(record)
        self.prepare()
        self._clear_abandoned()
        taken: set[int] = set()
        for attempt in range(1, _ATTEMPTS + 1):
            port = ports.choose(str(self.folder), record.port, avoid=taken)
            offset = logs.open_end(self.log)
            running = self._launch(port)
            try:
                self._await(running, port)
                break
            except _Ended:
                save(self._record_path, Record(port=record.port))
                lost_port = not ports.is_free(port)  # somebody took it in between
                if attempt == _ATTEMPTS or not (lost_port or self._will_pass(offset)):
                    raise self.failed("it ended while starting", offset) from None
                if lost_port:
                    taken.add(port)
                else:
                    time.sleep(0.5)
        return replace(self.state(), started_here=True)

    def _will_pass(self, offset: int) -> bool:
        lines = logs.lines_since(self.log, offset)
        return any(fault in line for fault in self.passing_faults for line in lines)

    def _launch(self, port: int) -> psutil.Process:
        command = tuple(self.command(port))
        record = Record(command, port, recorded=time.time())
        save(self._record_path, record)
        failpoint(f"embedded.{self.name}.intended")
        running = process.start(command, log=self.log, folder=self.folder, account=self.account())
        failpoint(f"embedded.{self.name}.started")
        self._remember(record, running)
        failpoint(f"embedded.{self.name}.recorded")
        return running

    def _remember(self, record: Record, running: psutil.Process) -> None:
        if record.pid != running.pid:
            save(self._record_path, replace(record, pid=running.pid, started=running.create_time()))

    def _await(self, running: psutil.Process, port: int) -> None:
        deadline = time.monotonic() + self.patience
        while True:
            if process.gone(running):
                raise _Ended
            try:
                if not ports.accepts(port):
                    raise NotReady("nothing listens on its port")
                self.check(running, port)
                return
            except NotReady as missing:
                if time.monotonic() > deadline:
                    reason = (
                        f"process {running.pid} runs but is not ready after {self.patience:.0f} s: {missing}"
                        " (`session-assets down` stops it)"
                    )
                    raise self.failed(reason) from missing
            time.sleep(_POLL_SECONDS)

    def _clear_abandoned(self) -> None:
        """Stop servers of ours whose folder was deleted while they ran: they hold our port and serve nothing."""
        for leftover in process.abandoned(self.command(0), 0):
            process.stop(leftover, self.stop_steps)
