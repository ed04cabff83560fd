"""Whose record of work it is (E2): a clone, or a restored copy, brings the records of another database along.

Without it an undo on a clone would say "undone", and the way back of the database that was changed would be gone with it.
"""

from __future__ import annotations

from typing import Protocol

from session_assets.changes.target import Known, Relation, StoreTarget
from session_assets.changes.targets import Targets
from session_assets.errors import PlanRefused
from session_assets.storage import Storage


class Accepts(Protocol):
    """What the home knows of two targets."""

    def is_same(self, old: StoreTarget, now: StoreTarget) -> bool:
        """Whether somebody accepted the old one as the new one."""
        ...

    def how(self, old: StoreTarget, now: StoreTarget) -> str:
        """The command that accepts it."""
        ...


class Accepted:
    """What this home knows of two targets: whether somebody accepted one as the other, and how to."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    def is_same(self, old: StoreTarget, now: StoreTarget) -> bool:
        return self._known(old).id in self._known(now).names

    def how(self, old: StoreTarget, now: StoreTarget) -> str:
        return f"session-assets target accept {self._known(old).id} {self._known(now).id} --note WHY"

    def _known(self, target: StoreTarget) -> Known:
        return Targets(self._storage).resolve(target)


def is_own(old: StoreTarget | None, now: StoreTarget, accepted: Accepts | None) -> bool:
    """Whether work that was done on `old` is of the target that answers now. Of version 0.1 no target is recorded: it is."""
    return old is None or old.relation(now) is Relation.SAME or (accepted is not None and accepted.is_same(old, now))


def require_own(old: StoreTarget | None, now: StoreTarget, accepted: Accepts | None, done: str) -> None:
    """Raise `PlanRefused` for work of another target; `done` says what was done there, as in *step 7 was done*."""
    if old is None or is_own(old, now, accepted):
        return
    how = "session-assets target accept OLD NEW --note WHY" if accepted is None else accepted.how(old, now)
    raise PlanRefused(
        f"{done} on another database: {old.shown}. This one is {now.shown}. Nothing was looked at. Correct the setting. If it is"
        f" the same database, restored, renamed or moved: {how}"
    )
