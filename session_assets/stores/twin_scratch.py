"""A scratch database for a twin: named for who made it, closed to others, dropped at its end or, after a kill, by the next."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import psycopg
from psycopg import errors, sql

from session_assets.errors import SessionAssetsError, UsageError
from session_assets.stores.flow_layout import q, raw
from session_assets.stores.postgres import Database

VARIABLE = "FLOW_SCRATCH_URL"
PREFIX = "session_assets_twin_"
MARK = "a twin of session_assets: it may be dropped"
_YOUNG = 60  # seconds in which a twin may have no connection yet
REHEARSED = "_r"
"""Ends the name of the database that a backup of the twin is restored into."""
_NAME = re.compile(rf"{PREFIX}[0-9]+_([0-9]+)(?:{REHEARSED})?\Z")
_NEARBY = "postgres"
"""A database that most servers have: asked to make the twin, so that the one that is migrated is only read."""
_OPEN = """
    SELECT FROM pg_database
    WHERE datname = %s AND datallowconn AND has_database_privilege(datname, 'CONNECT') AND datname <> current_database()
"""
_SAME = "SELECT pg_postmaster_start_time()::text || (SELECT oid FROM pg_database WHERE datname = current_database())"
_ORPHANS = """
    SELECT d.datname FROM pg_database d
    WHERE starts_with(d.datname, %s) AND pg_has_role(d.datdba, 'USAGE') AND shobj_description(d.oid, 'pg_database') = %s
      AND NOT EXISTS (SELECT FROM pg_stat_activity a WHERE a.datid = d.oid)
"""
_FORM = "SELECT pg_encoding_to_char(encoding), datcollate, datctype FROM pg_database WHERE datname = current_database()"
_SETTINGS = """
    SELECT unnest(s.setconfig) FROM pg_db_role_setting s JOIN pg_database d ON d.oid = s.setdatabase
    WHERE d.datname = current_database() AND s.setrole IN (0, (SELECT oid FROM pg_roles WHERE rolname = current_user))
    ORDER BY s.setrole
"""
_LISTS = ("search_path", "temp_tablespaces")
"""Settings whose values are lists: quoted as a whole they would name one thing."""
_KEPT = ("search_path", "timezone", "datestyle", "intervalstyle", "bytea_output", "standard_conforming_strings")
"""Settings of a database that statements mean something else without."""


@dataclass(frozen=True)
class Scratch:
    """A twin that is empty so far. `keeper` is the connection that shows that somebody works with it."""

    database: Database
    keeper: psycopg.Connection
    name: str


@contextmanager
def scratch(real: Database, env: Mapping[str, str] | None = None) -> Iterator[Scratch]:
    """An empty database of its own, on the same server or on that of FLOW_SCRATCH_URL. Twins that a kill left are dropped first.

    Raises `UsageError` if none may be made, or FLOW_SCRATCH_URL leads to the database that is migrated.
    """
    form, settings = _read(real)
    name = f"{PREFIX}{os.getpid()}_{int(time.time())}"
    with _beside(real, os.environ if env is None else env) as (place, connection):
        sweep(connection)
        _create(connection, place, name, form)
        try:
            connection.execute(q("REVOKE ALL ON DATABASE {name} FROM PUBLIC", name=name))
            connection.execute(q("COMMENT ON DATABASE {name} IS {mark}", name=name, mark=sql.Literal(MARK)))
            for setting, value in settings:
                connection.execute(
                    q("ALTER DATABASE {name} SET {setting} = {value}", name=name, setting=raw(setting), value=value)
                )
            database = _named(place, name)
            with database.connected("twin keeper") as keeper:
                yield Scratch(database, keeper, name)
        finally:
            connection.execute(q("DROP DATABASE IF EXISTS {name} WITH (FORCE)", name=name))


def sweep(connection: psycopg.Connection) -> list[str]:
    """Drop twins that a killed command left, over a connection to another database; returns their names."""
    dropped: list[str] = []
    for (name,) in connection.execute(_ORPHANS, [PREFIX, MARK]).fetchall():
        made = _NAME.match(name)
        if made is None or time.time() - int(made[1]) < _YOUNG:
            continue
        try:
            connection.execute(q("DROP DATABASE IF EXISTS {name}", name=name))
        except errors.ObjectInUse:  # somebody has just connected: it is theirs
            continue
        dropped.append(name)
    return dropped


@contextmanager
def _beside(real: Database, env: Mapping[str, str]) -> Iterator[tuple[Database, psycopg.Connection]]:
    """A database beside the real one, from which others can be made and dropped."""
    if env.get(VARIABLE):
        place = Database.from_env(VARIABLE, env)
        with place.connected("twin maker") as connection:
            if _one(connection, _SAME) == _same(real):
                raise UsageError(
                    f"{VARIABLE} leads to the very database that is migrated. Name another database of a server where twins may"
                    f" be made, for example `postgres`, or leave {VARIABLE} out."
                )
            yield place, connection
        return
    place = _nearby(real)
    with place.connected("twin maker") as connection:
        yield place, connection


def _nearby(real: Database) -> Database:
    with real.connected("twin reading") as connection:
        is_open = connection.execute(_OPEN, [_NEARBY]).fetchone() is not None
    place = _named(real, _NEARBY)
    if not is_open:
        return real
    try:
        with place.connected("twin maker"):
            return place
    except SessionAssetsError:  # its server lets nobody in, or a pooler does not know it
        return real


def _create(connection: psycopg.Connection, place: Database, name: str, form: tuple[str, str, str]) -> None:
    encoding, collate, ctype = form
    like = q(
        "ENCODING {e} LC_COLLATE {c} LC_CTYPE {t}",
        e=sql.Literal(encoding),
        c=sql.Literal(collate),
        t=sql.Literal(ctype),
    )
    plain = q("ENCODING {e} LOCALE 'C'", e=sql.Literal(encoding))
    try:
        try:
            connection.execute(q("CREATE DATABASE {name} TEMPLATE template0 {form}", name=name, form=like))
        except (errors.WrongObjectType, errors.InvalidParameterValue, errors.ObjectNotInPrerequisiteState):
            connection.execute(q("CREATE DATABASE {name} TEMPLATE template0 {form}", name=name, form=plain))
    except errors.InsufficientPrivilege:
        raise UsageError(
            f"{place.variable}: the account may not make the scratch database on which the migration is tried. Grant it CREATEDB,"
            f" or name a server where it may: {VARIABLE}. To do without: FLOW_WAIVE_TWIN=NAME. See docs/flow/before.md."
        ) from None


def _read(real: Database) -> tuple[tuple[str, str, str], list[tuple[str, sql.Composable]]]:
    """Encoding and locale of the real database, and the settings that belong to it."""
    with real.connected("twin reading") as connection:
        form = connection.execute(_FORM).fetchone()
        assert form is not None
        settings: list[tuple[str, sql.Composable]] = []
        for (text,) in connection.execute(_SETTINGS).fetchall():
            name, _, value = text.partition("=")
            if name.lower() in _KEPT:
                settings.append((name, raw(value) if name.lower() in _LISTS else sql.Literal(value)))
    return (form[0], form[1], form[2]), settings


def _same(real: Database) -> Any:
    with real.connected("twin reading") as connection:
        return _one(connection, _SAME)


def _one(connection: psycopg.Connection, statement: str) -> Any:
    row = connection.execute(statement.encode()).fetchone()
    assert row is not None
    return row[0]


def _named(place: Database, name: str) -> Database:
    """Another database of the same server."""
    return Database(place.variable, urlunsplit(urlsplit(place.url)._replace(path=f"/{name}")))
