"""A bounded sample of rows for the twin, with every row that a foreign key of theirs needs.

Strata: each pattern of NULLs, each status, and whether a row is mapped, lacks a flow, names an unknown session or none. Of each
stratum come the first rows by a hash of their place, the rarest strata first. Rows are known by their place in one snapshot, so
that nothing has to be written on the server that is read.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator

import psycopg
from psycopg import sql

from session_assets.stores.flow_catalog import OURS, Table
from session_assets.stores.flow_layout import Layout, Place, q, raw
from session_assets.stores.twin_schema import Note

ROWS = 20_000
"""Rows of a table, if nothing else is said."""
_BYTES = 64 << 20
"""Of a table: rows of more are left out, the last strata first."""
_CHUNK = 2_000
_FEW = 20
"""A column of no more different values is a status."""
_STATUSES = """
    SELECT a.attname FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
    LEFT JOIN pg_stats s ON s.schemaname = %s AND s.tablename = %s AND s.attname = a.attname AND NOT s.inherited
    WHERE a.attrelid = %s AND a.attnum > 0 AND NOT a.attisdropped
      AND (t.typtype = 'e' OR t.typname = 'bool' OR s.n_distinct BETWEEN 2 AND %s)
"""
_PLACES = """
    SELECT x.rel, x.place, x.bytes FROM (
        SELECT t.tableoid::oid AS rel, t.ctid::text AS place, {bytes} AS bytes,
               row_number() OVER (PARTITION BY {strata} ORDER BY hashtext(t.ctid::text)) AS number
        FROM {table} t {joins}
    ) x ORDER BY x.number LIMIT {limit}
"""
_KEYS = """
    SELECT k.conrelid::oid, k.confrelid::oid, k.confrelid::regclass::text,
           ARRAY(SELECT a.attname FROM unnest(k.conkey) WITH ORDINALITY u (num, place)
                 JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = u.num ORDER BY u.place),
           ARRAY(SELECT a.attname FROM unnest(k.confkey) WITH ORDINALITY u (num, place)
                 JOIN pg_attribute a ON a.attrelid = k.confrelid AND a.attnum = u.num ORDER BY u.place)
    FROM pg_constraint k WHERE k.contype = 'f'
"""
_RELATIONS = """
    SELECT c.oid, n.nspname, c.relname, ARRAY(
        SELECT a.attname FROM pg_attribute a
        WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = '' ORDER BY a.attnum)
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = ANY (%s)
"""
_OURS = """
    SELECT c.oid::bigint, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind = 'r' AND c.relname LIKE %s ORDER BY 2
"""
_ARCHIVED = """
    SELECT a.tableoid::oid, a.ctid::text FROM {archive} a JOIN {table} t ON {same} WHERE t.ctid = ANY (%s::tid[])
"""
_MADE = """
    SELECT m.tableoid::oid, m.ctid::text FROM {made} m JOIN {flows} f ON f.{flow} = m.flow_id WHERE f.ctid = ANY (%s::tid[])
