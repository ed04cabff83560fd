"""Figures of the database that the metrics need, counted with SQL in one read-only transaction.

Each is None where the schema does not give it, where nothing happened, or where counting would take too long.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, LiteralString

import psycopg
from psycopg import errors, sql

from session_assets.flow.model import Migration
from session_assets.flow.table_names import quoted
from session_assets.stores.flow_compat_tables import Seen, look
from session_assets.stores.flow_layout import q
from session_assets.stores.postgres import Database

COUNTED = (
    "migration_errors", "foreign_key_violations", "flow_creation_success_rate", "discovery_flow_completion_rate",
    "data_import_success_rate", "user_session_continuity",
)  # fmt: skip
"""Metrics that the database gives."""
FAULTS = ("migration_errors", "foreign_key_violations")
"""Those of them that count what the database itself shows: nobody else can say that there are fewer."""
_DAYS, _SECONDS = 365_000, 2_000_000  # what PostgreSQL can count with
_KEYS = """
    SELECT k.conname, k.conrelid::regclass::text, k.confrelid::regclass::text, k.convalidated, n.nspname, c.relname, fn.nspname,
           f.relname,
           ARRAY(SELECT a.attname FROM unnest(k.conkey) WITH ORDINALITY u (number, place)
                 JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = u.number ORDER BY u.place),
           ARRAY(SELECT a.attname FROM unnest(k.confkey) WITH ORDINALITY u (number, place)
                 JOIN pg_attribute a ON a.attrelid = k.confrelid AND a.attnum = u.number ORDER BY u.place)
    FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid JOIN pg_namespace n ON n.oid = c.relnamespace
    JOIN pg_class f ON f.oid = k.confrelid JOIN pg_namespace fn ON fn.oid = f.relnamespace
    WHERE k.contype = 'f' AND k.conrelid = ANY (ARRAY(SELECT to_regclass(name) FROM unnest(%s::text[]) name))
    ORDER BY 2, 1
"""
_THERE: LiteralString = "SELECT count(to_regclass(name)) FROM unnest(%s::text[]) name"
_STEPS: LiteralString = """
    SELECT kind, state, extract(epoch FROM coalesce(finished_at, now()) - started_at)::float8 FROM {steps}
    WHERE state = 'failed' OR started_at > now() - make_interval(days => %s) ORDER BY started_at DESC
