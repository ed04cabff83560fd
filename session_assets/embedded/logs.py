"""The log file of a server: kept small, and its end shown where the server fails."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

_LARGEST = 20 * 1024 * 1024
_TAIL_BYTES = 64 * 1024
_LINE = 300
_LINES = 12


def open_end(log: Path) -> int:
    """Put a large log aside (one older file is kept) and return the offset at which new lines will begin.

    The log is for its owner alone: MongoDB writes documents into the lines of slow operations.
    """
    log.touch(mode=0o600)
    log.chmod(0o600)
    size = log.stat().st_size
    if size < _LARGEST:
        return size
    log.replace(log.with_name(log.name + ".1"))
    log.touch(mode=0o600)
    return 0


def lines_since(log: Path, offset: int = 0) -> list[str]:
    """The lines written after `offset` that are not blank, at most the last 64 KB."""
    try:
        with log.open("rb") as file:
            file.seek(max(offset, log.stat().st_size - _TAIL_BYTES))
            text = file.read().decode(errors="replace")
    except OSError:
        return []
    return [line.rstrip() for line in text.splitlines() if line.strip()]


def tail(lines: Sequence[str]) -> list[str]:
    """The last lines, each cut to a readable length."""
    return [line if len(line) <= _LINE else line[: _LINE - 1] + "…" for line in lines[-_LINES:]]
