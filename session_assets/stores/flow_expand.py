"""Expand: flow columns, archive tables, triggers and indexes are added, and nothing else changes. And its undo."""

from __future__ import annotations

from typing import Any

from psycopg import sql
from psycopg.errors import DuplicateTable

from session_assets.errors import PlanRefused
from session_assets.failpoints import failpoint
from session_assets.flow.compat_model import LEGACY_SCHEMA
from session_assets.flow.model import BACKFILL
from session_assets.stores.flow_catalog import OURS, dependents
from session_assets.stores.flow_described import keep_description
from session_assets.stores.flow_ids import canonical, has_own_order
from session_assets.stores.flow_layout import REMADE_ARCHIVE, Place, q, raw
from session_assets.stores.flow_memory import UNIQUE, count_others, create_memory, drop_memory, forget_gone
from session_assets.stores.flow_own_names import own_name
from session_assets.stores.flow_triggers import create_triggers, drop_triggers
from session_assets.stores.flow_waits import patiently, short
from session_assets.stores.flow_work import Work

_ADDED_COLUMN, _ADDED_INDEX = "added_column", "added_index"
_READERS = """
    SELECT DISTINCT 'view ' || r.ev_class::regclass FROM pg_depend d JOIN pg_rewrite r ON r.oid = d.objid
    WHERE d.classid = 'pg_rewrite'::regclass AND d.refobjid = to_regclass(%s) AND r.ev_class <> d.refobjid
"""
_MADE = """
    CREATE TABLE IF NOT EXISTS {made} (
        flow_id {flow_type} PRIMARY KEY, session {session_type} NOT NULL CONSTRAINT {unique} UNIQUE, content jsonb NOT NULL,
        step text NOT NULL
    )
"""
_ARCHIVE = """
    CREATE TABLE IF NOT EXISTS {archive} ({keys}, old_value {old_type}, filled_flow_id {flow_type}, kept_flow_id {flow_type},
        PRIMARY KEY ({names}))
"""


def expand(work: Work) -> dict[str, Any]:
    """Add what backfill needs, in small transactions. Idempotent. Returns what there is then."""
    if work.layout.obstacles:
        raise PlanRefused(
            f"This schema cannot be migrated: {'; '.join(work.layout.obstacles)}. Remove what stands in the way first."
        )
    _our_tables(work)
    failpoint("flow.expand.tables")
    for place in work.layout.places:
        patiently(work.connection, work.limits, lambda place=place: _prepare(work, place), f"expand of {place.name}",
                  [place.table.oid], work.say)  # fmt: skip
        failpoint(f"flow.expand.{place.name}")
    work.reload()
    for place in work.layout.places:
        add_indexes(work, place)
    failpoint("flow.expand.indexes")
    work.reload()
    return {"rows": {place.name: count_rows(work, place) for place in work.layout.places}}


def undo_expand(work: Work, *, dry_run: bool = False) -> dict[str, Any]:
    """Remove what expand added. An archive stays where it alone holds a flow id or an old value, and the memory of made flows
    while one of them is there.

    Raises `PlanRefused` where views read what would go.
    """
    _require_no_readers(work)
    if dry_run:
        return {"refused": []}
    kept: dict[str, int] = {}
    for place in work.layout.places:
        kept[place.name] = patiently(
            work.connection, work.limits, lambda place=place: _remove(work, place), f"downgrade of {place.name}",
            [place.table.oid], work.say,
        )  # fmt: skip
        failpoint(f"flow.undo_expand.{place.name}")
    for place, name, _ in work.steps.kept(_ADDED_INDEX):
        _drop_index(work, work.place(place), name)
    with short(work.connection, work.limits):
        for place in work.layout.places:
            if not kept[place.name] and not stranded(work, place):
                work.connection.execute(q("DROP TABLE IF EXISTS {archive}", archive=place.archive))
        remembered = forget_gone(work)
    if remembered:
        made = work.layout.made.as_string(work.connection)
        work.say(f"{remembered:,} flows that we made are still there: {made} stays and names them")
    failpoint("flow.undo_expand.tables")
    work.reload()
    return {"kept": kept}


def count_rows(work: Work, place: Place) -> int:
    return work.one(q("SELECT count(*) FROM {table}", table=place.ident))


