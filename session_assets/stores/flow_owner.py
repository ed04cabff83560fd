"""Whose record of steps it is (E2): it lies in the database that it is about, so a copy brings it along."""

from __future__ import annotations

from collections.abc import Iterable

import psycopg

from session_assets.changes.owner import Accepts, require_own
from session_assets.flow.model import TARGET, Migration
from session_assets.stores.flow_steps import StepRecord, steps_of
from session_assets.stores.postgres_target import postgres_target


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
        require_own(step.target, now, accepted, f"step {step.id} ({step.kind}) was done")
