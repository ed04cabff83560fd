"""What the catalogue says of a described table: columns, keys, indexes, constraints, and what hangs on a column."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from typing import Any

import psycopg

from session_assets.errors import UsageError

OURS = "session_assets_flow"
"""All that the migration makes in a database begins so."""

_LONGEST = 63  # bytes of an identifier
_KINDS = {"p": "a partitioned table", "v": "a view", "m": "a materialized view", "f": "a foreign table"}
_TABLE = "SELECT c.oid, n.nspname, c.relname, c.relkind::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace" \
    " WHERE c.oid = to_regclass(%s)"  # fmt: skip
_COLUMNS = """
    SELECT a.attname, a.attnum, format_type(a.atttypid, a.atttypmod), a.attnotnull, pg_get_expr(d.adbin, d.adrelid),
           a.attgenerated <> '' OR a.attidentity <> '', col_description(a.attrelid, a.attnum),
           CASE WHEN a.attcollation <> t.typcollation THEN a.attcollation::regcollation::text END, a.attacl::text,
           array_remove(ARRAY[
               'SET STATISTICS ' || nullif(a.attstattarget, -1), 'SET (' || array_to_string(a.attoptions, ', ') || ')',
               'SET STORAGE ' || CASE WHEN a.attstorage <> t.typstorage THEN CASE a.attstorage
                   WHEN 'p' THEN 'PLAIN' WHEN 'e' THEN 'EXTERNAL' WHEN 'm' THEN 'MAIN' ELSE 'EXTENDED' END END,
               'SET COMPRESSION ' || CASE a.attcompression WHEN 'p' THEN 'pglz' WHEN 'l' THEN 'lz4' END], NULL)
    FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
    LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
    WHERE a.attrelid = %s AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum
"""
_INDEXES = """
    SELECT c.relname, pg_get_indexdef(i.indexrelid), i.indisvalid, i.indisprimary,
           ARRAY(SELECT a.attname FROM unnest(i.indkey) WITH ORDINALITY k (num, place)
                 JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.num ORDER BY k.place),
           ARRAY(SELECT DISTINCT refobjsubid FROM pg_depend WHERE classid = 'pg_class'::regclass AND objid = i.indexrelid
                 AND refobjid = i.indrelid AND refobjsubid > 0),
           EXISTS (SELECT FROM pg_constraint k WHERE k.conindid = i.indexrelid AND k.contype IN ('p', 'u', 'x')),
           obj_description(i.indexrelid), i.indpred IS NOT NULL OR i.indkey[0] = 0
    FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid WHERE i.indrelid = %s ORDER BY 1
"""
_CONSTRAINTS = """
    SELECT k.conname, k.contype::text, pg_get_constraintdef(k.oid), k.convalidated,
           ARRAY(SELECT a.attname FROM unnest(k.conkey) WITH ORDINALITY u (num, place)
                 JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = u.num ORDER BY u.place),
           (SELECT format('%%I.%%I', n.nspname, f.relname) FROM pg_class f JOIN pg_namespace n ON n.oid = f.relnamespace
            WHERE f.oid = k.confrelid),
           ARRAY(SELECT a.attname FROM unnest(k.confkey) WITH ORDINALITY u (num, place)
                 JOIN pg_attribute a ON a.attrelid = k.confrelid AND a.attnum = u.num ORDER BY u.place),
           obj_description(k.oid, 'pg_constraint')
    FROM pg_constraint k WHERE k.conrelid = %s AND k.contype <> 'n' ORDER BY 1
"""
_STATISTICS = """
    SELECT format('%%I.%%I', n.nspname, s.stxname), pg_get_statisticsobjdef(s.oid), nullif(s.stxstattarget, -1),
           ARRAY(SELECT refobjsubid FROM pg_depend WHERE classid = 'pg_statistic_ext'::regclass AND objid = s.oid
                 AND refobjid = s.stxrelid AND refobjsubid > 0),
           obj_description(s.oid, 'pg_statistic_ext')
    FROM pg_statistic_ext s JOIN pg_namespace n ON n.oid = s.stxnamespace WHERE s.stxrelid = %s ORDER BY 1
