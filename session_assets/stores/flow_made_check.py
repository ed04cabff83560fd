"""Whether the table of flows takes the flows that backfill would make, tried by expressions only: nothing is inserted.

What a read-only look cannot try is left out: triggers, exclusion constraints, and defaults and constraints that call a volatile
function, which may act outside of the database.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
from psycopg import errors, sql

from session_assets.flow.description import Described
from session_assets.flow.obstacle import Obstacle
from session_assets.masking import safe_text
from session_assets.stores.flow_layout import q, raw
from session_assets.stores.flow_made import required_scope, session_parts, values_of_made
from session_assets.stores.flow_types import is_text
from session_assets.stores.flow_work import Work

_MOST = 100_000  # flows that would be made and are tried
_ID = "00000000-0000-4000-8000-000000000000"
_LABELS = """
    SELECT string_agg(quote_literal(e.enumlabel), ', ' ORDER BY e.enumsortorder) FROM pg_attribute a JOIN pg_type t
    ON t.oid = a.atttypid JOIN pg_enum e ON e.enumtypid IN (t.oid, t.typbasetype) WHERE a.attrelid = %s AND a.attname = %s
"""
_ALWAYS = "SELECT attname FROM pg_attribute WHERE attrelid = %s AND (attgenerated <> '' OR attidentity = 'a')"
_CHECKS = """
    SELECT conname, pg_get_expr(conbin, conrelid) FROM pg_constraint k WHERE conrelid = %s AND contype = 'c' AND NOT EXISTS (
        SELECT FROM pg_depend d JOIN pg_proc p ON p.oid = d.refobjid WHERE d.classid = 'pg_constraint'::regclass
        AND d.objid = k.oid AND d.refclassid = 'pg_proc'::regclass AND p.provolatile = 'v')
"""
_VOLATILE = """
    SELECT a.attname FROM pg_attrdef x JOIN pg_attribute a ON a.attrelid = x.adrelid AND a.attnum = x.adnum
    JOIN pg_depend d ON d.classid = 'pg_attrdef'::regclass AND d.objid = x.oid AND d.refclassid = 'pg_proc'::regclass
    JOIN pg_proc p ON p.oid = d.refobjid WHERE x.adrelid = %s AND p.provolatile = 'v'
"""
_MADE = """
    SELECT {columns} FROM (
        SELECT gen_random_uuid()::text AS flow, coalesce(x.{title}::text, x.{key}::text) AS title, x.{key} AS own
        FROM {sessions} x
    ) w JOIN {sessions} s ON s.{key} = w.own
    WHERE NOT ({missing}) AND NOT EXISTS (SELECT FROM {flows} f WHERE f.{session} = {id}) LIMIT {most}
