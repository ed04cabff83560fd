"""A database of the guide's schema for tests: what stands in it, what should stand in it, and how its catalogue looks."""

from __future__ import annotations

import secrets
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import psycopg

from session_assets.embedded.flow_sample import PlantedFlow, plant
from session_assets.flow.model import MIGRATION, RULES, Limits, Migration
from session_assets.stores.flow_findings import Finding
from session_assets.stores.flow_migration import Flow
from session_assets.stores.flow_recount import recount
from session_assets.stores.postgres import Database

VARIABLE = "FLOW_DATABASE_URL"
TABLES = (
    "data_import_sessions",
    "discovery_flows",
    "assets",
    "access_audit_log",
    "flow_deletion_audit",
    "llm_usage_logs",
)
OLD = {
    "discovery_flows": "import_session_id", "assets": "session_id", "access_audit_log": "session_id",
    "flow_deletion_audit": "session_id", "llm_usage_logs": "session_id",
}  # fmt: skip
_CATALOGUE = """
    SELECT 'column', table_name, column_name, concat_ws(' ', data_type, character_maximum_length, is_nullable, column_default,
           is_identity, col_description((table_schema || '.' || table_name)::regclass, ordinal_position))
    FROM information_schema.columns WHERE table_name = ANY (%(tables)s)
    UNION ALL SELECT 'index', tablename, indexname, indexdef FROM pg_indexes WHERE tablename = ANY (%(tables)s)
    UNION ALL SELECT 'constraint', conrelid::regclass::text, conname, concat_ws(' ', convalidated, pg_get_constraintdef(oid))
    FROM pg_constraint WHERE conrelid::regclass::text = ANY (%(tables)s)
    UNION ALL SELECT 'trigger', tgrelid::regclass::text, tgname, '' FROM pg_trigger
    WHERE NOT tgisinternal AND tgrelid::regclass::text = ANY (%(tables)s)
    ORDER BY 1, 2, 3
"""
_GUID = "'^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$'"
_WANTED = f"""
    WITH ranked AS (
        SELECT import_session_id AS session, flow_id,
               row_number() OVER (PARTITION BY import_session_id ORDER BY created_at, flow_id) AS place FROM discovery_flows
    ), of_session AS (SELECT session, flow_id FROM ranked WHERE place = 1 AND session IS NOT NULL
                      UNION ALL SELECT session, flow_id FROM made),
    of_assets AS (
        SELECT a.id, COALESCE(a.flow_id, s.flow_id, CASE WHEN a.session_id IS NULL THEN (
            SELECT f.flow_id FROM discovery_flows f WHERE f.client_account_id = a.client_account_id
            AND f.engagement_id = a.engagement_id AND f.created_at <= a.created_at
            ORDER BY f.created_at DESC LIMIT 1) END) AS flow
        FROM assets a LEFT JOIN of_session s ON s.session = a.session_id
    ), of_llm AS (
        SELECT l.id, COALESCE(s.flow_id, f.flow_id) AS flow FROM llm_usage_logs l
        LEFT JOIN of_session s ON l.session_id ~ {_GUID} AND s.session::text = lower(l.session_id)
        LEFT JOIN discovery_flows f ON l.session_id ~ {_GUID} AND f.flow_id::text = lower(l.session_id)
    )
    SELECT 'assets', id::text, flow::text FROM of_assets
    UNION ALL SELECT 'llm_usage_logs', id::text, flow::text FROM of_llm
    UNION ALL SELECT 'access_audit_log', g.id::text, s.flow_id::text FROM access_audit_log g
    LEFT JOIN of_session s ON s.session = g.session_id ORDER BY 1, 2
"""
_FOUND = " UNION ALL ".join(
    f"SELECT '{table}', id::text, flow_id::text FROM {table}"
    for table in ("assets", "llm_usage_logs", "access_audit_log")
)
Rows = list[tuple[Any, ...]]


@dataclass(frozen=True)
class Guide:
    """A database of the guide's schema."""

    url: str
    planted: PlantedFlow

    @staticmethod
    def new(url: str, *, sessions: int = 100, rows: int = 200) -> Guide:
        return Guide(url, plant(url, sessions=sessions, rows=rows))

    def flow(self, *, waived_by: str | None = "a test", migration: Migration = MIGRATION, **limits: Any) -> Flow:
        database = Database.from_env(VARIABLE, {VARIABLE: self.url})
        return Flow(database, migration, replace(Limits(batch=60, settle_minutes=0), **limits), waived_by=waived_by)

    @contextmanager
    def connect(self) -> Iterator[psycopg.Connection]:
        with psycopg.connect(self.url, autocommit=True) as connection:
            yield connection

    def all(self, statement: str, values: Any = None) -> Rows:
        with self.connect() as connection:
            return connection.execute(statement.encode(), values).fetchall()

    def one(self, statement: str, values: Any = None) -> Any:
        return self.all(statement, values)[0][0]

    def run(self, statement: str) -> None:
        with self.connect() as connection:
            connection.execute(statement.encode())

    def catalogue(self) -> Rows:
        """Columns, indexes, constraints and triggers of the tables, order of columns aside."""
        return self.all(_CATALOGUE, {"tables": list(TABLES)})

    def rows(self) -> dict[str, Rows]:
        """All rows of all tables, by the names of their columns."""
        return {table: self.all(f"SELECT to_jsonb(t) FROM {table} t ORDER BY id") for table in TABLES}

    def wanted(self) -> Rows:
        """The flow id that each row should get, computed before the migration."""
        lacking = self.all(
            "SELECT s.id FROM data_import_sessions s LEFT JOIN discovery_flows f ON f.import_session_id = s.id WHERE f.id IS NULL"
        )
        namespace = uuid.UUID("a3f0c0de-5e55-5a55-8e75-f10e1d000003")
        with self.connect() as connection:
            connection.execute("CREATE TEMP TABLE made (session uuid, flow_id uuid)")
            made = [(one, uuid.uuid5(namespace, str(one))) for (one,) in lacking]
            connection.cursor().executemany("INSERT INTO made VALUES (%s, %s)", made)
            return connection.execute(_WANTED.encode()).fetchall()

    def found(self) -> Rows:
        """The flow id that each row has."""
        return self.all(f"{_FOUND} ORDER BY 1, 2")

    def values(self) -> dict[str, Rows]:
        """The old values, by key."""
        return {
            table: self.all(f"SELECT id::text, {old}::text FROM {table} WHERE {old} IS NOT NULL ORDER BY 1")
            for table, old in OLD.items()
        }

    def archive(self) -> dict[str, Rows]:
        return {
            table: self.all(
                f"SELECT key1::text, old_value::text FROM session_assets_flow_archive_{table}"
                " WHERE old_value IS NOT NULL ORDER BY 1"
            )
            for table in OLD
        }

    def findings(self, flow: Flow | None = None) -> dict[str, Finding]:
        with (flow or self.flow()).reading() as work:
            return {one.name: one for one in recount(work, list(RULES))}


def contracted(flow: Flow) -> str:
    """Go through all steps, with a rehearsal that is only recorded; returns the id of contract."""
    flow.apply()
    flow.rehearse(lambda _: {})
    return flow.contract().id


def downgraded(flow: Flow) -> None:
    """Take all steps back, the last one first."""
    for kind in ("contract", "backfill", "expand"):
        with flow.reading() as work:
            step = work.steps.newest(kind)
        if step is not None and step.state != "undone":
            flow.undo(step.id)


def unique() -> str:
    return secrets.token_hex(4)