"""
_CHECKS = "SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint WHERE conrelid = %s AND contype = 'c'"
_REFUSALS = (psycopg.IntegrityError, psycopg.DataError, psycopg.errors.RaiseException, psycopg.ProgrammingError)
_SEQUENCES = "SELECT schemaname, sequencename, last_value FROM pg_sequences WHERE last_value IS NOT NULL"
Places = dict[int, dict[str, None]]
"""By table (or partition): places of rows, in the order in which they were chosen."""


def choose(real: psycopg.Connection, layout: Layout, rows: int) -> Places:
    """Places of the sample: the described tables by strata, then what they lead to."""
    found: Places = defaultdict(dict)
    for place in layout.places:
        _take(found, _of_table(real, place.table, _strata(real, place.table, _link(place)), _joins(place), rows))
    key = q("t.{key}::text", key=layout.migration.sessions.key)
    strata = [*_strata(real, layout.sessions, None), sql.SQL("coalesce(least(flows.number, 2), 0)")]
    _take(found, _of_table(real, layout.sessions, strata, _flows_of(layout, key), rows))
    for statement in _related(layout):
        _follow(real, found, statement, layout)
    _close(real, found)
    _take(found, _own(real, layout, found))
    return found


def copy(real: psycopg.Connection, twin: psycopg.Connection, found: Places, notes: list[Note]) -> dict[str, int]:
    """Copy the rows of the places, and set sequences. Returns rows by table."""
    copied: dict[str, int] = {}
    for oid, schema, name, columns in real.execute(_RELATIONS, [list(found)]).fetchall():
        names = sql.SQL(", ").join(map(sql.Identifier, columns))
        table = sql.Identifier(schema, name)
        try:
            _copy_rows(real, twin, table, names, [*found[oid]])
        except psycopg.errors.UndefinedTable:
            notes.append(Note(f"table {schema}.{name}", "has no rows in the twin, since it could not be made there"))
            continue
        except _REFUSALS as error:  # a check that looks at the time, at another table, or calls what reaches out
            notes.append(Note(f"table {schema}.{name}", f"its rows do not fit its checks any more ({error.sqlstate})"))
            checks = _take_checks(real, twin, table, oid)
            try:
                _copy_rows(real, twin, table, names, [*found[oid]])
            except _REFUSALS as again:
                notes.append(Note(f"table {schema}.{name}", f"has no rows in the twin ({again.sqlstate})"))
                continue
            finally:
                for check in checks:
                    twin.execute(check)
        copied[f"{schema}.{name}"] = len(found[oid])
    for schema, name, value in real.execute(_SEQUENCES).fetchall():
        twin.execute("SELECT setval(c.oid, %s) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
                     " WHERE n.nspname = %s AND c.relname = %s AND c.relkind = 'S'", [value, schema, name])  # fmt: skip
    twin.execute("ANALYZE")
    return copied


def _copy_rows(
    real: psycopg.Connection, twin: psycopg.Connection, table: sql.Identifier, names: sql.Composable, places: list[str]
) -> None:
    into = q("COPY {table} ({names}) FROM STDIN", table=table, names=names)
    with twin.transaction(), twin.cursor().copy(into) as target:
        for chunk in _chunks(places):
            source = q("COPY (SELECT {names} FROM ONLY {table} WHERE ctid = ANY ({places}::tid[])) TO STDOUT",
                       names=names, table=table, places=sql.Literal(chunk))  # fmt: skip
            with real.cursor().copy(source) as rows:
                for piece in rows:
                    target.write(piece)


def _take_checks(
    real: psycopg.Connection, twin: psycopg.Connection, table: sql.Identifier, oid: int
) -> list[sql.Composed]:
    """Drop the checks of a table; returns the statements that bring them back, for new values as on the real one."""
    back: list[sql.Composed] = []
    for name, definition in real.execute(_CHECKS, [oid]).fetchall():
        twin.execute(q("ALTER TABLE {table} DROP CONSTRAINT IF EXISTS {name}", table=table, name=name))
        text = definition.removesuffix(" NOT VALID")
        back.append(
            q("ALTER TABLE {table} ADD CONSTRAINT {name} {text} NOT VALID", table=table, name=name, text=raw(text))
        )
    return back


def _own(real: psycopg.Connection, layout: Layout, found: Places) -> Iterator[tuple[int, str]]:
    """What the migration has recorded so far: of archives and made flows what belongs to the sample, else everything."""
    archives = {one.archive_table.oid: one for one in layout.places if one.archive_table is not None}
    for oid, name in real.execute(_OURS, [f"{OURS}\\_%"]).fetchall():
        table, rows = layout.own(name), None
        if oid in archives:
            place = archives[oid]
            rows = [[*found[place.table.oid]]]
            statement = q(_ARCHIVED, archive=table, table=place.ident, same=place.same_key("t", "a"))
        elif name == f"{OURS}_made":
            rows = [[*found[layout.flows.oid]]]
            statement = q(_MADE, made=table, flows=layout.flows_ident, flow=layout.flow)
        else:
            statement = q("SELECT tableoid::oid, ctid::text FROM {table}", table=table)
        yield from real.execute(statement, rows).fetchall()


# -- strata ------------------------------------------------------------------------------------------------------------


def _strata(real: psycopg.Connection, table: Table, link: sql.Composable | None) -> list[sql.Composable]:
    nulls = sql.SQL(" || ").join(
        sql.SQL("(t.{} IS NULL)::int::text").format(sql.Identifier(one)) for one in table.columns
    )
    rows = real.execute(_STATUSES, [table.schema, table.name, table.oid, _FEW]).fetchall()
    keys = {one.name for one in table.key}
    statuses = [q("left(t.{name}::text, 64)", name=name) for (name,) in rows if name not in keys]
    return [nulls, *statuses, *([link] if link is not None else [])]


def _link(place: Place) -> sql.Composable | None:
    """Whether a row has a session that exists, with or without flow."""
    if not place.has_old:
        return None
    return sql.SQL("(keys.id IS NULL)::int + 2 * (flows.id IS NULL)::int + 4 * (coalesce(flows.number, 0) > 1)::int")


def _joins(place: Place) -> sql.Composable:
    if not place.has_old:
        return sql.SQL("")
    layout, old = place.layout, q("t.{old}::text", old=place.linked.old)
    keys = q(" LEFT JOIN (SELECT DISTINCT lower(s.{key}::text) AS id FROM {sessions} s) keys ON keys.id = lower({old})",
             key=layout.migration.sessions.key, sessions=layout.sessions_ident, old=old)  # fmt: skip
    return sql.Composed([_flows_of(layout, old), keys])


def _flows_of(layout: Layout, session: sql.Composable) -> sql.Composable:
    flows = layout.places[0]
    column = flows.linked.old if flows.has_old else layout.flow
    return q(" LEFT JOIN (SELECT lower(f.{column}::text) AS id, count(*) AS number FROM {flows} f GROUP BY 1) flows"
             " ON flows.id = lower({session})", column=column, flows=layout.flows_ident, session=session)  # fmt: skip


def _of_table(
    real: psycopg.Connection, table: Table, strata: list[sql.Composable], joins: sql.Composable, rows: int
) -> Iterator[tuple[int, str]]:
    """Rows of a table, up to a number of them and of bytes."""
    size = sql.SQL(" + ").join(
        sql.SQL("coalesce(pg_column_size(t.{}), 0)").format(sql.Identifier(one)) for one in table.columns
    )
    statement = q(_PLACES, bytes=size, strata=sql.SQL(", ").join(strata), table=sql.Identifier(table.schema, table.name),
                  joins=joins, limit=sql.Literal(rows))  # fmt: skip
    total = 0
    for relation, place, bytes_ in real.execute(statement).fetchall():
        total += bytes_
        if total > _BYTES:
            return
        yield relation, place


def _take(found: Places, rows: Iterable[tuple[int, str]]) -> list[tuple[int, str]]:
    """Add rows; returns those that are new."""
    new: list[tuple[int, str]] = []
    for relation, place in rows:
        if place not in found[relation]:
            found[relation][place] = None
            new.append((relation, place))
    return new


# -- what rows lead to -------------------------------------------------------------------------------------------------


def _related(layout: Layout) -> Iterator[tuple[Table, Table, sql.Composable]]:
    """Described links without a foreign key: session and flow of a row, flows of a session. Child, parent, condition."""
    sessions, flows = layout.migration.sessions, layout.places[0]
    same = "lower(c.{child}::text) = lower(p.{parent}::text)"
    for place in layout.places:
        if place.has_old:
            yield place.table, layout.sessions, q(same, child=place.linked.old, parent=sessions.key)
            if flows.has_old and place is not flows:
                yield place.table, layout.flows, q(same, child=place.linked.old, parent=flows.linked.old)
            if place.linked.holds_flow_ids:
                yield place.table, layout.flows, q(same, child=place.linked.old, parent=layout.flow)
        if place.has_flow and place is not flows:
            yield place.table, layout.flows, q(same, child=place.linked.flow, parent=layout.flow)
    if flows.has_old:
        yield layout.sessions, layout.flows, q(same, child=sessions.key, parent=flows.linked.old)


def _follow(real: psycopg.Connection, found: Places, link: tuple[Table, Table, sql.Composable], layout: Layout) -> None:
    child, parent, condition = link
    places = [*found[child.oid]]
    parts = {
        "child": sql.Identifier(child.schema, child.name),
        "parent": sql.Identifier(parent.schema, parent.name),
        "condition": condition,
    }
    statement = q("SELECT DISTINCT p.tableoid::oid, p.ctid::text FROM {child} c JOIN {parent} p ON {condition}"
        " WHERE c.ctid = ANY (%s::tid[])",
                  **parts)  # fmt: skip
    _take(found, real.execute(statement, [places]).fetchall())


def _close(real: psycopg.Connection, found: Places) -> None:
    """Add what foreign keys lead to, until nothing new comes."""
    keys = real.execute(_KEYS).fetchall()
    new = [(relation, place) for relation, places in found.items() for place in places]
    while new:
        by_table: dict[int, list[str]] = defaultdict(list)
        for relation, place in new:
            by_table[relation].append(place)
        new = []
        for relation, places in by_table.items():
            for child, _, parent, columns, targets in keys:
                if child == relation:
                    new += _take(found, _parents(real, relation, parent, columns, targets, places))


def _parents(
    real: psycopg.Connection, child: int, parent: str, columns: list[str], targets: list[str], places: list[str]
) -> Iterator[tuple[int, str]]:
    pairs = sql.SQL(" AND ").join(
        sql.SQL("p.{} = c.{}").format(sql.Identifier(b), sql.Identifier(a))
        for a, b in zip(columns, targets, strict=True)
    )
    name = real.execute("SELECT %s::regclass::text", [child]).fetchone()
    assert name is not None
    for chunk in _chunks(places):
        yield from real.execute(
            q("SELECT DISTINCT p.tableoid::oid, p.ctid::text FROM ONLY {child} c JOIN {parent} p ON {pairs}"
              " WHERE c.ctid = ANY (%s::tid[])",
              child=raw(name[0]), parent=raw(parent), pairs=pairs), [chunk]
        ).fetchall()  # fmt: skip


def _chunks(places: list[str]) -> Iterator[list[str]]:
    for start in range(0, len(places), _CHUNK):
        yield places[start : start + _CHUNK]