"""


def unfit_flows(work: Work, described: Described) -> list[Obstacle]:
    """Why flows could not be made: first what is wrong with values, and only without that what the rows as wholes violate."""
    found = [*_unfilled(work, described), *_written_by_the_server(work, described), *_values(work, described)]
    return found or [*_rows(work, described)]


# -- values ------------------------------------------------------------------------------------------------------------


def _unfilled(work: Work, described: Described) -> Iterator[Obstacle]:
    filled = {name for name, _ in values_of_made(work.layout, "now")}
    for one in work.layout.flows.columns.values():
        if one.not_null and one.default is None and not one.is_computed and one.name not in filled:
            name = f"{work.migration.flows.name}.{one.name}"
            where = described.where("flows", "literals")
            yield Obstacle(
                name, f"{name} must have a value, and a flow that is made gives it none", f"Add {one.name} to {where}"
            )


def _written_by_the_server(work: Work, described: Described) -> Iterator[Obstacle]:
    always = {row[0] for row in work.connection.execute(_ALWAYS, [work.layout.flows.oid])}
    for name, _ in values_of_made(work.layout, "now"):
        if name in always:
            yield Obstacle(
                f"{work.migration.flows.name}.{name}", "the server computes it: no flow can be made with a value there",
                f"Take it out of {described.where(*_path(work, name))}",
            )  # fmt: skip


def _path(work: Work, name: str) -> tuple[str | int, ...]:
    """Where the description names a column of a flow that is made."""
    flows = work.migration.flows
    if name in flows.literals:
        return ("flows", "literals", name)
    for part, names in (("uuids", flows.uuids), ("scope", flows.scope)):
        if name in names:
            return ("flows", part, names.index(name))
    if name == flows.titled[0]:
        return ("flows", "titled", "column")
    return ("flows", next((part for part in ("flow", "session", "created") if getattr(flows, part) == name), "table"))


def _values(work: Work, described: Described) -> Iterator[Obstacle]:
    flows, columns = work.migration.flows, work.layout.flows.columns
    ids = (*flows.uuids, flows.flow) if _count(work) else ()  # where no flow is made, ids of any type will do
    given = [(name, _ID) for name in ids] + list(flows.literals.items())
    for name, value in given:
        if name not in columns:
            continue
        kind, where = columns[name].type, described.where(*_path(work, name))
        text, refusal = _cast(work.connection, value, kind)
        what = "the id of a flow that is made" if name in ids else repr(value)
        if refusal:
            labels = work.one(_LABELS, [work.layout.flows.oid, name])
            why = f"{what} is no value of {kind}: {refusal}"
            if name == flows.flow:
                why = f"{_count(work):,} sessions have no flow, and none can be made for them: {why}"
                yield Obstacle(f"{flows.name}.{name}", why, "Give each session a flow first")
            else:
                hint = f": one of {labels}" if labels else ""
                yield Obstacle(f"{flows.name}.{name}", why, f"Change {where}{hint}")
        elif is_text(kind) and (text or "").rstrip() != value.rstrip():
            yield Obstacle(
                f"{flows.name}.{name}", f"{what} does not fit into {kind}, it would be cut", f"Change {where}"
            )


def _cast(connection: psycopg.Connection, value: str, kind: str) -> tuple[str | None, str]:
    """A value as the server reads it, as a text; else why it does not."""
    statement = q("SELECT CAST(CAST({value} AS {kind}) AS text)", value=sql.Literal(value), kind=raw(kind))
    try:
        with connection.transaction():
            row = connection.execute(statement).fetchone()
    except errors.Error as error:
        if error.sqlstate is None:
            raise
        return None, safe_text(error.diag.message_primary or error.sqlstate)
    return (row[0] if row else None), ""


# -- rows --------------------------------------------------------------------------------------------------------------


def _count(work: Work) -> int:
    """Sessions that have no flow, and may be given one."""
    layout, made = work.layout, _parts(work)
    return work.one(
        q("SELECT count(*) FROM {sessions} s WHERE NOT ({missing})"
          " AND NOT EXISTS (SELECT FROM {flows} f WHERE f.{session} = {id})",
          sessions=layout.sessions_ident, flows=layout.flows_ident, session=work.migration.flows.session, id=made["id"],
          missing=made["missing"])
    )  # fmt: skip


def _parts(work: Work) -> dict[str, Any]:
    missing = sql.SQL(" OR ").join(
        [sql.SQL("{} IS NULL").format(sql.Identifier("s", one)) for one in required_scope(work.layout)]
        or [sql.SQL("false")]
    )
    return session_parts(work.layout) | {"missing": missing}


def _made(work: Work) -> tuple[sql.Composed, set[str]]:
    """The flows that would be made, as a query, and the columns of which the value is known."""
    known = dict(values_of_made(work.layout, "now"))
    volatile = {row[0] for row in work.connection.execute(_VOLATILE, [work.layout.flows.oid])}
    for column in work.layout.flows.columns.values():
        if column.name in known or column.is_computed or column.name in volatile:
            continue
        default = sql.SQL("CAST({} AS {})").format(raw(column.default or "NULL"), raw(column.type))
        if column.default is None or _is_readable(work.connection, default):
            known[column.name] = default
    parts = _parts(work)
    columns = sql.SQL(", ").join(
        sql.SQL("{} AS {}").format(value, sql.Identifier(name)) for name, value in known.items()
    )
    statement = q(
        _MADE, columns=columns, title=work.migration.sessions.title, most=sql.Literal(_MOST),
        **{name: parts[name] for name in ("key", "sessions", "flows", "session", "id", "missing")},
    )  # fmt: skip
    return statement, set(known)


def _is_readable(connection: psycopg.Connection, value: sql.Composed) -> bool:
    """Whether a default can be computed without a write, as that of a sequence cannot."""
    try:
        with connection.transaction():
            connection.execute(q("SELECT {value}", value=value))
    except errors.Error as error:
        if error.sqlstate is None:
            raise
        return False
    return True


def _rows(work: Work, described: Described) -> Iterator[Obstacle]:
    if not _count(work):
        return
    made, known = _made(work)
    if refusal := _refusal(work, made):
        yield Obstacle(work.migration.flows.name, f"flows that would be made are refused: {refusal}",
                       f"Change {described.where('flows')}, or give these sessions flows first")  # fmt: skip
        return
    flows, table = work.migration.flows.name, work.layout.flows
    change = f"Change {described.where('flows', 'literals')}, or give these sessions flows first"
    expressions: dict[str, str] = dict(work.connection.execute(_CHECKS, [table.oid]).fetchall())
    for one in table.constraints:
        if not set(one.columns) <= known:
            continue
        if one.kind == "c" and one.name in expressions:
            try:
                count = _try(work, made, q("NOT ({expression})", expression=raw(expressions[one.name])))
            except (errors.DataError, errors.RaiseException) as error:
                refusal = safe_text(error.diag.message_primary or error.sqlstate or "")
                why = f"{one.definition} cannot be computed for flows that would be made: {refusal}"
                yield Obstacle(f"constraint {one.name} of {flows}", why, change)
                continue
            why = f"{count:,} flows that would be made violate {one.definition}"
        elif one.kind == "f" and one.target is not None:
            count = _try(work, made, _dangles(one.target, one.columns, one.target_columns))
            why = f"{count:,} flows that would be made violate {one.definition}"
        else:
            continue
        if count:
            yield Obstacle(f"constraint {one.name} of {flows}", why, change)
    own = {work.layout.flow, *work.migration.flows.uuids}
    for index in table.indexes:
        if " UNIQUE INDEX " not in index.definition or index.is_partial or own & set(index.columns):
            continue
        if len(index.touched or index.columns) != len(index.columns) or not set(index.columns) <= known:
            continue
        count = _try(work, made, _taken(work, index.columns), counted=index.columns)
        if count:
            names = ", ".join(index.columns)
            yield Obstacle(
                f"unique index {index.name} of {flows}",
                f"{count:,} flows that would be made have the same ({names}) as other flows", change,
            )  # fmt: skip


def _refusal(work: Work, made: sql.Composed) -> str:
    """Why the values of the flows that would be made cannot be computed; empty where they can."""
    try:
        with work.connection.transaction():
            work.connection.execute(q("SELECT count(m::text) FROM ({made}) m", made=made))
    except (errors.DataError, errors.IntegrityError) as error:
        return safe_text(error.diag.message_primary or error.sqlstate or "")
    return ""


def _dangles(target: str, own: list[str], theirs: list[str]) -> sql.Composed:
    given = sql.SQL(" AND ").join(sql.SQL("made.{} IS NOT NULL").format(sql.Identifier(one)) for one in own)
    same = sql.SQL(" AND ").join(
        sql.SQL("r.{} = made.{}").format(sql.Identifier(b), sql.Identifier(a)) for a, b in zip(own, theirs, strict=True)
    )
    return q("{given} AND NOT EXISTS (SELECT FROM {target} r WHERE {same})", given=given, target=raw(target), same=same)


def _taken(work: Work, columns: list[str]) -> sql.Composed:
    same = sql.SQL(" AND ").join(sql.SQL("r.{0} = made.{0}").format(sql.Identifier(one)) for one in columns)
    return q("(number > 1 OR EXISTS (SELECT FROM {flows} r WHERE {same}))", flows=work.layout.flows_ident, same=same)


def _try(work: Work, made: sql.Composed, condition: sql.Composed, counted: list[str] | None = None) -> int:
    """How many of the flows that would be made a condition holds for; 0 where it cannot be evaluated in a read-only look."""
    number, given = sql.SQL("1"), sql.SQL("true")
    if counted:
        names = sql.SQL(", ").join(map(sql.Identifier, counted))
        number = sql.SQL("row_number() OVER (PARTITION BY {})").format(names)
        given = sql.SQL(" AND ").join(sql.SQL("made.{} IS NOT NULL").format(sql.Identifier(one)) for one in counted)
    statement = q(
        "SELECT count(*) FROM (SELECT m.*, {number} AS number FROM ({made}) m) made WHERE {given} AND {condition}",
        number=number, made=made, given=given, condition=condition,
    )  # fmt: skip
    try:
        with work.connection.transaction():
            return work.one(statement)
    except (errors.ReadOnlySqlTransaction, errors.UndefinedTable, errors.UndefinedColumn, errors.AmbiguousColumn):
        return 0
