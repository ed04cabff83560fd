"""What the catalogue says of a described table: columns, keys, indexes, constraints, and what hangs on a column."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import psycopg

from session_assets.errors import UsageError
from session_assets.flow.model import DESCRIBE
from session_assets.flow.table_names import quoted

OURS = "session_assets_flow"
"""All that the migration makes in a database begins so."""

_KINDS = {"p": "a partitioned table", "v": "a view", "m": "a materialized view", "f": "a foreign table"}
_TABLE = """
    SELECT c.oid, n.nspname, c.relname, c.relkind::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.oid = to_regclass(%s)
"""
_COLUMNS = """
    SELECT coalesce(jsonb_agg(jsonb_build_array(
        a.attname, a.attnum, format_type(a.atttypid, a.atttypmod), a.attnotnull, pg_get_expr(d.adbin, d.adrelid),
        a.attgenerated <> '' OR a.attidentity <> '', col_description(a.attrelid, a.attnum),
        CASE WHEN a.attcollation <> t.typcollation THEN a.attcollation::regcollation::text END, a.attacl::text,
        array_remove(ARRAY[
            'SET STATISTICS ' || nullif(a.attstattarget, -1), 'SET (' || array_to_string(a.attoptions, ', ') || ')',
            'SET STORAGE ' || CASE WHEN a.attstorage <> t.typstorage THEN CASE a.attstorage
                WHEN 'p' THEN 'PLAIN' WHEN 'e' THEN 'EXTERNAL' WHEN 'm' THEN 'MAIN' ELSE 'EXTENDED' END END,
            'SET COMPRESSION ' || CASE a.attcompression WHEN 'p' THEN 'pglz' WHEN 'l' THEN 'lz4' END], NULL)
    ) ORDER BY a.attnum), '[]')
    FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
    LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
    WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
"""
_INDEXES = """
    SELECT coalesce(jsonb_agg(jsonb_build_array(
        x.relname, pg_get_indexdef(i.indexrelid), i.indisvalid, i.indisprimary,
        ARRAY(SELECT a.attname FROM unnest(i.indkey) WITH ORDINALITY k (num, place)
              JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.num ORDER BY k.place),
        ARRAY(SELECT DISTINCT refobjsubid FROM pg_depend WHERE classid = 'pg_class'::regclass AND objid = i.indexrelid
              AND refobjid = i.indrelid AND refobjsubid > 0),
        EXISTS (SELECT FROM pg_constraint k WHERE k.conindid = i.indexrelid AND k.contype IN ('p', 'u', 'x')),
        obj_description(i.indexrelid), i.indpred IS NOT NULL OR i.indkey[0] = 0
    ) ORDER BY x.relname), '[]')
    FROM pg_index i JOIN pg_class x ON x.oid = i.indexrelid WHERE i.indrelid = c.oid
"""
_CONSTRAINTS = """
    SELECT coalesce(jsonb_agg(jsonb_build_array(
        k.conname, k.contype::text, pg_get_constraintdef(k.oid), k.convalidated,
        ARRAY(SELECT a.attname FROM unnest(k.conkey) WITH ORDINALITY u (num, place)
              JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = u.num ORDER BY u.place),
        (SELECT format('%%I.%%I', m.nspname, f.relname) FROM pg_class f JOIN pg_namespace m ON m.oid = f.relnamespace
         WHERE f.oid = k.confrelid),
        ARRAY(SELECT a.attname FROM unnest(k.confkey) WITH ORDINALITY u (num, place)
              JOIN pg_attribute a ON a.attrelid = k.confrelid AND a.attnum = u.num ORDER BY u.place),
        obj_description(k.oid, 'pg_constraint')
    ) ORDER BY k.conname), '[]')
    FROM pg_constraint k WHERE k.conrelid = c.oid AND k.contype <> 'n'
"""
_STATISTICS = """
    SELECT coalesce(jsonb_agg(jsonb_build_array(
        format('%%I.%%I', m.nspname, s.stxname), pg_get_statisticsobjdef(s.oid), nullif(s.stxstattarget, -1),
        ARRAY(SELECT refobjsubid FROM pg_depend WHERE classid = 'pg_statistic_ext'::regclass AND objid = s.oid
              AND refobjid = s.stxrelid AND refobjsubid > 0),
        obj_description(s.oid, 'pg_statistic_ext')
    ) ORDER BY m.nspname, s.stxname), '[]')
    FROM pg_statistic_ext s JOIN pg_namespace m ON m.oid = s.stxnamespace WHERE s.stxrelid = c.oid
