"""Contract: the old columns go, each table in a moment of its own. What made them is remembered, their values are archived."""

from __future__ import annotations

from typing import Any

from psycopg import sql

from session_assets.errors import SessionAssetsError
from session_assets.failpoints import failpoint
from session_assets.stores.flow_breaks import INDEX, NOT_NULL, unmet
from session_assets.stores.flow_catalog import OURS
from session_assets.stores.flow_expand import drop_index
from session_assets.stores.flow_kinds import (
    ADDED_KEY,
    DROPPED_COLUMN,
    DROPPED_CONSTRAINT,
    DROPPED_INDEX,
    DROPPED_STATISTICS,
    MISSING,
)
from session_assets.stores.flow_layout import Place, q
from session_assets.stores.flow_memory import drop_memory
from session_assets.stores.flow_own_names import own_name
from session_assets.stores.flow_recount_schema import unarchived
from session_assets.stores.flow_triggers import drop_triggers
from session_assets.stores.flow_waits import patiently, short
from session_assets.stores.flow_work import Work


class ArchiveIncomplete(SessionAssetsError):
    """Values of an old column are not in the archive: nothing of that table was dropped."""


def contract(work: Work) -> dict[str, Any]:
    """Drop the old columns with their indexes and constraints. Resumable at each table. Gates were passed by the caller."""
    archived = {}
    for place in work.layout.places[1:]:
        _add_key(work, place)
    failpoint("flow.contract.keys")
    for place in [*work.layout.places[1:], work.layout.places[0]]:  # flows last: triggers of the others look there
        missing = unarchived(work, place) if place.has_old else 0
        if missing:
            raise ArchiveIncomplete(
                f"{missing:,} values of {place.name}.{place.linked.old} are not in the archive: run `session-assets apply flow`"
                " again. Nothing of this table was dropped."
            )
        tables = [place.table.oid, *([work.layout.sessions.oid] if place.has_old else [])]
        patiently(work.connection, work.limits, lambda place=place: _drop(work, place), f"contract of {place.name}", tables,
                  work.say)  # fmt: skip
        archived[place.name] = work.one(
            q("SELECT count(*) FROM {archive} WHERE old_value IS NOT NULL", archive=place.archive)
        )
        failpoint(f"flow.contract.{place.name}")
    flows = work.layout.places[0]
    drop_index(work, flows, own_name("scope", flows.table.name))
    work.reload()
    return {"archived": archived}


def _drop(work: Work, place: Place) -> None:
    old = place.linked.old
    table = work.read(place)
    with short(work.connection, work.limits):
        work.connection.execute(q("LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE", table=place.ident))
        drop_triggers(work.connection, place)
        if place.name == work.migration.flows.name:
            drop_memory(work.connection, work.layout)
        if old not in table.columns:
            return
        column = table.columns[old]
        is_missing = _remember_missing(work, place)
        for index in table.indexes_of(old):
            if not index.name.startswith(OURS):
                work.steps.keep(
                    place.name, DROPPED_INDEX, index.name, {"definition": index.definition, "comment": index.comment}
                )
        for one in table.constraints_of(old):
            content = {"kind": one.kind, "definition": one.definition, "is_valid": one.is_valid, "target": one.target,
                       "columns": one.columns, "target_columns": one.target_columns, "comment": one.comment}  # fmt: skip
            work.steps.keep(place.name, DROPPED_CONSTRAINT, one.name, content)
        for one in table.statistics_of(old):
            content = {"definition": one.definition, "target": one.target, "comment": one.comment}
            work.steps.keep(place.name, DROPPED_STATISTICS, one.name, content)
        content = {"type": column.type, "not_null": column.not_null or is_missing, "default": column.default,
                   "comment": column.comment, "collation": column.collation,
                   "settings": column.settings}  # fmt: skip
        work.steps.keep(place.name, DROPPED_COLUMN, old, content)
        work.connection.execute(q("ALTER TABLE {table} DROP COLUMN {old}", table=place.ident, old=old))
        failpoint("flow.contract.before_commit")


def _remember_missing(work: Work, place: Place) -> bool:
    """What an earlier undo could not bring back is tried again by the next one. Returns whether NOT NULL is among it."""
    is_not_null = False
    for where, name, one in unmet(work):
        if where.name != place.name:
            continue
        if one["kind"] == NOT_NULL:
            is_not_null = True
        else:
            work.steps.keep(place.name, DROPPED_INDEX if one["kind"] == INDEX else DROPPED_CONSTRAINT, name, one)
    work.steps.forget(place.name, MISSING)
    return is_not_null


def _add_key(work: Work, place: Place) -> None:
    """The foreign key of the flow column that the description asks for: first for new rows, then proven for all."""
    linked = place.linked
    if linked.on_delete is None or place.flow_type != work.layout.flow_type:
        return
    name = own_name("key", place.table.name)
    found = {one.name: one for one in place.table.constraints}
    if any(one.kind == "f" and one.columns == [linked.flow] and one.name != name for one in found.values()):
        return

    def add() -> None:
        with short(work.connection, work.limits):
            work.connection.execute(
                q(
                    "ALTER TABLE {table} ADD CONSTRAINT {name} FOREIGN KEY ({column}) REFERENCES {flows} ({flow})"
                    " ON DELETE {rule} NOT VALID",
                    table=place.ident, name=name, column=linked.flow, flows=work.layout.flows_ident, flow=work.layout.flow,
                    rule=sql.SQL("SET NULL" if linked.on_delete == "SET NULL" else "NO ACTION"),
                )
            )  # fmt: skip
            work.steps.keep(place.name, ADDED_KEY, name)

    def prove() -> None:
        with short(work.connection, work.limits, statement=max(3600.0, work.limits.statement)):
            work.connection.execute(q("ALTER TABLE {table} VALIDATE CONSTRAINT {name}", table=place.ident, name=name))

    tables = [place.table.oid, work.layout.flows.oid]
    if name not in found:
        patiently(work.connection, work.limits, add, f"foreign key of {place.name}", tables, work.say)
        failpoint("flow.contract.key_added")
    if name not in found or not found[name].is_valid:
        patiently(work.connection, work.limits, prove, f"foreign key of {place.name}", tables, work.say)
