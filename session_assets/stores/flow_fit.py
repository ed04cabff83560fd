"""Whether the description fits the database: each table and column that it names is there, and of a kind that works."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg

from session_assets.errors import UsageError
from session_assets.flow.description import Described
from session_assets.flow.model import CONTRACT
from session_assets.flow.obstacle import Obstacle
from session_assets.flow.table_names import parts, written
from session_assets.stores.flow_catalog import Table, find_table, read_table
from session_assets.stores.flow_rights import PAGE
from session_assets.stores.flow_steps import steps_of

Tables = dict[str, Table]
"""Those that are there, by their written name."""
_USAGE = """
    SELECT has_schema_privilege(oid, 'USAGE'), quote_ident(nspname), quote_ident(current_user) FROM pg_namespace
    WHERE nspname = %s
"""
_SIMILAR = """
    SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE lower(c.relname) = lower(%s) AND c.relkind IN ('r', 'p') AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
    ORDER BY 1, 2 LIMIT 5
"""


def unfit_parts(connection: psycopg.Connection, described: Described) -> tuple[list[Obstacle], Tables]:
    """What the description names and the database has not, each with the place to change; and the tables that are there."""
    migration, tables = described.migration, Tables()
    found = list[Obstacle]()
    named = [("sessions", migration.sessions.name), ("flows", migration.flows.name)]
    paths: list[tuple[tuple[str | int, ...], str]] = [((part,), name) for part, name in named]
    paths += [(("linked", number), one.name) for number, one in enumerate(migration.linked)]
    seen: dict[int, str] = {}
    for path, name in paths:
        where = described.where(*path, "table")
        if closed := _closed(connection, name):
            found += [closed] if closed not in found else []
            continue
        table = find_table(connection, name)
        if table is None:
            found.append(Obstacle(name, "the database has no such table", _similar(connection, name, where)))
            continue
        if table[0] in seen:
            found.append(
                Obstacle(name, f"it is the table {seen[table[0]]}, which is described already", f"Change {where}")
            )
        seen[table[0]] = name
        try:
            tables[name] = read_table(connection, written(table[1], table[2]))
        except UsageError as error:
            found.append(Obstacle(name, str(error).rstrip("."), f"Change {where}"))
    found += _columns(connection, described, tables)
    return found, tables


def _closed(connection: psycopg.Connection, name: str) -> Obstacle | None:
    """The schema of a table, if the account may not look into it: asking for the table would fail then."""
    row = connection.execute(_USAGE, [parts(name)[0]]).fetchone()
    if row is None or row[0]:
        return None
    schema, role = row[1:]
    return Obstacle(
        f"schema {schema}", f"the account {role} lacks USAGE on it, so nothing in it can be seen",
        f"GRANT USAGE ON SCHEMA {schema} TO {role} ({PAGE})",
    )  # fmt: skip


def _similar(connection: psycopg.Connection, name: str, where: str) -> str:
    rows = connection.execute(_SIMILAR, [parts(name)[1]]).fetchall()
    if not rows:
        return f"Change {where}, or correct the database that FLOW_DATABASE_URL names"
    return f"Change {where}: there is {' and '.join(written(*row) for row in rows)}"


def _columns(connection: psycopg.Connection, described: Described, tables: Tables) -> Iterator[Obstacle]:
    migration = described.migration
    sessions, flows = migration.sessions, migration.flows
    steps = steps_of(connection, migration) if flows.name in tables else None
    is_begun = steps is not None and steps.newest(CONTRACT) is not None  # old columns may be gone then
    given: list[tuple[str, str | None, tuple[str | int, ...], str]] = [
        (sessions.name, sessions.key, ("sessions", "key"), ""),
        (sessions.name, sessions.title, ("sessions", "title"), ""),
        (sessions.name, sessions.created, ("sessions", "created"), ""),
        (flows.name, flows.flow, ("flows", "flow"), ""),
        (flows.name, flows.created, ("flows", "created"), ""),
        (flows.name, flows.status, ("flows", "status"), ""),
        (flows.name, None if is_begun else flows.session, ("flows", "session"), ""),
    ]
    for number, one in enumerate(flows.scope):
        given.append((flows.name, one, ("flows", "scope", number), ""))
        given.append((sessions.name, one, ("flows", "scope", number), "a flow that is made takes it from its session"))
    if described.file is not None:  # of the built-in ones, those that a table has are filled
        given += [(flows.name, one, ("flows", "uuids", number), "") for number, one in enumerate(flows.uuids)]
        given += [(flows.name, one, ("flows", "literals", one), "") for one in flows.literals]
        given.append((flows.name, flows.titled[0] or None, ("flows", "titled", "column"), ""))
    for number, one in enumerate(migration.linked):
        path = ("linked", number)
        given.append((one.name, None if is_begun else one.old, (*path, "old"), ""))
        if one.fate == "archive" and one.named:
            given.append((one.name, one.flow, (*path, "flow"), "fate archive adds none"))
        if one.fallback is not None:
            given.append((one.name, one.fallback, (*path, "fallback"), ""))
            given += [
                (one.name, name, (*path, "fallback"), "a row without session is given the latest flow of its scope")
                for name in flows.scope
            ]
    for name, column, path, reason in given:
        table = tables.get(name)
        if table is not None and column is not None and column not in table.columns:
            yield _missing(name, table, column, described.where(*path), reason)
    for name, table in tables.items():
        if name != sessions.name and not table.key:
            yield Obstacle(name, "it has no primary key: rows could not be told apart", "Give it one")


def _missing(name: str, table: Table, column: str, where: str, reason: str) -> Obstacle:
    like = [one for one in table.columns if one.lower() == column.lower()]
    columns = ", ".join(like or list(table.columns)[:12])
    why = f"the table has no such column{f': {reason}' if reason else ''}"
    return Obstacle(f"{name}.{column}", why, f"Change {where}: there is {columns}")