"""
_TABLES = f"""
    SELECT w.name, c.oid, n.nspname, c.relname, c.relkind::text, ({_COLUMNS}), ({_INDEXES}), ({_CONSTRAINTS}), ({_STATISTICS})
    FROM unnest(%s::text[]) w (name) JOIN pg_class c ON c.oid = to_regclass(w.name) JOIN pg_namespace n ON n.oid = c.relnamespace
"""
_DEPENDENTS = """
    SELECT DISTINCT w.place, pg_describe_object(d.classid, d.objid, d.objsubid)
    FROM unnest(%s::oid[], %s::int[]) WITH ORDINALITY w (relation, number, place)
    JOIN pg_depend d ON d.refclassid = 'pg_class'::regclass AND d.refobjid = w.relation AND d.refobjsubid = w.number
    WHERE NOT (d.classid = 'pg_class'::regclass AND EXISTS (SELECT FROM pg_index WHERE indexrelid = d.objid))
      AND NOT (d.classid = 'pg_constraint'::regclass
               AND EXISTS (SELECT FROM pg_constraint k
                           WHERE k.oid = d.objid AND k.conrelid = d.refobjid AND d.refobjsubid = ANY (k.conkey)))
      AND NOT (d.classid = 'pg_attrdef'::regclass
               AND EXISTS (SELECT FROM pg_attrdef x WHERE x.oid = d.objid AND x.adnum = d.refobjsubid))
      AND NOT (d.classid = 'pg_trigger'::regclass
               AND EXISTS (SELECT FROM pg_trigger x WHERE x.oid = d.objid AND x.tgname LIKE %s))
      AND NOT (d.classid = 'pg_class'::regclass AND d.objid = d.refobjid) AND d.classid <> 'pg_statistic_ext'::regclass
    ORDER BY 1, 2
"""
_HIDING = """
    SELECT row_security_active(relation), EXISTS (SELECT FROM pg_inherits WHERE relation IN (inhrelid, inhparent))
    FROM unnest(%s::oid[]) WITH ORDINALITY w (relation, place) ORDER BY place
