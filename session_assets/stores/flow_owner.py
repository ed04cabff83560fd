"""Whose record of steps it is (E2): a clone, or a restored copy, brings the record of another database along.

Without it `revert flow` on a clone would say "undone", and the way back of the database that was migrated would be gone with it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

import psycopg

from session_assets.changes.target import Relation, StoreTarget
from session_assets.errors import PlanRefused
from session_assets.flow.model import TARGET, Migration
from session_assets.stores.flow_steps import StepRecord, steps_of
from session_assets.stores.postgres_target import postgres_target


class Accepts(Protocol):
    """What the home knows of two targets."""

    def is_same(self, old: StoreTarget, now: StoreTarget) -> bool:
        """Whether somebody accepted the old one as the new one."""
        ...

    def how(self, old: StoreTarget, now: StoreTarget) -> str:
        """The command that accepts it."""
        ...


def require_own_steps(connection: psycopg.Connection, migration: Migration, accepted: Accepts | None) -> None:
    """Raises `PlanRefused` for steps that another database recorded, before its tables are looked at.

    Steps without target take that of this database.
    """
    steps = steps_of(connection, migration)
    if steps is None or not steps.exist():
        return
    refuse_foreign(connection, steps.all(), accepted)
    if any(one.target is None for one in steps.all()):
        steps.adopt(postgres_target(connection, TARGET))


def refuse_foreign(connection: psycopg.Connection, steps: Iterable[StepRecord], accepted: Accepts | None) -> None:
    """Raises `PlanRefused` where one of the steps was done on another database than that of the connection."""
    now = postgres_target(connection, TARGET)
    for step in steps:
        old = step.target
        if old is None or old.relation(now) is Relation.SAME or (accepted is not None and accepted.is_same(old, now)):
            continue
        how = "session-assets target accept OLD NEW --note WHY" if accepted is None else accepted.how(old, now)
        raise PlanRefused(
            f"step {step.id} ({step.kind}) was done on another database: {old.shown}. This one is {now.shown}. Nothing was looked"
            f" at. Correct the setting. If it is the same database, restored, renamed or moved: {how}"
        )
