"""The undo of contract: columns, values, indexes and constraints come back from the archive and from what was remembered."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import psycopg
from psycopg import sql

from session_assets.failpoints import failpoint
from session_assets.stores.flow_backfill import key_after, key_until
from session_assets.stores.flow_breaks import INDEX, NOT_NULL, Content, breaking, conditions, dangles, told, unmet
from session_assets.stores.flow_expand import add_indexes, build_index, drop_index, stranded
from session_assets.stores.flow_kinds import (
    ADDED_KEY,
    DROPPED_COLUMN,
    DROPPED_CONSTRAINT,
    DROPPED_INDEX,
    DROPPED_STATISTICS,
    MISSING,
)
from session_assets.stores.flow_layout import Place, q, raw
from session_assets.stores.flow_lost import LOST, lost_values
from session_assets.stores.flow_memory import create_memory
from session_assets.stores.flow_triggers import create_triggers
from session_assets.stores.flow_unfill import next_range
from session_assets.stores.flow_waits import Pace, Throttle, patiently, short
from session_assets.stores.flow_work import Work

_RESTORE = """
    UPDATE {table} t SET {old} = a.old_value FROM {archive} a
    WHERE {same} AND {within} AND a.old_value IS NOT NULL AND t.{old} IS NULL AND NOT ({dangles})