"""


@dataclass(frozen=True)
class Column:
    """A column, and all that is needed to make it again."""

    name: str
    number: int
    type: str
    not_null: bool
    default: str | None
    is_computed: bool
    comment: str | None
    collation: str | None
    grants: str | None
    settings: list[str]  # clauses of ALTER COLUMN, such as SET STATISTICS


@dataclass(frozen=True)
class Index:
    name: str
    definition: str
    is_valid: bool
    is_primary: bool
    columns: list[str]
    touched: list[int]  # numbers of the columns that it depends on
    is_constraint: bool
    comment: str | None
    is_partial: bool  # or begins with an expression


@dataclass(frozen=True)
class Constraint:
    name: str
    kind: str  # p | u | f | c | x
    definition: str
    is_valid: bool
    columns: list[str]
    target: str | None  # of a foreign key
    target_columns: list[str]
    comment: str | None


@dataclass(frozen=True)
class Statistics:
    """What CREATE STATISTICS made."""

    name: str  # with its schema
    definition: str
    target: int | None
    touched: list[int]  # numbers of the columns that it depends on
    comment: str | None


@dataclass(frozen=True)
class Table:
    """A table as the catalogue has it now."""

    oid: int
    schema: str
    name: str
    columns: dict[str, Column]
    indexes: list[Index]
    constraints: list[Constraint]
    statistics: list[Statistics]
    key: list[Column] = field(default_factory=list[Column])

    def leads(self, *columns: str) -> bool:
        """Whether a valid index over all rows begins with these columns."""
        return any(
            one.is_valid and not one.is_partial and one.columns[: len(columns)] == [*columns] for one in self.indexes
        )

    def indexes_of(self, column: str) -> list[Index]:
        """Indexes that go when a column goes, without those behind constraints."""
        number = self.columns[column].number
        return [
            one for one in self.indexes if not one.is_constraint and (number in one.touched or column in one.columns)
        ]

    def constraints_of(self, column: str) -> list[Constraint]:
        return [one for one in self.constraints if column in one.columns]

    def statistics_of(self, column: str) -> list[Statistics]:
        return [one for one in self.statistics if self.columns[column].number in one.touched]

    def shape(self) -> dict[str, Any]:
        """What is compared between two databases: all but the order of columns, and what is ours."""
        return {
            "columns": {
                one.name: [
                    one.type,
                    one.not_null,
                    one.default,
                    one.is_computed,
                    one.comment,
                    one.collation,
                    one.grants,
                    one.settings,
                ]
                for one in self.columns.values()
            },
            "indexes": {
                one.name: [one.definition, one.comment] for one in self.indexes if not one.name.startswith(OURS)
            },
            "constraints": {
                one.name: [one.kind, one.definition, one.is_valid, one.comment]
                for one in self.constraints
                if not one.name.startswith(OURS)
            },
            "statistics": {one.name: [one.definition, one.target, one.comment] for one in self.statistics},
        }


def find_table(connection: psycopg.Connection, name: str) -> tuple[int, str, str, str] | None:
    """Oid, schema, name and kind of a table by its written name; None where there is none."""
    return connection.execute(_TABLE, [quoted(name)]).fetchone()


def read_table(connection: psycopg.Connection, name: str) -> Table:
    """A table by its written name. Raises `UsageError` where it cannot be migrated."""
    return read_tables(connection, [name])[name]


def read_tables(connection: psycopg.Connection, names: Sequence[str], *, required: bool = True) -> dict[str, Table]:
    """Several at once. If they are not required, those that do not exist are left out."""
    asked = {quoted(name): name for name in names}
    rows = {asked[name]: row for name, *row in connection.execute(_TABLES.encode(), [list(asked)])}
    found: dict[str, Table] = {}
    for name in names:
        if name in rows:
            found[name] = _table(name, *rows[name])
        elif required:
            raise UsageError(f"The database has no table {name}. {DESCRIBE}, or choose another database.")
    return found


def _table(name: str, oid: int, schema: str, relation: str, kind: str, *parts: list[list[Any]]) -> Table:
    if kind != "r":
        raise UsageError(
            f"{name} is {_KINDS.get(kind, 'something else')}: only ordinary tables can be migrated. {DESCRIBE}"
            " by the tables that hold its rows. Nothing was changed."
        )
    columns = {row[0]: Column(*row) for row in parts[0]}
    constraints = [Constraint(*row) for row in parts[2]]
    key = next((one.columns for one in constraints if one.kind == "p"), [])
    return Table(oid, schema, relation, columns, [Index(*row) for row in parts[1]], constraints,
                 [Statistics(*row) for row in parts[3]], [columns[one] for one in key])  # fmt: skip


def dependents(connection: psycopg.Connection, *columns: tuple[Table, str]) -> list[list[str]]:
    """For each column, what would keep it from being dropped, or would not come back: views, policies, triggers, …"""
    found: list[list[str]] = [[] for _ in columns]
    numbers = [table.columns[name].number for table, name in columns]
    rows = connection.execute(_DEPENDENTS, [[table.oid for table, _ in columns], numbers, f"zz_{OURS}%"])
    for place, text in rows:
        found[place - 1].append(text)
    return found


def hidden_rows(connection: psycopg.Connection, tables: Sequence[Table]) -> list[str]:
    """Why statements on a table would not mean just its own rows, all of them: rows or values would be lost unseen."""
    found: list[str] = []
    rows = connection.execute(_HIDING, [[one.oid for one in tables]]).fetchall()
    for table, (is_hiding, inherits) in zip(tables, rows, strict=True):
        if is_hiding:
            found.append(f"row-level security hides rows of {table.name} from this account")
        if inherits:
            found.append(f"{table.name} inherits from a table, or is inherited from")
    return found


def fingerprint(tables: list[Table]) -> str:
    """Twelve characters that change whenever the shape of a table does."""
    shapes = {f"{one.schema}.{one.name}": one.shape() for one in tables}
    return hashlib.sha256(json.dumps(shapes, sort_keys=True).encode()).hexdigest()[:12]
