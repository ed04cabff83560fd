"""The described schema as a database has it: identifiers, types, and the expressions that find the flow of a row."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any, LiteralString

import psycopg
from psycopg import sql

from session_assets.errors import UsageError
from session_assets.flow.model import DESCRIBE, Linked, Migration
from session_assets.flow.table_names import parts, written
from session_assets.stores.flow_catalog import OURS, Table, dependents, fingerprint, hidden_rows, read_tables
from session_assets.stores.flow_ids import converted, matches, rule
from session_assets.stores.flow_own_names import own_name, tag
from session_assets.stores.flow_types import can_be_compared, is_time, length

Fragment = sql.Composable
REMADE_ARCHIVE = "remade_archive"
"""Kind of a remembered object: an archive that was made again after somebody dropped the one that a backfill had written."""
_UUID = 36  # characters of one as a text


def q(text: LiteralString, /, **parts: Fragment | str) -> sql.Composed:
    """SQL of a text; parts that are strings are identifiers."""
    return sql.SQL(text).format(
        **{name: sql.Identifier(part) if isinstance(part, str) else part for name, part in parts.items()}
    )


def raw(text: str) -> sql.SQL:
    """SQL that the catalogue gave, such as the name of a type."""
    return sql.SQL(text)  # pyright: ignore[reportArgumentType]


class Place:
    """One table with an old column."""

    def __init__(self, layout: Layout, linked: Linked, table: Table, archive: Table | None) -> None:
        self.layout, self.linked, self.table, self.archive_table = layout, linked, table, archive
        self.name = linked.name
        self.ident = sql.Identifier(table.schema, table.name)
        self.tag = layout.tag(table)
        self.archive = layout.own(own_name("archive", self.tag))
        self.keys = [one.name for one in table.key]
        self.archive_keys = [f"key{number}" for number in range(1, len(self.keys) + 1)]
        self.has_old = linked.old in table.columns
        self.has_flow = linked.flow in table.columns
        self.follows = linked.fate != "archive"

    @property
    def old_type(self) -> str:
        """The type of the old column, also when it is gone."""
        if self.has_old:
            return self.table.columns[self.linked.old].type
        if self.archive_table is not None:
            return self.archive_table.columns["old_value"].type
        raise UsageError(f"{self.name} has no column {self.linked.old}. {DESCRIBE}.")

    @property
    def flow_type(self) -> str:
        """The type of the flow column, also when it is not there yet."""
        if self.has_flow:
            return self.table.columns[self.linked.flow].type
        return self.old_type if self.linked.fate == "replace" else self.layout.flow_type

    @property
    def rule(self) -> str:
        """How values of the old column are compared with sessions."""
        return rule(self.old_type, self.layout.session_type, self.layout.key_type)

    @property
    def odd_session(self) -> str:
        """Why values of the old column cannot be compared with sessions; empty where they can."""
        layout = self.layout
        if can_be_compared(self.old_type, layout.session_type):
            return ""
        flows = layout.migration.flows
        where = f"{self.name}.{self.linked.old} is {self.old_type}"
        return f"{where} and {flows.name}.{flows.session} is {layout.session_type}, which cannot be compared"

    @property
    def odd_flow(self) -> str:
        """Why values of the flow column cannot be compared with flows; empty where they can."""
        layout = self.layout
        flows = layout.migration.flows
        where = f"{self.name}.{self.linked.flow} is {self.flow_type}"
        if layout.flow_type == "uuid" and (length(self.flow_type) or _UUID) < _UUID and self.follows:
            return f"{where}, which is too short for {flows.name}.{flows.flow}: an id has {_UUID} characters"
        if can_be_compared(self.flow_type, layout.flow_type):
            return ""
        return f"{where} and {flows.name}.{flows.flow} is {layout.flow_type}, which cannot be compared"

    @property
    def misunderstood(self) -> list[str]:
        """Types of this table that are not understood."""
        time = self.linked.fallback
        odd = [] if time is None or is_time(self.table.columns[time].type) else [
            f"{self.name}.{time} is {self.table.columns[time].type}, which is no time"
        ]  # fmt: skip
        return [*filter(None, [self.odd_session, self.odd_flow]), *odd]

    def key_list(self, alias: str, *, of_archive: bool = False) -> sql.Composed:
        """`a.k1, a.k2`."""
        names = self.archive_keys if of_archive else self.keys
        return sql.SQL(", ").join(sql.Identifier(alias, name) for name in names)

    def same_key(self, alias: str, archive: str) -> sql.Composed:
        """Whether a row and an entry of the archive belong together."""
        pairs = zip(self.keys, self.archive_keys, strict=True)
        return sql.SQL(" AND ").join(
            sql.SQL("{} = {}").format(sql.Identifier(alias, a), sql.Identifier(archive, b)) for a, b in pairs
        )

    def key_text(self, alias: str, *, of_archive: bool = False) -> sql.Composed:
        """A key as a text for people and lists."""
        names = self.archive_keys if of_archive else self.keys
        if len(names) == 1:
            return q("{}::text".replace("{}", "{key}"), key=sql.Identifier(alias, names[0]))  # pyright: ignore[reportArgumentType]
        return q("jsonb_build_array({keys})::text", keys=self.key_list(alias, of_archive=of_archive))

    # -- expressions about a row -----------------------------------------------------------------------------------------

    def mapped(self, value: Fragment) -> sql.Composed:
        """The flow of a session, in the type of the flow column; null where it has none."""
        layout = self.layout
        ours = q("EXISTS (SELECT FROM {made} m WHERE m.flow_id = f.{flow}), ", made=layout.made, flow=layout.flow) \
            if layout.has_made else sql.SQL("")  # fmt: skip
        found = q(
            "(SELECT f.{flow} FROM {flows} f WHERE {same} ORDER BY {ours}f.{created}, f.{flow} LIMIT 1)",
            flow=layout.flow, flows=layout.flows_ident, ours=ours, same=self.of_session("f", value),
            created=layout.migration.flows.created,
        )  # fmt: skip
        return self.as_flow(found)

    def named(self, value: Fragment) -> sql.Composed:
        """The flow whose id a value is already."""
        layout = self.layout
        found = q(
            "(SELECT f.{flow} FROM {flows} f WHERE {same} ORDER BY 1 LIMIT 1)", flow=layout.flow, flows=layout.flows_ident,
            same=matches(sql.Identifier("f", layout.flow), layout.flow_type, value, self.old_type,
                         rule(self.old_type, layout.flow_type)),
        )  # fmt: skip
        return self.as_flow(found)

    def of_session(self, alias: str, value: Fragment) -> sql.Composed:
        """Whether a flow is of the session that a value of the old column names."""
        layout = self.layout
        column = sql.Identifier(alias, layout.migration.flows.session)
        return matches(column, layout.session_type, value, self.old_type, self.rule)

    def followed(self, value: Fragment) -> sql.Composed:
        """What a value of the old column leads to."""
        if not self.linked.holds_flow_ids:
            return self.mapped(value)
        return q("COALESCE({mapped}, {named})", mapped=self.mapped(value), named=self.named(value))

    def fallback(self, alias: str) -> sql.Composed:
        """The latest flow of a row's scope that is no younger than the row. Flows that we made stand for their session only."""
        if self.linked.fallback is None:
            return q("CAST(NULL AS {type})", type=raw(self.flow_type))
        layout = self.layout
        ours = q(" AND NOT EXISTS (SELECT FROM {made} m WHERE m.flow_id = f.{flow})", made=layout.made, flow=layout.flow) \
            if layout.has_made else sql.SQL("")  # fmt: skip
        scope = sql.SQL(" AND ").join(
            sql.SQL("f.{0} = {1}").format(sql.Identifier(one), sql.Identifier(alias, one))
            for one in layout.migration.flows.scope
        )
        found = q(
            "(SELECT f.{flow} FROM {flows} f WHERE {scope} AND f.{created} <= {time}{ours}"
            " ORDER BY f.{created} DESC, f.{flow} LIMIT 1)",
            flow=layout.flow, flows=layout.flows_ident, scope=scope, created=layout.migration.flows.created, ours=ours,
            time=sql.Identifier(alias, self.linked.fallback),
        )  # fmt: skip
        return self.as_flow(found)

    def as_flow(self, value: Fragment) -> sql.Composed:
        return converted(value, self.layout.flow_type, self.flow_type)