def stranded(work: Work, place: Place) -> int:
    """Old values that stand in the archive only: their session was deleted, or their row, or it has another key by now."""
    if not place.has_old or place.archive_table is None:
        return 0
    return work.one(
        q("SELECT count(*) FROM {archive} a LEFT JOIN {table} t ON {same} WHERE t.{old} IS NULL AND a.old_value IS NOT NULL",
          table=place.ident, archive=place.archive, same=place.same_key("t", "a"), old=place.linked.old)
    )  # fmt: skip


def drop_index(work: Work, place: Place, name: str) -> None:
    """Drop an index of ours, where it is there, without a lock that writes would wait for."""
    _drop_index(work, place, name)


def add_indexes(work: Work, place: Place) -> None:
    """Indexes that look-ups need and the schema lacks."""
    flows, linked = work.layout.migration.flows, place.linked
    if place.follows and not place.table.leads(linked.flow):
        _add_index(work, place, own_name("flow", place.table.name), [linked.flow])
    if place.name == flows.name:
        if place.has_old and not place.table.leads(flows.session):
            _add_index(work, place, own_name("session", place.table.name), [flows.session])
        if place.has_old:
            _add_canonical_indexes(work, place)
        if any(one.linked.fallback for one in work.layout.places) and not place.table.leads(
            *flows.scope, flows.created
        ):
            _add_index(work, place, own_name("scope", place.table.name), [*flows.scope, flows.created])


def _add_canonical_indexes(work: Work, place: Place) -> None:
    """Where flows name sessions by texts and others by uuids: an index on what all spellings of an id share."""
    layout, session = work.layout, work.migration.flows.session
    for by in sorted({layout.rule, *(one.rule for one in layout.places)}):
        if not has_own_order(layout.session_type, by):
            name = own_name(f"session_{by}", place.table.name)
            _add_index(work, place, name, canonical(sql.Identifier(session), layout.session_type, by))


def _require_no_readers(work: Work) -> None:
    found = set[str]()
    for place in work.layout.places:
        found |= {row[0] for row in work.connection.execute(_READERS, [place.archive.as_string(work.connection)])}
        for name, _ in _names(work, place, _ADDED_COLUMN):
            if name in place.table.columns:
                depending = dependents(work.connection, (place.table, name))[0]
                found |= {one.removeprefix("rule _RETURN on ") for one in depending}
    if not found:
        return
    legacy = {one for one in found if one.startswith(f"view {LEGACY_SCHEMA}.")}
    drops = [f"DROP SCHEMA {LEGACY_SCHEMA} CASCADE"] if legacy else []
    drops += [f"DROP VIEW {one.removeprefix('view ')}" for one in sorted(found - legacy) if one.startswith("view ")]
    raise PlanRefused(
        f"What expand added is in use: {', '.join(sorted(found))}. Nothing was undone. Drop that first"
        f"{': ' if drops else ''}{'; '.join(drops)}. Then run it again."
    )


# -- parts -------------------------------------------------------------------------------------------------------------


def _our_tables(work: Work) -> None:
    layout = work.layout
    with short(work.connection, work.limits):
        keep_description(work.steps, work.migration)
        work.connection.execute(
            q(
                _MADE,
                made=layout.made,
                unique=UNIQUE,
                flow_type=raw(layout.flow_type),
                session_type=raw(layout.session_type),
            )
        )
        for place in layout.places:
            keys = sql.SQL(", ").join(
                sql.SQL("{} {} NOT NULL").format(sql.Identifier(name), raw(column.type))
                for name, column in zip(place.archive_keys, place.table.key, strict=True)
            )
            names = sql.SQL(", ").join(map(sql.Identifier, place.archive_keys))
            if place.archive_table is None and work.steps.newest(BACKFILL, "completed") is not None:
                work.steps.keep(place.name, REMADE_ARCHIVE, place.archive.as_string(work.connection))
            work.connection.execute(
                q(_ARCHIVE, archive=place.archive, keys=keys, names=names, old_type=raw(place.old_type),
                  flow_type=raw(place.flow_type))
            )  # fmt: skip
            if not work.steps.kept("original", place.name):
                rows = count_others(work) if place is layout.places[0] else count_rows(work, place)
                shape = {"shape": place.table.shape(), "rows": rows}
                work.steps.keep(place.name, "original", place.linked.old, shape)
    work.reload()


