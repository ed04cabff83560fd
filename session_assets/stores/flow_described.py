"""The description that a migration was begun with: another one must not take it over half-way.

A table that left the description would keep our triggers, which look at a column that contract drops: inserts of the
application would fail.
"""

from __future__ import annotations

from typing import Any

import psycopg

from session_assets.errors import PlanRefused
from session_assets.flow.model import SCHEMA_VARIABLE, Migration
from session_assets.stores.flow_steps import Steps, steps_of

_KIND, _PLACE = "description", ""


def structure(migration: Migration) -> dict[str, Any]:
    """What tables, triggers and the record of a migration rely on. The rest, such as literals, may change on the way."""
    sessions, flows = migration.sessions, migration.flows
    return {
        f"sessions {sessions.name}": [sessions.key],
        f"flows {flows.name}": [flows.flow, flows.session, flows.created],
        **{f"linked {one.name}": [one.old, one.fate, one.flow, one.holds_flow_ids] for one in migration.linked},
    }


def keep_description(steps: Steps, migration: Migration) -> None:
    """Remember what expand begins with."""
    steps.keep(_PLACE, _KIND, _KIND, structure(migration))


def forget_description(steps: Steps) -> None:
    steps.forget(_PLACE, _KIND)


def changed_description(connection: psycopg.Connection, migration: Migration) -> list[str]:
    """The parts that differ from the description with which the migration was begun; none where it is not begun."""
    steps = steps_of(connection, migration)
    kept = steps.kept(_KIND, _PLACE) if steps is not None else []
    if not kept:
        return []
    then, now = kept[0][2], structure(migration)
    return sorted(name for name in then.keys() | now.keys() if then.get(name) != now.get(name))


def require_same_description(connection: psycopg.Connection, migration: Migration) -> None:
    """Raises `PlanRefused` if the migration was begun with another description."""
    if changed := changed_description(connection, migration):
        raise PlanRefused(
            f"The migration of this database was begun with another description; different are: {', '.join(changed)}. Set"
            f" {SCHEMA_VARIABLE} to the one that it was begun with, or take all steps back with that one first."
            " Nothing was changed."
        )