class Layout:
    """All described tables, read once. Raises `UsageError` for what cannot be migrated."""

    def __init__(self, connection: psycopg.Connection, migration: Migration) -> None:
        self.migration = migration
        named = [migration.flows.name, migration.sessions.name, *(one.name for one in migration.linked)]
        tables = read_tables(connection, named)
        flows = tables[migration.flows.name]
        self.flows, self.sessions = flows, tables[migration.sessions.name]
        self.schema = flows.schema
        self.flow = migration.flows.flow
        self.flows_ident = sql.Identifier(flows.schema, flows.name)
        self.sessions_ident = sql.Identifier(self.sessions.schema, self.sessions.name)
        self.made = self.own(f"{OURS}_made")
        self._names = Counter(parts(one.name)[1] for one in migration.tables)
        self._need(flows, migration.flows.flow, migration.flows.created, migration.flows.status, *migration.flows.scope)
        self._need(self.sessions, migration.sessions.key, migration.sessions.title)
        self.key_type = self.sessions.columns[migration.sessions.key].type
        archives = {
            one.name: written(self.schema, own_name("archive", self.tag(tables[one.name]))) for one in migration.tables
        }
        made = written(self.schema, f"{OURS}_made")
        ours = read_tables(connection, [*archives.values(), made], required=False)
        self.places = [self._place(one, tables[one.name], ours.get(archives[one.name])) for one in migration.tables]
        self.has_made = made in ours
        self.made_session = "session_id" if self.has_made and "session_id" in ours[made].columns else "session"
        """The column of sessions in the table of made flows: earlier versions named it as the columns that contract drops."""
        self.flow_type = flows.columns[self.flow].type
        self.session_type = self.places[0].old_type
        self.rule = rule(self.session_type, self.key_type)
        self.misunderstood = list(self._misunderstood())
        self.obstacles = [*self.misunderstood, *(one for place in self.places for one in place.misunderstood)]
        self.obstacles += _obstacles(connection, [one for one in self.places if one.has_old])
        self.obstacles += hidden_rows(connection, self.tables)
        if not any(one.columns == [self.flow] and one.is_valid for one in _unique(flows)):
            self.obstacles.append(f"{migration.flows.name}.{self.flow} is not unique")

    def _misunderstood(self) -> Iterator[str]:
        """Types of columns that all others are compared with, where they are not understood."""
        sessions, flows = self.migration.sessions, self.migration.flows
        key = self.sessions.columns[sessions.key].type
        if not can_be_compared(key, self.session_type):
            yield (
                f"{flows.name}.{flows.session} is {self.session_type} and {sessions.name}.{sessions.key} is {key},"
                " which cannot be compared"
            )
        for table, name in ((self.flows, flows.created), (self.sessions, sessions.created)):
            if name is not None and name in table.columns and not is_time(table.columns[name].type):
                yield f"{table.name}.{name} is {table.columns[name].type}, which is no time"

    def tag(self, table: Table) -> str:
        """What objects of ours that belong to a table are called after: its name, unique also where another schema has it."""
        return tag(table.schema, table.name, is_shared=self._names[table.name] > 1)

    def own(self, name: str) -> sql.Identifier:
        """An object of ours, in the schema of the flows."""
        return sql.Identifier(self.schema, name)

    @property
    def tables(self) -> list[Table]:
        return [self.sessions, *(one.table for one in self.places)]

    @property
    def fingerprint(self) -> str:
        return fingerprint(self.tables)

    @property
    def followed(self) -> list[Place]:
        """Places whose rows get flow ids."""
        return [one for one in self.places if one.follows]

    def _place(self, linked: Linked, table: Table, archive: Table | None) -> Place:
        place = Place(self, linked, table, archive)
        if not place.keys:
            raise UsageError(f"{linked.name} has no primary key: rows could not be told apart. Give it one.")
        if not place.has_old and archive is None:
            raise UsageError(
                f"{linked.name} has neither its column {linked.old} nor its archive {own_name('archive', self.tag(table))}. If"
                " the migration was contracted here, somebody dropped the archive: restore it from a backup. Else:"
                f" {DESCRIBE}."
            )
        if linked.fate == "archive":
            self._need(table, *([linked.flow] if linked.named else []))
        if linked.fallback is not None:
            self._need(table, linked.fallback, *self.migration.flows.scope)
        return place

    @staticmethod
    def _need(table: Table, *names: str) -> None:
        for name in names:
            if name not in table.columns:
                raise UsageError(f"{table.name} has no column {name}. {DESCRIBE}.")


def _unique(table: Table) -> list[Any]:
    constraints = [one for one in table.constraints if one.kind in ("p", "u")]
    indexes = [one for one in table.indexes if " UNIQUE INDEX " in one.definition and not one.is_partial]
    return [*constraints, *indexes]


def _obstacles(connection: psycopg.Connection, places: list[Place]) -> list[str]:
    """Why an old column could not be dropped, or would not come back as it was."""
    found: list[str] = []
    depending = dependents(connection, *((one.table, one.linked.old) for one in places))
    for place, names in zip(places, depending, strict=True):
        old, where = place.linked.old, f"{place.name}.{place.linked.old}"
        column = place.table.columns[old]
        found += [f"{one} depends on {where}" for one in names]
        if old in place.keys:
            found.append(f"{where} is part of the primary key")
        if column.is_computed:
            found.append(f"{where} is generated")
        if column.grants:
            found.append(f"{where} has privileges of its own")
    return found
