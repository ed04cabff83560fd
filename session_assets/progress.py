"""Progress of long work, for whoever listens: the terminal draws a bar, a Dagster step logs a line now and then."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

Listener = Callable[[str, int, int], None]
"""Called with what is counted, how much is done, and how much there is in all."""

_listeners: list[Listener] = []


def tell(what: str, done: int, total: int) -> None:
    """Tell all listeners."""
    for listener in _listeners:
        listener(what, done, total)


@contextmanager
def listening(listener: Listener) -> Iterator[None]:
    """Listen while the block runs."""
    _listeners.append(listener)
    try:
        yield
    finally:
        _listeners.remove(listener)