def _prepare(work: Work, place: Place) -> None:
    """The flow column and the triggers of a table, at once."""
    with short(work.connection, work.limits):
        if place.follows and not place.has_flow:
            work.connection.execute(
                q("ALTER TABLE {table} ADD COLUMN {flow} {type}", table=place.ident, flow=place.linked.flow,
                  type=raw(place.flow_type))
            )  # fmt: skip
            work.steps.keep(place.name, _ADDED_COLUMN, place.linked.flow)
        create_triggers(work.connection, place)
        if place is work.layout.places[0]:
            create_memory(work.connection, work.layout)


def _add_index(work: Work, place: Place, name: str, what: list[str] | sql.Composed) -> None:
    work.steps.keep(place.name, _ADDED_INDEX, name)
    columns = sql.SQL(", ").join(map(sql.Identifier, what)) if isinstance(what, list) else q("({what})", what=what)
    statement = q(
        "CREATE INDEX CONCURRENTLY {name} ON {table} ({columns})", name=name, table=place.ident, columns=columns
    )
    build_index(work, place, name, statement)


def build_index(work: Work, place: Place, name: str, statement: sql.Composed) -> None:
    """Build an index beside live traffic; what a killed build left behind is dropped first."""

    def build() -> None:
        found = {one.name: one for one in work.read(place).indexes}
        if name in found and found[name].is_valid:
            return
        if name in found:
            _drop_index(work, place, name)
        work.connection.execute("SET lock_timeout = '30s'; SET statement_timeout = 0")  # it queues nobody behind it
        try:
            work.connection.execute(statement)
        except DuplicateTable:
            raise PlanRefused(
                f"The name {name} is taken by something else: rename that, then run the step again."
            ) from None
        finally:
            work.connection.execute("RESET lock_timeout; RESET statement_timeout")

    patiently(work.connection, work.limits, build, f"index {name}", [place.table.oid], work.say)
    failpoint("flow.index.built")


def _drop_index(work: Work, place: Place, name: str) -> None:
    index = sql.Identifier(place.table.schema, name)
    work.connection.execute("SET lock_timeout = '30s'")
    try:
        patiently(
            work.connection, work.limits,
            lambda: work.connection.execute(q("DROP INDEX CONCURRENTLY IF EXISTS {index}", index=index)),
            f"index {name}", [place.table.oid], work.say,
        )  # fmt: skip
    finally:
        work.connection.execute("RESET lock_timeout")


def _remove(work: Work, place: Place) -> int:
    """Take triggers and the added column of a table away; returns how many flow ids are kept in the archive."""
    flow, added = place.linked.flow, {name for name, _ in _names(work, place, _ADDED_COLUMN)}
    with short(work.connection, work.limits):
        work.connection.execute(q("LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE", table=place.ident))
        drop_triggers(work.connection, place)
        if place.name == work.migration.flows.name:
            drop_memory(work.connection, work.layout)
        if flow in added and place.has_flow:
            _keep_flow_ids(work, place)
            work.connection.execute(q("ALTER TABLE {table} DROP COLUMN IF EXISTS {flow}", table=place.ident, flow=flow))
            work.steps.forget(place.name, _ADDED_COLUMN, flow)
    work.reload()
    if place.archive_table is None:
        return 0
    return work.one(q("SELECT count(*) FROM {archive} WHERE kept_flow_id IS NOT NULL", archive=place.archive))


def _keep_flow_ids(work: Work, place: Place) -> None:
    """Into the archive: flow ids that the row's session does not lead to."""
    old = sql.Identifier("t", place.linked.old)
    names = sql.SQL(", ").join(map(sql.Identifier, place.archive_keys))
    work.connection.execute(
        q(
            "INSERT INTO {archive} ({names}, kept_flow_id) SELECT {keys}, t.{flow} FROM {table} t"
            " WHERE t.{flow} IS NOT NULL AND t.{flow} IS DISTINCT FROM COALESCE({followed}, {fallback})"
            " ON CONFLICT ({names}) DO UPDATE SET kept_flow_id = EXCLUDED.kept_flow_id",
            archive=place.archive, names=names, keys=place.key_list("t"), flow=place.linked.flow, table=place.ident,
            followed=place.followed(old), fallback=place.fallback("t"),
        )
    )  # fmt: skip


def _names(work: Work, place: Place, kind: str) -> list[tuple[str, dict[str, Any]]]:
    return [(name, definition) for _, name, definition in work.steps.kept(kind, place.name)]


__all__ = ["OURS", "add_indexes", "build_index", "count_rows", "drop_index", "expand", "stranded", "undo_expand"]
