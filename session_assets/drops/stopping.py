"""Reading that stops when nobody waits for it any more: the caller says when, and the reader looks between two blocks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_check: ContextVar[Callable[[], None] | None] = ContextVar("session_assets_stop_reading", default=None)


def look() -> None:
    """Raises what the check of `stopped_by` raises, if it does."""
    check = _check.get()
    if check is not None:
        check()


@contextmanager
def stopped_by(check: Callable[[], None]) -> Iterator[None]:
    """Files that are read in the block, here or in a thread that it waits for, are read until `check` raises."""
    token = _check.set(check)
    try:
        yield
    finally:
        _check.reset(token)
