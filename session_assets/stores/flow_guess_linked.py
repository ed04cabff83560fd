"""The linked tables of a proposal: columns that point at sessions by key, by name, and by what they hold."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import errors, sql

from session_assets.flow.description_model import QUESTION
from session_assets.flow.proposal import Part
from session_assets.stores.flow_guess_catalog import Col, Tab
from session_assets.stores.flow_ids import converted
from session_assets.stores.flow_layout import q
from session_assets.stores.flow_types import can_be_compared, is_text

_SAMPLE = 1000
_LONGEST = "30s"
_HELD = """
    SELECT count(*), count(*) FILTER (WHERE EXISTS (SELECT FROM {sessions} s WHERE s.{key} = {as_session})),
           count(*) FILTER (WHERE EXISTS (SELECT FROM {flows} f WHERE f.{flow} = {as_flow}))
    FROM (SELECT t.{column} AS v FROM {table} t WHERE t.{column} IS NOT NULL LIMIT {sample}) t
"""


@dataclass(frozen=True)
class Linking:
    """What is known of sessions and flows when linked tables are looked for."""

    connection: psycopg.Connection
    sessions: Tab
    key: str
    flows: Tab
    flow: str
    names: set[str]
    """What columns are called that point at sessions."""
    scope: list[str]

    @property
    def is_known(self) -> bool:
        return self.flow in self.flows.columns

    @property
    def key_column(self) -> Col:
        return self.sessions.columns[self.key]

    def held(self, table: Tab, column: str) -> tuple[int, int, int]:
        """Of a sample of values: how many there are, how many are sessions, and how many are flows."""
        kind, none = table.columns[column].type, sql.SQL("NULL")
        value = sql.Identifier("t", "v")
        as_session, as_flow = none, none
        if can_be_compared(kind, self.key_column.type):
            as_session = converted(value, kind, self.key_column.type)
        flow = self.flows.columns[self.flow] if self.is_known else None
        if flow is not None and can_be_compared(kind, flow.type):
            as_flow = converted(value, kind, flow.type)
        row = self._asked(
            q(_HELD, sessions=self.sessions.ident, key=self.key, flows=self.flows.ident, as_session=as_session, as_flow=as_flow,
              flow=self.flow if flow is not None else self.flows.unique[0], column=column, table=table.ident,
              sample=sql.Literal(_SAMPLE))
        )  # fmt: skip
        return (0, 0, 0) if row is None else (row[0], row[1], row[2])

    def has_unnamed(self, table: Tab, column: str) -> bool:
        if table.columns[column].not_null:
            return False
        row = self._asked(
            q("SELECT EXISTS (SELECT FROM {table} WHERE {column} IS NULL)", table=table.ident, column=column)
        )
        return row is None or row[0]

    def _asked(self, query: sql.Composed) -> tuple[Any, ...] | None:
        """The answer to a query, None where it takes too long: a person is asked then."""
        try:
            with self.connection.transaction():
                self.connection.execute(sql.SQL("SET LOCAL statement_timeout = {}").format(sql.Literal(_LONGEST)))
                return self.connection.execute(query).fetchone()
        except errors.QueryCanceled:
            return None


def linked_parts(linking: Linking, tables: dict[str, Tab]) -> tuple[list[list[Part]], list[str]]:
    """The parts of each linked table, and what was left out with the reason."""
    found, left_out = list[list[Part]](), list[str]()
    for one in tables.values():
        if one is linking.flows:
            continue
        keys = [name for name, target in one.keys.items() if target == (linking.sessions.name, linking.key)]
        left_out += [
            f"{one.name}.{name}: it points at {theirs} of {table}, not at {linking.key}"
            for name, (table, theirs) in one.keys.items()
            if table == linking.sessions.name and theirs != linking.key
        ]
        named = [
            name
            for name in one.columns
            if (name in linking.names or name.lower().endswith("_session_id")) and name not in one.keys
        ]
        if one is linking.sessions:
            left_out += [f"{one.name}.{name}: it points at its own table, which stays" for name in keys]
            continue
        if keys or named:
            parts, why = _table(linking, one, keys, named)
            found += [parts] if parts else []
            left_out += why
    return found, left_out


def _table(linking: Linking, table: Tab, keys: list[str], named: list[str]) -> tuple[list[Part], list[str]]:
    candidates, left_out, held = list(keys), list[str](), dict[str, tuple[int, int, int]]()
    for name in (*keys, *named):
        held[name] = linking.held(table, name)
        if name in keys:
            continue
        number, sessions, flows = held[name]
        if number and not sessions and not flows:
            left_out.append(f"{table.name}.{name}: none of {number} values is a session or a flow")
        else:
            candidates.append(name)
    if not candidates:
        return [], left_out
    if table.is_partitioned:
        return [], [*left_out, f"{table.name}.{candidates[0]}: the table is partitioned, or a partition"]
    old = candidates[0]
    why = "a foreign key" if old in keys else "by its name"
    number, sessions, flows = held[old]
    if number:
        why += f"; of {number} values {sessions} are sessions" + (f" and {flows} are flows" if flows else "")
    parts = [Part("table", table.name)]
    if len(candidates) > 1:
        parts.append(
            Part(
                "old", QUESTION, f"which of {', '.join(candidates)} points at sessions? One of a table can be followed"
            )
        )
    else:
        parts.append(Part("old", old, why))
    return [*parts, *_fate(linking, table, old, held[old], is_sure=old in keys)], left_out


def _fate(linking: Linking, table: Tab, old: str, held: tuple[int, int, int], *, is_sure: bool) -> list[Part]:
    number, _, flows = held
    column = table.columns[old]
    flow = next(
        (name for name, target in table.keys.items() if target == (linking.flows.name, linking.flow)), linking.flow
    )
    there = table.columns.get(flow)
    kind = linking.flows.columns[linking.flow].type if linking.is_known else ""
    parts = list[Part]()
    if not number and not is_sure:
        parts.append(
            Part(
                "fate",
                QUESTION,
                "it has this name only, and no value to look at: archive, fill, replace, or no linked table?",
            )
        )
        fate = QUESTION
    elif there is not None and there.not_null:
        fate = "archive"
        parts.append(Part("fate", fate, f"{flow} is NOT NULL, so there is nothing to fill"))
    elif there is None and is_text(column.type) and not is_text(kind):
        fate = "replace"
        parts.append(Part("fate", fate, f"the ids are {column.type}: a column {flow} of this type takes the place"))
    else:
        fate = "fill"
        key = "; contract makes a foreign key of it if you add on_delete: SET NULL, or NO ACTION"
        told = f"{flow} is {'there' if there else 'added'}, and is filled where it is empty"
        parts.append(Part("fate", fate, told + (key if flow not in table.keys else "")))
    parts.append(Part("flow", flow))
    if not is_sure and flows:
        parts.append(Part("holds_flow_ids", True, f"{flows} of {number} values are flows already"))
    if fate in ("fill", "replace", QUESTION):
        parts += _fallback(linking, table, old)
    if there is not None and flow not in table.keys:
        parts += _named(linking, table, flow)
    return parts


def _fallback(linking: Linking, table: Tab, old: str) -> list[Part]:
    times = [one.name for one in table.columns.values() if one.is_time]
    if (
        not linking.scope
        or not times
        or not set(linking.scope) <= table.columns.keys()
        or not linking.has_unnamed(table, old)
    ):
        return []
    question = (
        f"there are rows without session. May such a row take the latest flow of its {' and '.join(linking.scope)} that is no"
        f" younger than the row? Then name its time ({' or '.join(times)}), else null"
    )
    return [Part("fallback", QUESTION, question)]


def _named(linking: Linking, table: Tab, flow: str) -> list[Part]:
    """Whether each flow id names a flow: by the ids that are there."""
    number, _, flows = linking.held(table, flow)
    if not number:
        return [Part("named", True, f"{flow} is empty so far; write false if it may name flows that are gone")]
    if flows < number:
        return [Part("named", False, f"{number - flows} of {number} values of {flow} are no flow")]
    return [Part("named", True, f"all of {number} values of {flow} are flows")]
