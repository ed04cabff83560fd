"""The tables of Kintell imports as a database has them: what is missing or different, and the migrations that add it."""

from __future__ import annotations

from pathlib import Path

import psycopg
from sqlalchemy.exc import DBAPIError

from session_assets.stores.kintell_owner import adopt
from session_assets.stores.postgres import Database
from session_assets.stores.postgres_engine import engine_of

VERSION_TABLE = "session_assets_kintell_version"
NEWEST = "0004"
"""The revision of the last migration."""
_MIGRATIONS = Path(__file__).parent.parent / "kintell" / "migrations"

_UUID, _TEXT, _TIME, _INT = (
    ("uuid",),
    ("text", "character varying"),
    ("timestamp with time zone",),
    ("integer", "bigint"),
)
_TEXT_OR_CHAR = (*_TEXT, "character")
COLUMNS: dict[str, dict[str, tuple[str, ...]]] = {
    "users": {"id": _UUID, "email": _TEXT, "role": _TEXT},
    "kintell_sessions": {
        "id": _UUID,
        "external_session_id": _TEXT,
        "session_type": _TEXT,
        "participant_id": _UUID,
        "volunteer_id": _UUID,
        "scheduled_at": _TIME,
        "completed_at": _TIME,
        "duration_minutes": _INT,
        "rating": ("numeric", "numeric(3,2)"),
        "feedback_text": _TEXT,
        "language_level": _TEXT,
        "metadata": ("jsonb",),
    },
    "backfill_jobs": {
        "id": _UUID,
        "file_name": _TEXT,
        "total_rows": _INT,
        "processed_rows": _INT,
        "successful_rows": _INT,
        "failed_rows": _INT,
        "last_processed_row": _INT,
        "status": _TEXT,
        "error_file_path": _TEXT,
        "started_at": _TIME,
        "completed_at": _TIME,
        "sha256": _TEXT_OR_CHAR,
        "byte_size": ("bigint",),
        "reason": _TEXT,
        "attempt": _INT,
    },
    "backfill_rejects": {"job_id": _UUID, "row": ("bigint",), "fields": ("json",), "raw": ("bytea",)},
    "backfill_row_changes": {"job_id": _UUID, "session_id": _UUID, "digest": ("bigint",), "before": ("jsonb",)},
    "backfill_outbox": {"job_id": _UUID, "number": ("bigint",), "session_id": _UUID},
}
"""Columns that imports work with, and the types that will do."""

# A numeric that cannot hold 0.25 or 1 is shown with its digits, which makes it another type.
_FOUND = """
    SELECT c.relname, a.attname, format_type(a.atttypid, CASE WHEN a.atttypid = 'numeric'::regtype
            AND a.atttypmod >= 0 AND ((a.atttypmod - 4) & 2047 < 2 OR (a.atttypmod - 4 >> 16) <= (a.atttypmod - 4) & 2047)
            THEN a.atttypmod END), a.attnotnull AND NOT a.atthasdef AND a.attidentity = ''
    FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
    WHERE c.oid = ANY (SELECT to_regclass(t) FROM unnest(%s::text[]) t) AND a.attnum > 0 AND NOT a.attisdropped
"""
_RELATIONS = (
    "SELECT relname, relkind::text FROM pg_class WHERE oid = ANY (SELECT to_regclass(t) FROM unnest(%s::text[]) t)"
)
_DUPLICATES = """
    SELECT external_session_id, count(*), count(*) OVER () FROM kintell_sessions WHERE external_session_id IS NOT NULL
    GROUP BY 1 HAVING count(*) > 1 ORDER BY 2 DESC, 1 LIMIT 20
"""
_UNIQUE = """
    SELECT c.relname, a.attname FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid
    JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]
    WHERE i.indrelid = ANY (SELECT to_regclass(t) FROM unnest(%s::text[]) t)
      AND i.indisunique AND i.indisvalid AND i.indnkeyatts = 1 AND (i.indpred IS NULL OR a.attname = 'sha256')
"""
_KEYS = """
    SELECT conrelid::regclass::text FROM pg_constraint
    WHERE contype = 'p' AND conrelid = ANY (SELECT to_regclass(t) FROM unnest(%s::text[]) t)
"""
_IDS = {("users", "id"), ("kintell_sessions", "id"), ("backfill_jobs", "id")}
_MADE = {("kintell_sessions", "external_session_id"), ("backfill_jobs", "sha256")}
_KINDS = {"v": "a view", "m": "a materialized view", "f": "a foreign table"}


