"""What is on disk about an embedded server: its record, and the lock that lets only one command work at a time.

The record is written *before* a process is started (its command) and again right after (its pid and start time), so
that a command killed in between leaves enough to recognise the process.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from session_assets.errors import LockHeld


@dataclass(frozen=True)
class Record:
    """One server. `command` is empty where none should run; `pid` is None until the process was seen.

    `recorded` and `started` (the process start time) are Unix seconds, UTC. `port` outlives the process: a restart
    takes the same port where it is free.
    """

    command: tuple[str, ...] = ()
    port: int | None = None
    recorded: float = 0.0
    pid: int | None = None
    started: float | None = None


def load(path: Path) -> Record:
    """The record; an empty one where the file is missing or is not a record."""
    try:
        fields = json.loads(path.read_text())
        return Record(**{**fields, "command": tuple(fields["command"])})
    except (OSError, ValueError, TypeError, KeyError):
        return Record()


def save(path: Path, record: Record) -> None:
    """Replace the record as a whole: a killed writer leaves the old one or the new one."""
    write_private(path, json.dumps(asdict(record)))


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner can read (mode 0600), atomically."""
    draft = path.with_name(path.name + ".new")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    draft.replace(path)


@contextmanager
def exclusive(path: Path, patience: float, tell: Callable[[str], None]) -> Iterator[None]:
    """Hold the lock file; wait up to `patience` seconds for another holder, then raise `LockHeld` naming its pid.

    The kernel releases the lock when the holder dies, however it dies. Servers do not inherit it.
    """
    with os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o600), "r+") as file:
        deadline = time.monotonic() + patience
        told = False
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                file.seek(0)
                holder = f"process {file.read().strip() or 'unknown'}"
            if time.monotonic() > deadline:
                raise LockHeld(f"{holder} is starting or stopping the servers (lock {path}). Wait for it or stop it.")
            if not told:
                tell(f"Waiting for {holder}, which is starting or stopping the servers …")
                told = True
            time.sleep(0.05)
        file.seek(0)
        file.truncate()
        file.write(str(os.getpid()))
        file.flush()
        yield
