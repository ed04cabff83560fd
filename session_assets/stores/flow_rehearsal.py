"""What a backup rehearsal asks of databases: one snapshot, counts and checksums of all tables, and a scratch database."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit, urlunsplit

import psycopg
from psycopg import errors, sql

from session_assets.errors import SessionAssetsError, UsageError
from session_assets.stores.flow_layout import q
from session_assets.stores.flow_rights import PAGE
from session_assets.stores.postgres import Database

Sums = dict[str, tuple[int, str]]
_LIBC_AT_LEAST = 150_000
_TABLES = """
    SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind = 'r' AND c.relpersistence <> 't' AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
      AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
    ORDER BY 1, 2
"""


class RehearsalFailed(SessionAssetsError):
    """A backup could not be made, restored, or is not what was backed up: see to the reason, then rehearse again."""


@contextmanager
def snapshot(database: Database) -> Iterator[tuple[str, Sums]]:
    """A moment of the database that a dump can be made of: its name, and the sums of its tables."""
    with database.connected("flow rehearsal") as connection:
        connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        row = connection.execute("SELECT pg_export_snapshot()").fetchone()
        assert row is not None
        yield row[0], sums(connection)
        connection.execute("COMMIT")


def sums(connection: psycopg.Connection) -> Sums:
    """By table: rows, and a checksum of their contents that does not depend on their order."""
    found: Sums = {}
    for schema, name in connection.execute(_TABLES).fetchall():
        row = connection.execute(
            q("SELECT count(*), coalesce(sum(hashtextextended(t::text, 0)::numeric), 0)::text FROM {table} t",
              table=sql.Identifier(schema, name))
        ).fetchone()  # fmt: skip
        assert row is not None
        found[f"{schema}.{name}"] = (row[0], row[1])
    return found


def server_version(database: Database) -> int:
    """The major version of the server."""
    with database.connected("flow rehearsal") as connection:
        return connection.info.server_version // 10_000


@contextmanager
def scratch_database(database: Database, name: str, mark: str | None = None) -> Iterator[Database]:
    """An empty database of a name on the same server, dropped at the end; one that a killed run left is dropped first.

    With a mark nobody else may connect, and it says whose it is.
    """
    ident = sql.Identifier(name)
    drop = q("DROP DATABASE IF EXISTS {name} WITH (FORCE)", name=ident)
    with database.connected("flow rehearsal") as connection:
        provider = "LOCALE_PROVIDER libc" if connection.info.server_version >= _LIBC_AT_LEAST else ""
        encoding = connection.execute("SELECT getdatabaseencoding()").fetchone()
        assert encoding is not None
        try:
            connection.execute(drop)
            connection.execute(
                q("CREATE DATABASE {name} TEMPLATE template0 ENCODING {encoding} LOCALE 'C' {provider}", name=ident,
                  encoding=sql.Literal(encoding[0]), provider=sql.SQL(provider))
            )  # fmt: skip
        except errors.InsufficientPrivilege:
            raise UsageError(
                f"{database.variable}: the account may not make the scratch database of a rehearsal. Grant it CREATEDB"
                f" ({PAGE})."
            ) from None
        try:
            if mark is not None:
                connection.execute(q("REVOKE ALL ON DATABASE {name} FROM PUBLIC", name=ident))
                connection.execute(q("COMMENT ON DATABASE {name} IS {mark}", name=ident, mark=sql.Literal(mark)))
            parts = urlsplit(database.url)
            yield Database(database.variable, urlunsplit(parts._replace(path=f"/{name}")))
        finally:
            connection.execute(drop)
