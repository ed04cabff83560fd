"""Statements that the application may send: made from rows of the twin, from a file, and from what the server has recorded.

Each is tried before the first step. One that fails there is no statement of the application; one that fails later only, does so
because of the migration. Each runs in a transaction that is rolled back, with its deferred constraints looked at first.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import sql

from session_assets.flow.model import BACKFILL
from session_assets.flow.twin_model import Statement
from session_assets.masking import one_line
from session_assets.stores.flow_catalog import Column, Table
from session_assets.stores.flow_layout import Layout, Place, q, raw
from session_assets.stores.flow_types import is_text

Connection = psycopg.Connection[Any]
_ROWS = 12
"""Rows of each table, one of each pattern of NULLs as far as they reach."""
_SECONDS = 20
_LONGEST = 120  # characters of a statement that are shown
_MOST = 500  # recorded statements
_SAMPLE = """
    SELECT {values} FROM (SELECT t.*, row_number() OVER (PARTITION BY {nulls}) AS session_assets_number FROM {table} t) t
    ORDER BY t.session_assets_number, hashtext({keys}) LIMIT {limit}
"""
_RECORDED = """
    SELECT DISTINCT s.query FROM {view} s JOIN pg_database d ON d.oid = s.dbid
    WHERE d.datname = current_database() AND lower(s.query) ~ %s
      AND s.query !~* '^\\s*(create|alter|drop|copy|begin|set|explain|analyze)'
      AND s.query NOT LIKE '%%session_assets%%' ORDER BY 1 LIMIT %s
"""
_VIEW = """
    SELECT format('%I.%I', n.nspname, c.relname) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relname = 'pg_stat_statements' AND c.relkind = 'v'
"""


@dataclass(frozen=True)
class Failure:
    """How a statement failed."""

    sqlstate: str
    message: str
    object: str


class Sender:
    """Sends statements as the application would, and leaves nothing behind."""

    def __init__(self, twin: psycopg.Connection) -> None:
        self._twin = twin
        twin.prepare_threshold = None

    def fails(self, statement: Statement) -> Failure | None:
        """How it fails, if it does."""
        text = f"PREPARE session_assets_twin AS {statement.text}" if statement.is_prepared else statement.text
        try:
            self._twin.execute(
                f"BEGIN; SET LOCAL statement_timeout = '{_SECONDS}s'; SET LOCAL lock_timeout = '{_SECONDS}s';\n{text}\n;"
                " SET CONSTRAINTS ALL IMMEDIATE".encode()
            )
        except psycopg.Error as error:
            if self._twin.closed:
                raise
            return failure_of(error)
        finally:
            if not self._twin.closed:
                self._twin.execute("ROLLBACK")
                if statement.is_prepared:
                    self._twin.execute("DEALLOCATE ALL")
        return None

    def commits(self, statement: Statement) -> Failure | None:
        """Send it and keep what it writes; how it fails, if it does: another one may be in its way."""
        try:
            with self._twin.transaction():
                self._twin.execute(statement.text.encode())
        except psycopg.Error as error:
            if self._twin.closed:
                raise
            return failure_of(error)
        return None


def database_failure(error: BaseException) -> Failure | None:
    """What the database said behind an error of ours; None if it was ours alone."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, psycopg.Error):
            return failure_of(seen)
        seen = seen.__cause__ or seen.__context__
    return None


def failure_of(error: psycopg.Error) -> Failure:
    """The object that an error is about, as far as the server says it; never the values of a row."""
    diag = error.diag
    names = [diag.schema_name, diag.table_name, diag.constraint_name or diag.column_name]
    about = ".".join(name for name in names if name)
    context = (diag.context or "").splitlines()
    if not about or not diag.constraint_name:
        called = next((line.partition(" line ")[0] for line in context if "function" in line), "")
        about = called.strip() or about
    return Failure(error.sqlstate or "", diag.message_primary or str(error), about)


def statements(twin: psycopg.Connection, layout: Layout) -> Iterator[Statement]:
    """Of each described table: rows are inserted, updated and deleted, with and without the old column."""
    for place in layout.places:
        yield from _of_place(twin, place)
    yield from _of_table(twin, layout.sessions, None)


