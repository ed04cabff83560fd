"""Right databases of the slices in PostgreSQL, and ways to make a wrong one: names, copies, other tables, other types."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from random import Random
from typing import Any

import psycopg
from psycopg import errors, sql

from session_assets_tests.conftest import with_database
from session_assets_tests.flow.scenario import TABLES, Guide
from session_assets_tests.kintell.files import clean, write
from session_assets_tests.kintell.scenario import Kintell
from session_assets_tests.slices.worlds import Command, Variables, World
from session_assets_tests.web.acceptance.terminal import Terminal

LINKED = ("assets", "access_audit_log", "flow_deletion_audit", "llm_usage_logs")
_TABLES = """
    SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p') AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' ORDER BY 1, 2
"""
_CATALOGUE = """
    SELECT attrelid::regclass::text, attname, format_type(atttypid, atttypmod) FROM pg_attribute a
    JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE a.attnum > 0 AND NOT a.attisdropped AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
    UNION ALL SELECT tgrelid::regclass::text, tgname::text, pg_get_triggerdef(oid) FROM pg_trigger WHERE NOT tgisinternal
    UNION ALL SELECT conrelid::regclass::text, conname::text, pg_get_constraintdef(oid) FROM pg_constraint WHERE conrelid <> 0
    ORDER BY 1, 2, 3
"""
_DROP_KEYS = """
    SELECT format('ALTER TABLE %s DROP CONSTRAINT %I', conrelid::regclass, conname) FROM pg_constraint WHERE contype = 'f'
