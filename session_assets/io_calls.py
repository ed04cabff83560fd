"""Every call to a store or a file can fail once, or be the last of its process: tests try it for the first call, the second, …

`SESSION_ASSETS_IO_CALLS` holds pairs separated by `;`:

* `N=MODE`: what happens at the N-th call of this process.
    `refused`     not done; nor is any later call to the same server or storage
    `lost`        done, and its answer does not come
    `timeout`     not done, and nobody says so in time
    `full`        not done; nor is any later call of the same kind to the storage, or any later call to the same server
    `kill`        SIGKILL to this process before the call
    `kill-after`  SIGKILL after it
* `count=PATH`: a line for each call is added to PATH: process, number, server, kind, and what it is about.

A driver says so in its own words: each has one place where all its calls pass, and that place turns `CallFailed` into what the
driver raises. Without the variable a call costs one dictionary look-up.
"""

from __future__ import annotations

import errno
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Literal, get_args

VARIABLE = "SESSION_ASSETS_IO_CALLS"
Mode = Literal["refused", "lost", "timeout", "full", "kill", "kill-after"]
_NUMBERS: dict[Mode, int] = {
    "refused": errno.ECONNREFUSED,
    "lost": errno.ECONNRESET,
    "timeout": errno.ETIMEDOUT,
    "full": errno.ENOSPC,
}
_OF_FILES: dict[Mode, int] = {"refused": errno.EACCES, "lost": errno.EIO}
FILES = ("storage", "scratch")
"""What is called like a server and holds files."""
_NOTHING = nullcontext()


class CallFailed(OSError):
    """What a call is made to fail with."""

    def __init__(self, server: str, mode: Mode) -> None:
        number = _OF_FILES.get(mode, _NUMBERS[mode]) if server in FILES else _NUMBERS[mode]
        super().__init__(number, os.strerror(number))
        self.mode: Mode = mode


@dataclass
class _Calls:
    """The calls of this process so far. A forked one begins again at the first."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    made: int = 0
    broken: dict[tuple[str, ...], Mode] = field(default_factory=dict[tuple[str, ...], Mode])
    """Servers, or kinds of calls to them, that fail from now on."""


_calls = _Calls()


def _begin_again() -> None:
    global _calls
    _calls = _Calls()


os.register_at_fork(after_in_child=_begin_again)


def armed() -> bool:
    """Whether calls are counted or made to fail."""
    return bool(os.environ.get(VARIABLE))


def io_call(server: str, kind: str, about: str = "") -> AbstractContextManager[None]:
    """A block that makes one call. Raises `CallFailed` as the environment says; does nothing otherwise."""
    spec = os.environ.get(VARIABLE)
    return _call(spec, server, kind, about) if spec else _NOTHING


@contextmanager
def _call(spec: str, server: str, kind: str, about: str) -> Iterator[None]:
    mode = _mode(spec, server, kind, about)
    if mode == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if mode in ("refused", "timeout", "full"):
        raise CallFailed(server, mode)
    yield
    if mode == "kill-after":
        os.kill(os.getpid(), signal.SIGKILL)
    if mode == "lost":
        raise CallFailed(server, mode)


def _mode(spec: str, server: str, kind: str, about: str) -> Mode | None:
    """Count a call; what is to happen to it."""
    pairs = dict(pair.strip().split("=", 1) for pair in spec.split(";"))
    with _calls.lock:
        _calls.made += 1
        if path := pairs.pop("count", None):
            _note(path, f"{os.getpid()}\t{_calls.made}\t{server}\t{kind}\t{about}\n")
        mode = _known(pairs.get(str(_calls.made)))
        if mode in ("refused", "full"):
            _calls.broken[(server, kind) if mode == "full" and server in FILES else (server,)] = mode
        return mode or _calls.broken.get((server,)) or _calls.broken.get((server, kind))


def _known(name: str | None) -> Mode | None:
    for mode in get_args(Mode):
        if mode == name:
            return mode
    if name is not None:
        raise ValueError(f"{VARIABLE}: unknown mode {name}")
    return None


def _note(path: str, line: str) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(handle, line.encode())
    finally:
        os.close(handle)
