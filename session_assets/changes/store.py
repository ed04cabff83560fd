"""What a store must offer so that the loop can change its documents. Implemented in `stores/`, once a driver."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

import polars as pl


class State(StrEnum):
    """How a document stands, seen from one change."""

    BEFORE = "b"  # exactly as the plan read it
    AFTER = "a"  # exactly as the plan wants it
    HALF = "h"  # some of the steps of a change that takes several are done: written again, it is finished
    OTHER = "o"  # none of these

    @property
    def is_open(self) -> bool:
        """Whether a guarded write of ours may begin or go on."""
        return self in (State.BEFORE, State.HALF)


class Left(StrEnum):
    """Why a revert leaves a row as it is."""

    EDITED = "edited"  # somebody changed the document since
    GONE = "gone"  # somebody deleted it since
    PLACE_TAKEN = "place_taken"  # another document is where this one would come back
    BLOCKED = "blocked"  # a document that has to be undone first is left
    FAILED = "failed"  # the store refused the write, or could not be asked


TAKEN = "another document took its place"


@dataclass
class Written:
    """What a guarded write knows of its rows, by position: `done` were matched and written by this call."""

    done: set[int] = field(default_factory=set[int])
    missed: set[int] = field(default_factory=set[int])  # the guard did not match: somebody else was first
    unknown: set[int] = field(default_factory=set[int])  # look to tell
    errors: dict[int, str] = field(default_factory=dict[int, str])  # refused by the store, with the masked reason


class Store(Protocol):
    """Documents of one collection, addressed by the `key` of a change set. Frames have the columns of `CHANGES`."""

    def look(self, changes: pl.DataFrame) -> list[State]:
        """The state of each row's document, compared exactly (types, field order), in the order of the rows."""
        ...

    def obstacles(self, changes: pl.DataFrame) -> list[Left]:
        """What stops each row, of rows whose state is `OTHER`: edited, gone or place_taken."""
        ...

    def write(self, changes: pl.DataFrame) -> Written:
        """Write each row whose document is still exactly `before`, or half-way from there to `after`; never any other."""
        ...

    def image_after(self, before: bytes, after: bytes, removed: list[str]) -> bytes:
        """The whole document that an `update` leaves."""
        ...