class Schema:
    """What the catalog says, read once."""

    def __init__(self, connection: psycopg.Connection) -> None:
        names = list(COLUMNS)
        self._connection = connection
        self.columns: dict[str, dict[str, tuple[str, bool]]] = {}
        for table, column, kind, required in connection.execute(_FOUND, [names]):
            self.columns.setdefault(table, {})[column] = (kind, required)
        self._kinds: dict[str, str] = dict(connection.execute(_RELATIONS, [names]).fetchall())
        self._unique = set(connection.execute(_UNIQUE, [names]).fetchall())
        self._keyed = {row[0].rpartition(".")[2] for row in connection.execute(_KEYS, [names])}
        version = connection.execute("SELECT to_regclass(%s)", [VERSION_TABLE]).fetchone()
        self.migrated = version is not None and version[0] is not None
        self.server_version = connection.info.server_version // 10_000

    def missing_tables(self) -> list[str]:
        return [table for table in COLUMNS if table not in self.columns]

    def missing_columns(self) -> list[str]:
        """`table.column` of tables that are there."""
        return [
            f"{table}.{column}"
            for table, wanted in COLUMNS.items()
            if table in self.columns
            for column in wanted
            if column not in self.columns[table]
        ]

    def wrong_types(self) -> list[str]:
        """Columns whose type imports cannot write to, as `table.column is …, not …`."""
        return [
            f"{table}.{column} is {self.columns[table][column][0]}, not {' or '.join(kinds)}"
            for table, wanted in COLUMNS.items()
            for column, kinds in wanted.items()
            if column in self.columns.get(table, {}) and self.columns[table][column][0] not in kinds
        ]

    def unknown_required(self, *tables: str) -> list[str]:
        """Columns of tables that must be given a value, have no default, and are none that imports fill."""
        filled = {table: set(wanted) for table, wanted in COLUMNS.items()}
        return [
            f"{table}.{column}"
            for table in tables
            for column, (_, required) in self.columns.get(table, {}).items()
            if required and column not in filled[table]
        ]

    def no_tables(self) -> list[str]:
        """What bears the name of a table and is none that the migrations can adopt, as `users is a view`."""
        return [f"{name} is {_KINDS.get(kind, 'no table')}" for name, kind in self._kinds.items() if kind not in "rp"]

    def missing_keys(self) -> list[tuple[str, str]]:
        """Tables that are there and whose ids are not unique, with the column."""
        there = {name for name, kind in self._kinds.items() if kind in "rp"}
        return sorted((table, column) for table, column in _IDS - self._unique if table in there)

    def missing_indexes(self) -> list[str]:
        """Unique indexes and primary keys that imports rely on and that the migrations make."""
        lacking = sorted(f"a unique index on {table} ({column})" for table, column in _MADE - self._unique)
        ours = [table for table in COLUMNS if table.startswith("backfill_") and table not in self._keyed]
        return lacking + [f"the primary key of {table}" for table in ours]

    def duplicates(self) -> tuple[list[tuple[str, int]], int]:
        """Up to 20 external ids that `kintell_sessions` holds more than once, with their counts, and how many there are."""
        if "external_session_id" not in self.columns.get("kintell_sessions", {}):
            return [], 0
        if ("kintell_sessions", "external_session_id") in self._unique:
            return [], 0
        found = self._connection.execute(_DUPLICATES).fetchall()
        return [(name, count) for name, count, _ in found], found[0][2] if found else 0


def migrate_if_due(database: Database) -> None:
    """Take over tables that an earlier version made. Does nothing where there are none, or where they are those of now."""
    with database.connected("kintell migrations") as connection:
        if connection.execute("SELECT to_regclass(%s)", [VERSION_TABLE]).fetchone() == (None,):
            return
        is_current = connection.execute(f"SELECT version_num FROM {VERSION_TABLE}".encode()).fetchone() == (NEWEST,)
    if not is_current:
        migrate(database)


def migrate(database: Database) -> None:
    """Run the migrations that are due, in one transaction. Idempotent. Raises as `Database.attempting`."""
    from alembic import command  # here: every command of the terminal would wait 0.3 s for it
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS))
    engine = engine_of(database, "kintell migrations")
    with database.lock_waiting("kintell.migrations", "kintell migrations"):
        try:
            with engine.begin() as connection:
                config.attributes["connection"] = connection
                command.upgrade(config, "head")
            adopt(database)
        except DBAPIError as error:
            if isinstance(error.orig, psycopg.Error):
                raise database.explained(error.orig) from None
            raise
