"""Start, recognise and stop processes, so that nothing but a server of ours is ever signalled.

A pid alone says nothing: it may have been recycled. A process is ours if its start time and its arguments (which name
our data folder and port) are those on record.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

from session_assets.embedded.account import Account
from session_assets.embedded.state import Record

StopStep = tuple[signal.Signals, float]
"""A signal, and the seconds to wait for the process to end after it."""

# Servers get no more of the caller's environment: no credentials, no PG* or NODE_OPTIONS.
_ENVIRONMENT = ("PATH", "HOME", "TMPDIR", "LD_LIBRARY_PATH")
# Start times of one process, read twice, may differ by a clock adjustment of this many seconds.
_CLOCK_SLACK = 2.0

# Children of this very process, kept so that they can be reaped when they end.
_children: dict[int, subprocess.Popen[Any]] = {}


def environment() -> dict[str, str]:
    """What a server may see of our environment."""
    return {**{name: os.environ[name] for name in _ENVIRONMENT if name in os.environ}, "LC_ALL": "C"}


def start(command: Sequence[str], *, log: Path, folder: Path, account: Account | None = None) -> psutil.Process:
    """Start a server in a session of its own, so that neither Ctrl-C nor the end of our process reaches it."""
    with log.open("ab") as output:
        child: subprocess.Popen[Any] = subprocess.Popen(
            [*(account.prefix if account else ()), *command],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=folder,
            env=environment(),
            start_new_session=True,
            umask=0o077,  # its files hold documents
            **(account.popen if account else {}),
        )
    _children[child.pid] = child
    return psutil.Process(child.pid)


def find(record: Record) -> psutil.Process | None:
    """The live process of a record, or None.

    Without a pid on record (its writer was killed), or with one that is somebody else's by now, the process table is
    searched for the very command, started since it was recorded.
    """
    if not record.command:
        return None
    if record.pid is not None and record.started is not None:
        with suppress(psutil.Error):
            process = psutil.Process(record.pid)
            same_start = abs(process.create_time() - record.started) < _CLOCK_SLACK
            if same_start and _arguments(process) == record.command[1:]:
                return process
    found: list[psutil.Process] = []
    for process in _all_processes():
        if _arguments(process) == record.command[1:]:
            with suppress(psutil.Error):
                if process.create_time() >= record.recorded - _CLOCK_SLACK:
                    found.append(process)
    # A fork that has not yet changed its title looks like its parent: the oldest is the server.
    return min(found, key=lambda process: (process.create_time(), process.pid), default=None)


def abandoned(command: Sequence[str], port: int) -> list[psutil.Process]:
    """Servers of ours on any port whose folder was deleted under them (`rm -rf` of the home without `down`)."""
    known = [None if part == str(port) else part for part in command[1:]]
    found: list[psutil.Process] = []
    for process in _all_processes():
        arguments = _arguments(process)
        if len(arguments) == len(known) and all(k in (None, a) for k, a in zip(known, arguments, strict=True)):
            with suppress(OSError):  # no /proc, or not ours to look at: then it is left alone
                if str(Path(f"/proc/{process.pid}/cwd").readlink()).endswith(" (deleted)"):
                    found.append(process)
    return found


def gone(process: psutil.Process) -> bool:
    """Whether the process has ended. One that nobody has reaped yet has ended too.

    A zombie whose other threads are still ending holds its port and its files: that is not the end.
    """
    child = _children.get(process.pid)
    if child is not None:
        if child.poll() is None:
            return False
        _children.pop(process.pid, None)
        return True
    try:
        if not process.is_running():
            return True
        return process.status() == psutil.STATUS_ZOMBIE and process.num_threads() <= 1
    except psutil.NoSuchProcess:
        return True


def await_end(record: Record, patience: float = 5.0) -> None:
    """Wait for a server on record that was killed a moment ago, and whose threads still hold its port and its files."""
    if record.pid is None or record.started is None:
        return
    with suppress(psutil.NoSuchProcess):
        process = psutil.Process(record.pid)
        if abs(process.create_time() - record.started) >= _CLOCK_SLACK or _arguments(process):
            return
        deadline = time.monotonic() + patience
        while not gone(process) and time.monotonic() < deadline:
            time.sleep(0.02)


def stop(process: psutil.Process, steps: Sequence[StopStep]) -> bool:
    """End the process gracefully: each signal in turn, until it is gone. False if it outlived them all."""
    for number, patience in steps:
        with suppress(psutil.NoSuchProcess):
            process.send_signal(number)  # psutil looks at the start time again, right before the signal
        deadline = time.monotonic() + patience
        while time.monotonic() < deadline:
            if gone(process):
                return True
            time.sleep(0.02)
    return False


def listens(process: psutil.Process, port: int) -> bool:
    """Whether this very process listens on the port. Only for processes of our own user."""
    try:
        connections = process.net_connections("tcp")
    except psutil.Error:
        return False
    return any(one.status == psutil.CONN_LISTEN and one.laddr.port == port for one in connections)


def _arguments(process: psutil.Process) -> tuple[str, ...]:
    """The command line without the program, which a wrapper on PATH may replace; `()` for a process that ended."""
    try:
        return tuple(process.cmdline()[1:])
    except (psutil.Error, OSError):
        return ()


def _all_processes() -> Iterator[psutil.Process]:
    for pid in psutil.pids():
        with suppress(psutil.Error):
            yield psutil.Process(pid)
