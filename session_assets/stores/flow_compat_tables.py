"""Described tables as the catalogue has them at this moment, with what the migration keeps of each: for code that outlives it.

Unlike `flow_layout` it asks for nothing that a look-up does not need, and a few queries are enough.
"""

from __future__ import annotations

import re
import uuid
from collections import Counter
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import sql

from session_assets.flow.model import Migration
from session_assets.flow.table_names import parts
from session_assets.stores.flow_catalog import OURS, find_table
from session_assets.stores.flow_own_names import own_name, tag
from session_assets.stores.flow_types import LARGEST, NUMBER

_COLUMNS = """
    SELECT a.attname, format_type(a.atttypid, a.atttypmod) FROM pg_attribute a
    WHERE a.attrelid = %s AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum
"""
_KEYS = """
    SELECT a.attname FROM pg_constraint k CROSS JOIN unnest(k.conkey) WITH ORDINALITY u (number, place)
    JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = u.number
    WHERE k.conrelid = %s AND k.contype = 'p' ORDER BY u.place
"""
_OWN = """
    SELECT c.relname, (SELECT format_type(a.atttypid, a.atttypmod) FROM pg_attribute a
                       WHERE a.attrelid = c.oid AND a.attname = 'old_value' AND NOT a.attisdropped)
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = %s AND c.relname = ANY (%s)
"""


@dataclass(frozen=True)
class Seen:
    """A table that is there, and the tables of ours beside it that are there."""

    schema: str
    name: str
    columns: dict[str, str]
    """Their types, by name."""
    keys: list[str]
    archive: sql.Identifier | None
    old_type: str | None
    """Of the values in the archive."""
    made: sql.Identifier | None
    steps: sql.Identifier | None

    @property
    def ident(self) -> sql.Identifier:
        return sql.Identifier(self.schema, self.name)

    def same_key(self, row: str, archive: str) -> sql.Composed:
        """Whether a row and an entry of the archive belong together."""
        return sql.SQL(" AND ").join(
            sql.SQL("{} = {}").format(sql.Identifier(archive, f"key{place}"), sql.Identifier(row, name))
            for place, name in enumerate(self.keys, start=1)
        )


def look(connection: psycopg.Connection, migration: Migration, name: str | None = None) -> Seen | None:
    """One of the described tables, that of flows without a name; None where it is not there."""
    flows = find_table(connection, migration.flows.name)
    found = flows if name is None else find_table(connection, name)
    if found is None or flows is None:
        return None
    oid, schema, table, _ = found
    names = Counter(parts(one.name)[1] for one in migration.tables)
    archive = own_name("archive", tag(schema, table, is_shared=names[table] > 1))
    wanted = [archive, f"{OURS}_made", f"{OURS}_steps"]
    own = dict(connection.execute(_OWN, [flows[1], wanted]).fetchall())
    idents = [sql.Identifier(flows[1], one) if one in own else None for one in wanted]
    columns = dict(connection.execute(_COLUMNS, [oid]).fetchall())
    keys = [row[0] for row in connection.execute(_KEYS, [oid])]
    return Seen(schema, table, columns, keys, idents[0], own.get(archive), idents[1], idents[2])


def as_id(text: str, kind: str) -> Any:
    """A text as an id of a column's type; None where it cannot be one."""
    if kind == "uuid":
        try:
            return uuid.UUID(text)
        except ValueError:
            return None
    if kind in LARGEST:
        return int(text) if re.fullmatch(NUMBER, text) and int(text) <= LARGEST[kind] else None
    return text