"""


@dataclass
class Figures:
    """Values by metric, and a note on those that need one. `steps`: kind, state and seconds of each, the newest first."""

    values: dict[str, float | None] = field(default_factory=dict[str, float | None])
    notes: dict[str, str] = field(default_factory=dict[str, str])
    steps: list[tuple[str, str, float]] = field(default_factory=list[tuple[str, str, float]])


def figures(database: Database, days: int, seconds: float, migration: Migration) -> Figures:
    """Count over the last so many days; each figure may take so many seconds. One that is refused leaves the others."""
    days, seconds = min(days, _DAYS), min(max(seconds, 0.001), _SECONDS)
    result = Figures()
    with database.connected("session_assets metrics") as connection:
        connection.execute("SET default_transaction_read_only = on")
        connection.execute(sql.SQL("SET statement_timeout = {}").format(sql.Literal(int(seconds * 1000))))
        counts: dict[str, Callable[[], tuple[float | None, str]]] = {
            "migration_errors": lambda: _migration(look(connection, migration), connection, days, result),
            "foreign_key_violations": lambda: _violations(connection, migration),
            "flow_creation_success_rate": lambda: _created(connection, migration, days),
            "discovery_flow_completion_rate": lambda: _finished(
                connection, migration, migration.flows.name, migration.flows.created, migration.flows.status, days
            ),
            "data_import_success_rate": lambda: _finished(
                connection, migration, migration.sessions.name, migration.sessions.created, "status", days
            ),
            "user_session_continuity": lambda: _continued(connection, migration),
        }
        for name, count in counts.items():
            try:
                result.values[name], result.notes[name] = count()
            except errors.QueryCanceled:
                result.values[name], result.notes[name] = None, f"counting took longer than {seconds:g} s"
            except (psycopg.ProgrammingError, psycopg.DataError, errors.LockNotAvailable) as error:
                result.values[name], result.notes[name] = None, str(database.explained(error)).rstrip(".")
    return result


def _migration(
    flows: Seen | None, connection: psycopg.Connection, days: int, result: Figures
) -> tuple[float | None, str]:
    if flows is None or flows.steps is None:
        return None, "no step of the migration was run on this database"
    query = q(_STEPS, steps=flows.steps)
    result.steps = [(str(kind), str(state), float(spent)) for kind, state, spent in connection.execute(query, [days])]
    if not result.steps and not _number(connection, q("SELECT count(*) FROM {steps}", steps=flows.steps)):
        return None, "no step of the migration is recorded in this database"
    failed = [kind for kind, state, _ in result.steps if state == "failed"]
    return len(failed), ", ".join(sorted(set(failed)))


def _violations(connection: psycopg.Connection, migration: Migration) -> tuple[float | None, str]:
    """Rows without what their foreign key names, also where the key was not validated."""
    tables = [quoted(one.name) for one in migration.tables]
    if not _number(connection, sql.SQL(_THERE), [tables]):
        return None, "the database has none of the tables"
    total, rows, notes = 0, 0, list[str]()
    for name, table, _, is_valid, *places, own, theirs in connection.execute(_KEYS, [tables]).fetchall():
        count = _broken(connection, places, own, theirs)
        total += count
        rows += _number(connection, sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(*places[:2])))
        if count or not is_valid:
            notes.append(f"{table}.{name}: {count:,}" + ("" if is_valid else ", not validated"))
    if not rows:
        return None, "the tables have no foreign keys, or hold no rows"
    return total, "; ".join(notes)


def _broken(connection: psycopg.Connection, places: list[str], own: list[str], theirs: list[str]) -> int:
    given = sql.SQL(" AND ").join(sql.SQL("t.{} IS NOT NULL").format(sql.Identifier(one)) for one in own)
    same = sql.SQL(" AND ").join(
        sql.SQL("r.{} = t.{}").format(sql.Identifier(b), sql.Identifier(a)) for a, b in zip(own, theirs, strict=True)
    )
    query = sql.SQL("SELECT count(*) FROM {} t WHERE {} AND NOT EXISTS (SELECT FROM {} r WHERE {})").format(
        sql.Identifier(*places[:2]), given, sql.Identifier(*places[2:]), same
    )
    return _number(connection, query)


def _created(connection: psycopg.Connection, migration: Migration, days: int) -> tuple[float | None, str]:
    """The share of new import sessions that have a flow; the schema tells before contract only."""
    flows, sessions = look(connection, migration), look(connection, migration, migration.sessions.name)
    created = migration.sessions.created
    if flows is None or sessions is None or migration.flows.session not in flows.columns:
        return None, "after contract the tables do not tell which flow an import began"
    if created not in sessions.columns:
        return None, f"{migration.sessions.name} does not tell when a session came"
    query = q(
        "SELECT count(*), count(*) FILTER (WHERE EXISTS (SELECT FROM {flows} f WHERE f.{session} = s.{key}))"
        " FROM {sessions} s WHERE s.{created} > now() - make_interval(days => {days})",
        flows=flows.ident, session=migration.flows.session, sessions=sessions.ident, key=migration.sessions.key,
        created=created or "", days=sql.Literal(days),
    )  # fmt: skip
    return _share(connection, query, f"no import session in {days} days")


def _finished(
    connection: psycopg.Connection, migration: Migration, name: str, created: str | None, status: str, days: int
) -> tuple[float | None, str]:
    """The share of completed rows among those that ended."""
    seen = look(connection, migration, name)
    if seen is None or status not in seen.columns or created not in seen.columns:
        return None, f"{name} has no status"
    query = q(
        "SELECT count(*), count(*) FILTER (WHERE ended IN ('completed', 'complete', 'success', 'succeeded'))"
        " FROM (SELECT lower({status}::text) ended FROM {table} WHERE {created} > now() - make_interval(days => {days})) flows"
        " WHERE ended IN ('completed', 'complete', 'success', 'succeeded', 'failed', 'error', 'cancelled', 'aborted')",
        status=status, table=seen.ident, created=created or "", days=sql.Literal(days),
    )  # fmt: skip
    return _share(connection, query, f"nothing in {name} ended that began in {days} days")


def _continued(connection: psycopg.Connection, migration: Migration) -> tuple[float | None, str]:
    """The share of import sessions, that have a flow: all before contract, after it those that were there then."""
    flows, sessions = look(connection, migration), look(connection, migration, migration.sessions.name)
    if sessions is None:
        return None, f"the database has no {migration.sessions.name}"
    which: sql.Composable = sql.SQL("")
    key, own = sql.Identifier("s", migration.sessions.key), migration.flows.session
    if flows is not None and own in flows.columns:
        place = q("{flows} f WHERE f.{own} = {key}", flows=flows.ident, own=own, key=key)
    elif flows is not None and flows.archive is not None:
        place = q("{archive} a WHERE a.old_value = {key}", archive=flows.archive, key=key)
        which = _until_contract(flows, sessions, migration.sessions.created)
    else:
        return None, f"{migration.flows.name} has neither {own} nor its archive"
    query = q(
        "SELECT count(*), count(*) FILTER (WHERE EXISTS (SELECT FROM {place})) FROM {sessions} s{which}",
        place=place, sessions=sessions.ident, which=which,
    )  # fmt: skip
    return _share(connection, query, "there is no import session")


def _until_contract(flows: Seen, sessions: Seen, created: str | None) -> sql.Composable:
    """A session that came after contract needs no flow of its own."""
    if flows.steps is None or created is None or created not in sessions.columns:
        return sql.SQL("")
    return q(
        " WHERE s.{created} IS NULL OR s.{created} <= coalesce((SELECT max(started_at) FROM {steps} WHERE kind = 'contract'"
        " AND state = 'completed'), 'infinity')",
        created=created, steps=flows.steps,
    )  # fmt: skip


def _share(connection: psycopg.Connection, query: sql.Composed, none: str) -> tuple[float | None, str]:
    whole, part = connection.execute(query).fetchone() or (0, 0)
    return (part / whole, f"{part:,} of {whole:,}") if whole else (None, none)


def _number(connection: psycopg.Connection, query: sql.SQL | sql.Composed, values: list[Any] | None = None) -> int:
    found = connection.execute(query, values).fetchone()
    return int(found[0]) if found else 0