"""
_DEPENDENTS = """
    SELECT DISTINCT pg_describe_object(d.classid, d.objid, d.objsubid) FROM pg_depend d
    WHERE d.refclassid = 'pg_class'::regclass AND d.refobjid = %s AND d.refobjsubid = %s
      AND NOT (d.classid = 'pg_class'::regclass AND EXISTS (SELECT FROM pg_index WHERE indexrelid = d.objid))
      AND NOT (d.classid = 'pg_constraint'::regclass
               AND EXISTS (SELECT FROM pg_constraint k
                           WHERE k.oid = d.objid AND k.conrelid = d.refobjid AND d.refobjsubid = ANY (k.conkey)))
      AND NOT (d.classid = 'pg_attrdef'::regclass
               AND EXISTS (SELECT FROM pg_attrdef x WHERE x.oid = d.objid AND x.adnum = d.refobjsubid))
      AND NOT (d.classid = 'pg_trigger'::regclass
               AND EXISTS (SELECT FROM pg_trigger x WHERE x.oid = d.objid AND x.tgname LIKE %s))
      AND NOT (d.classid = 'pg_class'::regclass AND d.objid = d.refobjid) AND d.classid <> 'pg_statistic_ext'::regclass
    ORDER BY 1
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


def read_table(connection: psycopg.Connection, name: str) -> Table:
    """A table by its name, with its schema or by the search path. Raises `UsageError` where it cannot be migrated."""
    found = connection.execute(_TABLE, [name]).fetchone()
    if found is None:
        raise UsageError(
            f"The database has no table {name}. Describe its schema in flow/model.py, or choose another one."
        )
    oid, schema, relation, kind = found
    if kind != "r":
        raise UsageError(
            f"{name} is {_KINDS.get(kind, 'something else')}: only ordinary tables can be migrated. Describe the table that holds"
            " its rows in flow/model.py. Nothing was changed."
        )
    columns = {row[0]: Column(*row) for row in connection.execute(_COLUMNS, [oid])}
    indexes = [Index(*row) for row in connection.execute(_INDEXES, [oid])]
    constraints = [Constraint(*row) for row in connection.execute(_CONSTRAINTS, [oid])]
    statistics = [Statistics(*row) for row in connection.execute(_STATISTICS, [oid])]
    key = next((one.columns for one in constraints if one.kind == "p"), [])
    return Table(oid, schema, relation, columns, indexes, constraints, statistics, [columns[one] for one in key])


def dependents(connection: psycopg.Connection, table: Table, column: str) -> list[str]:
    """What would keep a column from being dropped, or would not come back: views, policies, triggers, generated columns."""
    rows = connection.execute(_DEPENDENTS, [table.oid, table.columns[column].number, f"zz_{OURS}%"])
    return [row[0] for row in rows]


def hidden_rows(connection: psycopg.Connection, table: Table) -> list[str]:
    """Why statements on a table would not mean just its own rows, all of them: rows or values would be lost unseen."""
    row = connection.execute(
        "SELECT row_security_active(%(oid)s), EXISTS (SELECT FROM pg_inherits WHERE %(oid)s IN (inhrelid, inhparent))",
        {"oid": table.oid},
    ).fetchone()
    assert row is not None
    hides = [f"row-level security hides rows of {table.name} from this account"] if row[0] else []
    return hides + ([f"{table.name} inherits from a table, or is inherited from"] if row[1] else [])


def fingerprint(tables: list[Table]) -> str:
    """Twelve characters that change whenever the shape of a table does."""
    shapes = {f"{one.schema}.{one.name}": one.shape() for one in tables}
    return hashlib.sha256(json.dumps(shapes, sort_keys=True).encode()).hexdigest()[:12]


def own_name(kind: str, table: str) -> str:
    """The name of something of ours that belongs to a table, within PostgreSQL's limit."""
    name = f"{OURS}_{kind}_{table}"
    if len(name.encode()) <= _LONGEST:
        return name
    return f"{OURS}_{kind}_{table[:16]}_{hashlib.sha256(table.encode()).hexdigest()[:8]}"


def made_session(connection: psycopg.Connection, made: str) -> str:
    """The column of sessions in the table of made flows: earlier versions named it as the columns that contract drops."""
    found = connection.execute(
        "SELECT attname FROM pg_attribute WHERE attrelid = to_regclass(%s) AND attname = 'session_id' AND NOT attisdropped",
        [made],
    ).fetchone()
    return found[0] if found else "session"