def recorded(real: psycopg.Connection, layout: Layout) -> tuple[list[Statement], str]:
    """What `pg_stat_statements` holds that names a described table; why nothing, if nothing was read."""
    found = real.execute(_VIEW).fetchone()
    if found is None:
        return [], "pg_stat_statements is not there: no recorded statement was tried"
    names = sorted({one.name.lower() for one in layout.tables})
    try:
        words = "|".join(rf"\m{re.escape(name)}\M" for name in names)
        rows = real.execute(q(_RECORDED, view=raw(found[0])), [words, _MOST]).fetchall()
    except psycopg.Error as error:
        return [], f"pg_stat_statements could not be read ({error.sqlstate}): no recorded statement was tried"
    olds = {place.linked.old.lower() for place in layout.places}
    cut = f"there are more than {_MOST}: the others were not tried" if len(rows) == _MOST else ""
    return [
        given(text, f"recorded statement {number}", olds, is_prepared=True) for number, (text,) in enumerate(rows, 1)
    ], cut


def full_name(table: Table) -> str:
    """How a statement says which table it is made of."""
    return f"{table.schema}.{table.name}"


def given(text: str, about: str, olds: set[str], *, is_prepared: bool = False) -> Statement:
    """A statement of somebody else's; whether it names an old column is asked of its words."""
    names_old = any(old in text.lower() for old in olds)
    about = one_line(f"{about}: {' '.join(text.split())[:_LONGEST]}")
    return Statement(about, text.rstrip().rstrip(";"), names_old=names_old,
                     is_prepared=is_prepared, is_own=True)  # fmt: skip


# -- of rows -----------------------------------------------------------------------------------------------------------


def _of_place(twin: psycopg.Connection, place: Place) -> Iterator[Statement]:
    made = [*_of_table(twin, place.table, place.linked.old if place.has_old else None)]
    yield from made
    if place.follows and made:  # of an empty table it would insert nothing, and work
        yield _of_new_application(place)


def _of_table(twin: psycopg.Connection, table: Table, old: str | None) -> Iterator[Statement]:
    writable = [one for one in table.columns.values() if not one.is_computed]
    for row in _sampled(twin, table):
        values = dict(zip(table.columns, row, strict=True))
        parts = {"t": sql.Identifier(table.schema, table.name), "here": _where(table, values)}

        def made(about: str, text: sql.Composed, names_old: bool = False) -> Statement:
            return Statement(
                f"{table.name}: {about}",
                text.as_string(twin),
                full_name(table),
                names_old,
                is_insert=about.startswith("INSERT"),
            )

        for named in (True, False) if old else (False,):
            columns = [one for one in writable if named or one.name != old]
            told = "" if old is None else f" with {old}" if named else f" without {old}"
            yield made(f"INSERT{told}", _insert(table, columns, values, parts), named)
            changed = [one for one in columns if one not in table.key]
            if changed:
                sets = [sql.SQL("{} = {}").format(sql.Identifier(one.name), _cast(values, one)) for one in changed]
                text = q("UPDATE {t} SET {sets} WHERE {here}", sets=sql.SQL(", ").join(sets), **parts)
                yield made(f"UPDATE{told}", text, named)
        if old:
            yield made(
                f"UPDATE that empties {old}", q("UPDATE {t} SET {old} = NULL WHERE {here}", old=old, **parts), True
            )
            text = q("UPDATE {t} SET {old} = (SELECT o.{old} FROM {t} o WHERE o.{old} IS DISTINCT FROM {t}.{old} LIMIT 1)"
                     " WHERE {here}",
                     old=old, **parts)  # fmt: skip
            yield made(f"UPDATE that changes {old}", text, True)
        yield made("DELETE", q("DELETE FROM {t} WHERE {here}", **parts))