"""


def restore(work: Work, *, dry_run: bool = False) -> dict[str, Any]:
    """Bring the old columns back, and the state before contract. Resumable. Returns counts, and what cannot come back."""
    lost = lost_values(work)
    if dry_run:
        listed = [text for place in work.layout.places for text in _dangling(work, place)]
        restored = {one.name: _archived(work, one) for one in work.layout.places}
        return {"restored": restored, "refused": listed, LOST: lost, MISSING: _would_miss(work)}
    for name, count in lost.items():
        work.say(
            f"{name}: {count:,} values that contract archived are not in the archive any more: they cannot come back"
        )
    for place in work.layout.places:  # flows first: triggers of the others look there
        patiently(work.connection, work.limits, lambda place=place: _add_column(work, place), f"downgrade of {place.name}",
                  [place.table.oid], work.say)  # fmt: skip
        failpoint(f"flow.restore.column.{place.name}")
    work.reload()
    throttle = Throttle(work.connection, work.limits, work.say)
    restored = {}
    for place in work.layout.places:
        restored[place.name] = _values(work, place, throttle)
        failpoint(f"flow.restore.values.{place.name}")
    for place in work.layout.places:
        _finish(work, place)
        failpoint(f"flow.restore.{place.name}")
    work.reload()
    for place in work.layout.places:
        add_indexes(work, place)
    work.reload()
    left = {place.name: stranded(work, place) for place in work.layout.places}
    refused = [_deleted(name, count) for name, count in left.items() if count]
    return {"restored": restored, "refused": refused, LOST: lost, MISSING: [told(work, *one) for one in unmet(work)]}


# -- what is possible --------------------------------------------------------------------------------------------------


def _would_miss(work: Work) -> list[str]:
    """What cannot come back as it was, with the statement that adds it once each row is right."""
    return [
        told(work, place, name, one)
        for place in work.layout.places
        for name, one in conditions(work, place).items()
        if work.one(q("SELECT EXISTS ({rows})", rows=breaking(work, place, one)))
    ]


def _dangling(work: Work, place: Place) -> list[str]:
    """Values that stay in the archive: their row is gone, or their session, whose foreign key would not hold."""
    count = work.one(
        q("SELECT count(*) FROM {archive} a LEFT JOIN {table} t ON {same} WHERE a.old_value IS NOT NULL"
          " AND ({dangles} OR t.{key} IS NULL)", table=place.ident, archive=place.archive, key=place.keys[0],
          same=place.same_key("t", "a"), dangles=dangles(work, place))
    )  # fmt: skip
    return [_deleted(place.name, count)] if count else []


def _deleted(name: str, count: int) -> str:
    return f"{count:,} values of {name} stay in the archive: their session or row was deleted since, or the row's key changed"


def _archived(work: Work, place: Place) -> int:
    return work.one(
        q("SELECT count(*) FROM {table} t JOIN {archive} a ON {same} WHERE a.old_value IS NOT NULL AND NOT ({dangles})",
          table=place.ident, archive=place.archive, same=place.same_key("t", "a"), dangles=dangles(work, place))
    )  # fmt: skip


# -- parts -------------------------------------------------------------------------------------------------------------


def _add_column(work: Work, place: Place) -> None:
    old = place.linked.old
    table = work.read(place)
    with short(work.connection, work.limits):
        for _, name, _ in work.steps.kept(ADDED_KEY, place.name):
            work.connection.execute(
                q("ALTER TABLE {table} DROP CONSTRAINT IF EXISTS {name}", table=place.ident, name=name)
            )
            work.steps.forget(place.name, ADDED_KEY, name)
        for _, _, column in work.steps.kept(DROPPED_COLUMN, place.name):
            if old not in table.columns:
                collation = (
                    sql.SQL(" COLLATE {}").format(raw(column["collation"])) if column["collation"] else sql.SQL("")
                )
                work.connection.execute(
                    q("ALTER TABLE {table} ADD COLUMN {old} {type}{collation}", table=place.ident, old=old,
                      type=raw(column["type"]), collation=collation)
                )  # fmt: skip
        work.reload()
        create_triggers(work.connection, work.place(place.name))
        if place.name == work.migration.flows.name and work.layout.has_made:
            create_memory(work.connection, work.layout)


def _values(work: Work, place: Place, throttle: Throttle) -> int:
    last: list[Any] | None = None
    if not work.steps.kept(
        DROPPED_COLUMN, place.name
    ):  # finished before a kill: what dangled is not remembered any more
        return _restored(work, place)
    pace = Pace(work.limits)
    while True:
        throttle.wait()
        number, upper = next_range(work, place, last, pace.rows)
        if not number:
            return _restored(work, place)
        within = sql.SQL("{} AND {}").format(key_after(place, last), key_until(place, upper))
        statement = q(
            _RESTORE, table=place.ident, archive=place.archive, same=place.same_key("t", "a"), within=within,
            old=place.linked.old, dangles=dangles(work, place),
        )  # fmt: skip

        def batch(statement: sql.Composed = statement) -> None:
            with pace.timed(), short(work.connection, work.limits):
                work.connection.execute(statement)

        patiently(work.connection, work.limits, batch, f"downgrade of {place.name}", [place.table.oid], work.say)
        failpoint("flow.restore.batch")
        last = upper


def _restored(work: Work, place: Place) -> int:
    return work.one(
        q("SELECT count(*) FROM {table} t JOIN {archive} a ON {same} WHERE t.{old} = a.old_value", table=place.ident,
          archive=place.archive, same=place.same_key("t", "a"), old=place.linked.old)
    )  # fmt: skip


def _finish(work: Work, place: Place) -> None:
    """Indexes, constraints, the default and the comment of the old column. What rows do not hold for is kept as missing."""
    missing: dict[str, Content] = {}
    for _, name, index in work.steps.kept(DROPPED_INDEX, place.name):
        definition = index["definition"].replace(" INDEX ", " INDEX CONCURRENTLY ", 1)
        if _holds(lambda name=name, text=definition: build_index(work, place, name, sql.Composed([raw(text)]))):
            _comment(work, sql.SQL("INDEX"), sql.Identifier(place.table.schema, name), index["comment"])
        else:
            drop_index(work, place, name)
            missing[name] = {**index, "kind": INDEX}
    for _, name, one in work.steps.kept(DROPPED_CONSTRAINT, place.name):
        if not _constraint(work, place, name, one):
            missing[name] = one
    for _, name, column in work.steps.kept(DROPPED_COLUMN, place.name):
        if not _column(work, place, column):
            missing[name] = {"kind": NOT_NULL}
    _statistics(work, place)
    with short(work.connection, work.limits):
        for name, one in missing.items():
            work.steps.keep(place.name, MISSING, name, one)
        for kind in (DROPPED_INDEX, DROPPED_CONSTRAINT, DROPPED_STATISTICS, DROPPED_COLUMN):
            work.steps.forget(place.name, kind)


def _constraint(work: Work, place: Place, name: str, one: dict[str, Any]) -> bool:
    """Add a constraint; returns whether all rows hold for it. Where they do not, one that can be is added NOT VALID."""
    old = place.linked.old
    found = {known.name: known for known in work.read(place).constraints}
    if name not in found:
        later = sql.SQL(" NOT VALID" if one["kind"] in ("f", "c") and "NOT VALID" not in one["definition"] else "")
        statement = q("ALTER TABLE {table} ADD CONSTRAINT {name} {definition}{later}", table=place.ident, name=name,
                      definition=raw(one["definition"]), later=later)  # fmt: skip
        if not _holds(lambda: _patient(work, place, statement)):
            return False
    if one["kind"] == "f" and one["is_valid"]:  # its session may have gone after the value had come
        _patient(work, place, q("UPDATE {table} t SET {old} = NULL FROM {archive} a WHERE {same} AND t.{old} = a.old_value"
                                " AND ({dangles})", table=place.ident, old=old, archive=place.archive,
                                same=place.same_key("t", "a"), dangles=dangles(work, place)))  # fmt: skip
    _comment(work, sql.SQL("CONSTRAINT"), q("{name} ON {table}", name=name, table=place.ident), one.get("comment"))
    if one["kind"] not in ("f", "c") or not one["is_valid"] or (name in found and found[name].is_valid):
        return True
    prove = q("ALTER TABLE {table} VALIDATE CONSTRAINT {name}", table=place.ident, name=name)
    return _holds(lambda: _patient(work, place, prove))


def _column(work: Work, place: Place, column: dict[str, Any]) -> bool:
    """The default, NOT NULL, the comment and the settings of the old column; returns whether NOT NULL is as it was."""
    old, holds = place.linked.old, True
    alter = q("ALTER TABLE {table} ALTER {old} ", table=place.ident, old=old)
    if column["default"]:
        _patient(work, place, alter + q("SET DEFAULT {default}", default=raw(column["default"])))
    if column["not_null"]:
        holds = _holds(lambda: _patient(work, place, alter + q("SET NOT NULL")))
    _comment(work, sql.SQL("COLUMN"), sql.SQL("{}.{}").format(place.ident, sql.Identifier(old)), column["comment"])
    for clause in column.get("settings", []):
        _patient(work, place, alter + q("{clause}", clause=raw(clause)))
    return holds


def _statistics(work: Work, place: Place) -> None:
    there = {one.name for one in work.read(place).statistics}
    for _, name, one in work.steps.kept(DROPPED_STATISTICS, place.name):
        if name not in there:
            _patient(work, place, sql.Composed([raw(one["definition"])]))
        if one["target"] is not None:
            target = sql.Literal(one["target"])
            _patient(work, place, q("ALTER STATISTICS {name} SET STATISTICS {target}", name=raw(name), target=target))
        _comment(work, sql.SQL("STATISTICS"), raw(name), one["comment"])


def _holds(work: Callable[[], None]) -> bool:
    """Do it; returns whether the rows allow it."""
    try:
        work()
    except psycopg.IntegrityError:
        return False
    return True


def _patient(work: Work, place: Place, statement: sql.Composed) -> None:
    def run() -> None:
        with short(work.connection, work.limits, statement=max(3600.0, work.limits.statement)):
            work.connection.execute(statement)

    patiently(work.connection, work.limits, run, f"downgrade of {place.name}", [place.table.oid], work.say)


def _comment(work: Work, kind: sql.SQL, name: sql.Composable, comment: str | None) -> None:
    if comment:
        work.connection.execute(
            q("COMMENT ON {kind} {name} IS {text}", kind=kind, name=name, text=sql.Literal(comment))
        )
