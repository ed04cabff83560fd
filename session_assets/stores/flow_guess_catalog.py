"""The tables of a database with what tells how they hang together: columns, keys, and foreign keys."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import psycopg
from psycopg import sql

from session_assets.flow.table_names import written
from session_assets.stores.flow_types import is_text, is_time

_TABLES = """
    SELECT c.oid, n.nspname, c.relname, c.relkind = 'p' OR c.relispartition, pg_table_is_visible(c.oid)
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p') AND c.relpersistence <> 't' AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
      AND NOT starts_with(n.nspname, 'session_assets') AND NOT starts_with(c.relname, 'session_assets_flow')
      AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
    ORDER BY 2, 3
"""
_COLUMNS = """
    SELECT a.attrelid, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull, pg_get_expr(d.adbin, d.adrelid),
           a.attgenerated <> '' OR a.attidentity <> '', coalesce(nullif(t.typbasetype, 0), t.oid)::regtype::text,
           EXISTS (SELECT FROM pg_enum e WHERE e.enumtypid IN (t.oid, t.typbasetype))
    FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
    LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
    WHERE a.attrelid = ANY (%s) AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attrelid, a.attnum
"""
_KEYS = """
    SELECT k.conrelid, a.attname, k.confrelid, b.attname, cardinality(k.conkey) = 1 FROM pg_constraint k
    CROSS JOIN unnest(k.conkey, k.confkey) u (own, theirs)
    JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = u.own
    JOIN pg_attribute b ON b.attrelid = k.confrelid AND b.attnum = u.theirs
    WHERE k.contype = 'f' AND k.conrelid = ANY (%s) ORDER BY cardinality(k.conkey), k.conrelid, k.conname
"""
_UNIQUE = """
    SELECT i.indrelid, a.attname, i.indisprimary FROM pg_index i JOIN pg_attribute a
    ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]
    WHERE i.indisunique AND i.indisvalid AND i.indnkeyatts = 1 AND i.indpred IS NULL AND i.indrelid = ANY (%s) ORDER BY 1, 3, 2
"""


@dataclass(frozen=True)
class Col:
    name: str
    type: str
    not_null: bool
    default: str | None
    is_computed: bool
    base: str
    """The type, that of the base for a domain."""
    is_enum: bool

    @property
    def is_time(self) -> bool:
        return is_time(self.type)

    @property
    def is_text(self) -> bool:
        return is_text(self.type)

    @property
    def must_be_given(self) -> bool:
        return self.not_null and self.default is None and not self.is_computed


@dataclass
class Tab:
    """A table. `keys`: what each column points at that is a foreign key, or the part of one that is an id."""

    name: str
    ident: sql.Identifier
    is_partitioned: bool
    columns: dict[str, Col] = field(default_factory=dict[str, Col])
    unique: list[str] = field(default_factory=list[str])
    primary: str | None = None
    keys: dict[str, tuple[str, str]] = field(default_factory=dict[str, tuple[str, str]])


def read_catalogue(connection: psycopg.Connection) -> dict[str, Tab]:
    """All tables of the application by their written name: without schema where the search path finds it and no other has it."""
    rows = connection.execute(_TABLES).fetchall()
    names = Counter(row[2] for row in rows)
    tables: dict[int, Tab] = {}
    for oid, schema, name, is_partitioned, is_visible in rows:
        shown = written(None if is_visible and names[name] == 1 else schema, name)
        tables[oid] = Tab(shown, sql.Identifier(schema, name), is_partitioned)
    oids = list(tables)
    for oid, name, *rest in connection.execute(_COLUMNS, [oids]).fetchall():
        tables[oid].columns[name] = Col(name, *rest)
    for oid, name, is_primary in connection.execute(_UNIQUE, [oids]).fetchall():
        tables[oid].unique += [name] if name not in tables[oid].unique else []
        tables[oid].primary = name if is_primary else tables[oid].primary
    for oid, name, target, theirs, is_alone in connection.execute(_KEYS, [oids]).fetchall():
        if target in tables and (
            is_alone or theirs in tables[target].unique
        ):  # of several columns, the one that is an id
            tables[oid].keys.setdefault(name, (tables[target].name, theirs))
    return {one.name: one for one in tables.values()}
