"""What stands in the way of the migration, found before anything is written: all of it at once, each with what to do.

Reads the catalogue and evaluates expressions in a transaction that is read-only: nothing of the application's is called that
could write.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import psycopg
from psycopg import errors

from session_assets.errors import PlanRefused, UsageError
from session_assets.flow.description import Described
from session_assets.flow.model import Limits
from session_assets.flow.obstacle import APPLY, REFUSED, Obstacle
from session_assets.stores.flow_described import changed_description
from session_assets.stores.flow_fit import unfit_parts
from session_assets.stores.flow_made_check import unfit_flows
from session_assets.stores.flow_rights import missing_rights
from session_assets.stores.flow_waits import Say
from session_assets.stores.flow_work import Work

_TEXTS = (" depends on ", " is ", " has ", " inherits ")


class Obstructed(PlanRefused):
    """Something stands in the way: see to each obstacle, then plan again."""

    def __init__(self, obstacles: list[Obstacle]) -> None:
        told = "\n".join(f"{one.object}: {one.why}. {one.remedy}." for one in obstacles)
        super().__init__(f"{REFUSED}, nothing was changed.\n{told}")
        self.obstacles = obstacles


def refuse_obstacles(obstacles: Iterable[Obstacle]) -> None:
    """Raises `Obstructed` for those that `apply` would meet; the rest is of later steps."""
    if stops := [one for one in obstacles if one.blocks == APPLY]:
        raise Obstructed(stops)


def find_obstacles(connection: psycopg.Connection, described: Described, limits: Limits) -> list[Obstacle]:
    """All obstacles, those of the description first. Writes nothing: its one transaction is read-only."""
    connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY")
    try:
        return list(_all(connection, described, limits))
    finally:
        connection.execute("ROLLBACK")


def looked_at(connection: psycopg.Connection, described: Described, limits: Limits, say: Say) -> Work:
    """The schema as it is. Raises `UsageError`; `Obstructed` with all parts of the description that do not fit, if several."""
    try:
        return Work(connection, described.migration, limits, say)
    except UsageError:
        found, _ = unfit_parts(connection, described)
        if len(found) > 1:
            raise Obstructed(found) from None
        raise


def _all(connection: psycopg.Connection, described: Described, limits: Limits) -> Iterator[Obstacle]:
    migration = described.migration
    unfit, tables = unfit_parts(connection, described)
    if migration.flows.name in tables and (changed := changed_description(connection, migration)):
        yield Obstacle(
            ", ".join(changed), "the migration of this database was begun with another description",
            "Set FLOW_SCHEMA to the one that it was begun with, or take all steps back with that one first",
        )  # fmt: skip
    yield from unfit
    rights = [*missing_rights(connection, migration, tables)]
    yield from rights
    if unfit:
        return
    work = _work(connection, described, limits)
    if isinstance(work, Obstacle):
        yield work
        return
    yield from (_of_layout(text, described) for text in work.layout.obstacles)
    if work.layout.places[0].has_old and not work.layout.misunderstood:
        try:
            with connection.transaction():
                found = unfit_flows(work, described)
        except errors.InsufficientPrivilege:
            if not rights:
                raise
            return  # the right is named above
        yield from found


def _work(connection: psycopg.Connection, described: Described, limits: Limits) -> Work | Obstacle:
    try:
        return Work(connection, described.migration, limits, lambda _: None)
    except UsageError as error:
        return Obstacle("the described schema", str(error).rstrip("."), "Correct it, then plan again")


def _of_layout(text: str, described: Described) -> Obstacle:
    """A sentence of the layout as an obstacle: what it is about comes first in it."""
    text = text.removeprefix("rule _RETURN on ")
    word = min((one for one in _TEXTS if one in text), key=text.index, default="")
    subject = text.partition(word)[0] if word else "the schema"
    if "cannot be compared" in text or "no time" in text:
        file = described.file or "a file that FLOW_SCHEMA names"
        return Obstacle(subject, text, f"Change the type of the column, or describe another column in {file}")
    return Obstacle(subject, text, "Remove what stands in the way, then plan again")


__all__ = ["Obstacle", "Obstructed", "find_obstacles", "looked_at", "refuse_obstacles"]