def _of_new_application(place: Place) -> Statement:
    """What an application does that knows flows only: from backfill on it must work."""
    old, flow, table = place.linked.old, place.linked.flow, place.table
    columns = [one for one in table.columns.values() if not one.is_computed and one.name not in (old, flow)]
    unique = _unique(table)
    values = [
        _fresh(one) if one.name in unique and _can_be_fresh(one) else sql.Identifier("t", one.name) for one in columns
    ]
    text = q(
        "INSERT INTO {t} ({named}, {flow}) SELECT {values}, {id} FROM (SELECT * FROM {t} ORDER BY {keys} LIMIT 1) t,"
        " (SELECT f.{theirs} AS id FROM {flows} f LIMIT 1) f",
        t=place.ident, named=sql.SQL(", ").join(sql.Identifier(one.name) for one in columns), flow=flow,
        values=sql.SQL(", ").join(values), id=q("CAST(CAST(f.id AS text) AS {type})", type=raw(place.flow_type)),
        keys=sql.SQL(", ").join(map(sql.Identifier, place.keys)), theirs=place.layout.flow, flows=place.layout.flows_ident,
    )  # fmt: skip
    about = f"{table.name}: INSERT with {flow} and without {old}"
    return Statement(about, text.as_string(None), full_name(table), since=BACKFILL, is_insert=True)


def _insert(
    table: Table, columns: Sequence[Column], values: dict[str, Any], parts: dict[str, sql.Composable]
) -> sql.Composed:
    """A row like the given one under another key; if none can be made up, the row itself after it was deleted."""
    named = sql.SQL(", ").join(sql.Identifier(one.name) for one in columns)
    unique = _unique(table)
    if all(_can_be_fresh(one) for one in table.key if one in columns):
        new = [_fresh(one) if one.name in unique and _can_be_fresh(one) else _cast(values, one) for one in columns]
        return q("INSERT INTO {t} ({named}) VALUES ({new})", t=parts["t"], named=named, new=sql.SQL(", ").join(new))
    same = sql.SQL(", ").join(_cast(values, one) for one in columns)
    return q("DELETE FROM {t} WHERE {here}; INSERT INTO {t} ({named}) VALUES ({same})", named=named, same=same, **parts)


def _unique(table: Table) -> set[str]:
    """Columns that make a row unique and refer to no other one."""
    referring = {name for one in table.constraints if one.kind == "f" for name in one.columns}
    unique = [one.columns for one in table.constraints if one.kind in ("p", "u")]
    unique += [one.columns for one in table.indexes if " UNIQUE INDEX " in one.definition]
    return {name for names in unique for name in names} - referring


def _can_be_fresh(column: Column) -> bool:
    return column.default is not None or column.type in ("uuid", "integer", "bigint") or is_text(column.type)


def _fresh(column: Column) -> sql.Composable:
    """A value that no row has."""
    if column.type == "uuid":
        return sql.SQL("gen_random_uuid()")
    if column.type in ("integer", "bigint"):
        return sql.SQL("(1000000000 + random() * 1000000000)::integer")
    return sql.SQL("left(md5(random()::text), 12)") if is_text(column.type) else raw(column.default or "NULL")


def _cast(values: dict[str, Any], column: Column) -> sql.Composable:
    return sql.SQL("CAST({} AS {})").format(sql.Literal(values[column.name]), raw(column.type))


def _where(table: Table, values: dict[str, Any]) -> sql.Composable:
    return sql.SQL(" AND ").join(
        sql.SQL("{} = {}").format(sql.Identifier(one.name), _cast(values, one)) for one in table.key
    )


def _sampled(twin: psycopg.Connection, table: Table) -> list[tuple[Any, ...]]:
    """Rows as texts."""
    values = sql.SQL(", ").join(sql.SQL("t.{}::text").format(sql.Identifier(one)) for one in table.columns)
    nulls = sql.SQL(", ").join(sql.SQL("(t.{} IS NULL)").format(sql.Identifier(one)) for one in table.columns)
    keys = sql.SQL(" || ").join(sql.SQL("t.{}::text").format(sql.Identifier(one.name)) for one in table.key)
    ident, limit = sql.Identifier(table.schema, table.name), sql.Literal(_ROWS)
    return twin.execute(q(_SAMPLE, values=values, nulls=nulls, keys=keys, table=ident, limit=limit)).fetchall()
