"""Which documents of a partitioned collection a run visits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

Progress = Callable[[str, int, int], None]
"""Called with what is read, how much so far, and how much there is in all (estimated)."""


@dataclass(frozen=True)
class Selection:
    """All documents, those standing in some partitions, single sessions, or all sessions of some users."""

    partitions: frozenset[str] | None = None
    sessions: tuple[str, ...] = ()
    usernames: tuple[str, ...] = ()

    @property
    def is_whole(self) -> bool:
        return self.partitions is None and not self.sessions and not self.usernames