"""


class PostgresWorld(World):
    """A database with work that was done on it: `prepare` returns the id of the job or the step."""

    guards_rows = False
    tables: tuple[str, ...]
    """Of the application: one of them is emptied or renamed."""
    columns: tuple[tuple[str, str, str], ...]
    """Table, column, and what it is turned into: types that nobody expects there."""

    def __init__(self, slice_: str, variable: str, url: str) -> None:
        self.slice_, self._variable, self.url = slice_, variable, url
        self._made: list[str] = []  # databases

    @property
    def variables(self) -> Variables:
        return {self._variable: self.url}

    def _missing(self, _chance: Random) -> Variables:
        return {self._variable: with_database(self.url, f"absent_{secrets.token_hex(4)}")}

    def _bare(self, _chance: Random) -> Variables:
        return self._on_server("CREATE DATABASE {name}")

    def _clone(self, _chance: Random) -> Variables:
        return self._on_server("CREATE DATABASE {name} TEMPLATE {source}")

    def _empty(self, chance: Random) -> Variables:
        self.execute(f"TRUNCATE {chance.choice([*self.tables, ', '.join(self.tables)])} CASCADE")
        return {}

    def _renamed(self, chance: Random) -> Variables:
        self.execute(f"ALTER TABLE {chance.choice(self.tables)} RENAME TO elsewhere")
        return {}

    def _schema(self, _chance: Random) -> Variables:
        self.execute("ALTER SCHEMA public RENAME TO elsewhere", "CREATE SCHEMA public")
        return {}

    def _types(self, chance: Random) -> Variables:
        with psycopg.connect(self.url, autocommit=True) as connection:
            self.execute(*(statement for (statement,) in connection.execute(_DROP_KEYS).fetchall()))
        for table, column, becomes in chance.sample(self.columns, len(self.columns)):
            with suppress(errors.FeatureNotSupported):  # a trigger of a step that is done names the column
                self.execute(f"ALTER TABLE {table} ALTER {column} DROP DEFAULT, ALTER {column} TYPE {becomes}")
                return {}
        raise AssertionError("no column can be changed")

    def dump(self, variables: Variables) -> list[str]:
        with psycopg.connect({**self.variables, **variables}[self._variable]) as connection:
            found = [repr(row) for row in connection.execute(_CATALOGUE.encode())]
            for schema, table in connection.execute(_TABLES.encode()).fetchall():
                rows = sql.SQL("SELECT to_jsonb(t)::text FROM {} t ORDER BY 1").format(sql.Identifier(schema, table))
                found += [f"{schema}.{table}: {row}" for (row,) in connection.execute(rows)]
        return found

    def execute(self, *statements: str) -> None:
        with psycopg.connect(self.url, autocommit=True) as connection:
            for statement in statements:
                connection.execute(statement.encode())

    def counted(self, variables: Variables, tables: Sequence[str]) -> int:
        with psycopg.connect({**self.variables, **variables}[self._variable]) as connection:
            total = 0
            for table in tables:
                row = connection.execute(f"SELECT count(*) FROM {table}".encode()).fetchone()
                assert row is not None
                total += row[0]
            return total

    def close(self) -> None:
        with self._server() as connection:
            for name in self._made:
                connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))

    @contextmanager
    def _server(self) -> Iterator[psycopg.Connection[Any]]:
        with psycopg.connect(with_database(self.url, "postgres"), autocommit=True) as connection:
            yield connection

    def _on_server(self, statement: str) -> Variables:
        name = f"other_{secrets.token_hex(4)}"
        self._made.append(name)
        source = self.url.partition("?")[0].rpartition("/")[2]
        with self._server() as connection:
            connection.execute(statement.format(name=name, source=source).encode())
        return {self._variable: with_database(self.url, name)}


class KintellWorld(PostgresWorld):
    """A database with an import, of which a row was rejected."""

    tables = ("kintell_sessions", "users", "backfill_jobs", "backfill_row_changes", "backfill_rejects")
    columns = (
        ("kintell_sessions", "scheduled_at", "text USING scheduled_at::text"),
        ("kintell_sessions", "rating", "text USING rating::text"),
        ("kintell_sessions", "participant_id", "text USING participant_id::text"),
        ("kintell_sessions", "external_session_id", "bytea USING external_session_id::bytea"),
        ("users", "id", "text USING id::text"),
        ("backfill_jobs", "total_rows", "text USING total_rows::text"),
        ("backfill_row_changes", "session_id", "text USING session_id::text"),
    )

    def __init__(self, url: str, folder: Path) -> None:
        super().__init__("kintell", "KINTELL_DATABASE_URL", url)
        self.file = folder / "sessions.csv"

    def fill(self) -> None:
        Kintell.new(self.url)
        write(self.file, [*(clean(number) for number in range(12)), clean(12, participant_email="new@example.com")])

    def prepare(self, cli: Terminal) -> str:
        done = cli("import", self.file, "--json")
        assert done.body["inserted"] == 12, done
        return done.body["job_id"]

    def uses(self, plan_id: str, chance: Random) -> list[Command]:
        goes_on: list[Command] = [
            ("resume", plan_id),
            ("import", str(self.file)),
            ("import", str(self.file), "--resume", plan_id),
            ("rejects", "close", plan_id, "--note", "known"),
        ]
        return [chance.choice(goes_on), ("revert", "kintell", "--plan-id", plan_id)]

    def held(self, variables: Variables) -> int:
        return self.counted(variables, ["kintell_sessions"])


class FlowWorld(PostgresWorld):
    """A database of the guide, with the first steps done."""

    tables = (*TABLES,)
    columns = (
        ("assets", "session_id", "bigint USING 7"),
        ("assets", "session_id", "text USING 'batch ' || session_id"),
        ("access_audit_log", "session_id", "bytea USING session_id::text::bytea"),
        ("llm_usage_logs", "session_id", "jsonb USING to_jsonb(session_id)"),
        ("discovery_flows", "flow_id", "text USING 'flow ' || flow_id"),
        ("discovery_flows", "import_session_id", "bigint USING 7"),
        ("data_import_sessions", "id", "text USING 'session ' || id"),
    )

    def __init__(self, url: str) -> None:
        super().__init__("flow", "FLOW_DATABASE_URL", url)

    def fill(self) -> None:
        self.guide = Guide.new(self.url)

    def prepare(self, cli: Terminal) -> str:
        return cli("apply", "flow", "--json").body["plan_id"]

    def uses(self, plan_id: str, chance: Random) -> list[Command]:
        return [("apply", chance.choice(["flow", "flow/contract"])), ("revert", "flow", "--plan-id", plan_id)]

    def held(self, variables: Variables) -> int:
        return self.counted(variables, LINKED)
