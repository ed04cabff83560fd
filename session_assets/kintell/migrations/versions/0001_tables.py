"""The tables of Kintell imports: made where they are absent, adopted where they are there (source: SYSTEMS S4).

An adopted table keeps its columns, rows and constraints; what is missing is added. `kintell_sessions.external_session_id`
becomes unique, so a table that holds an id twice stops this migration before anything is changed.
"""

from __future__ import annotations

from alembic import op

revision = "0001"
down_revision = None

_TABLES = {
    "users": {
        "id": "uuid PRIMARY KEY DEFAULT gen_random_uuid()",
        "email": "varchar(255) NOT NULL UNIQUE",
        "role": "varchar(50) NOT NULL",
        "first_name": "varchar(100)",
        "last_name": "varchar(100)",
        "password_hash": "varchar(255)",
        "journey_flags": "jsonb",
        "created_at": "timestamptz NOT NULL DEFAULT now()",
        "updated_at": "timestamptz NOT NULL DEFAULT now()",
    },
    "kintell_sessions": {
        "id": "uuid PRIMARY KEY DEFAULT gen_random_uuid()",
        "external_session_id": "varchar(255)",
        "session_type": "varchar(50) NOT NULL",
        "participant_id": "uuid NOT NULL REFERENCES users (id)",
        "volunteer_id": "uuid NOT NULL REFERENCES users (id)",
        "batch_id": "uuid",
        "program_instance_id": "uuid",
        "scheduled_at": "timestamptz",
        "completed_at": "timestamptz",
        "duration_minutes": "integer",
        "rating": "numeric(3,2)",
        "feedback_text": "text",
        "language_level": "varchar(10)",
        "topics": "jsonb",
        "metadata": "jsonb",
        "created_at": "timestamptz NOT NULL DEFAULT now()",
    },
    "backfill_jobs": {
        "id": "uuid PRIMARY KEY DEFAULT gen_random_uuid()",
        "file_name": "varchar(255) NOT NULL",
        "total_rows": "integer NOT NULL DEFAULT 0",
        "processed_rows": "integer NOT NULL DEFAULT 0",
        "successful_rows": "integer NOT NULL DEFAULT 0",
        "failed_rows": "integer NOT NULL DEFAULT 0",
        "last_processed_row": "integer NOT NULL DEFAULT 0",
        "status": "varchar(20) NOT NULL DEFAULT 'pending'",
        "error_file_path": "varchar(500)",
        "started_at": "timestamptz",
        "completed_at": "timestamptz",
        "created_at": "timestamptz NOT NULL DEFAULT now()",
        "updated_at": "timestamptz NOT NULL DEFAULT now()",
        # Ours
        "sha256": "char(64)",
        "byte_size": "bigint",
        "run_id": "varchar(255)",
        "reason": "text",
        "policy": "varchar(10)",
        "header": "json",
        "inserted_rows": "integer NOT NULL DEFAULT 0",
        "updated_rows": "integer NOT NULL DEFAULT 0",
        "skipped_rows": "integer NOT NULL DEFAULT 0",
        "attempt": "integer NOT NULL DEFAULT 0",
        "pause_requested": "boolean NOT NULL DEFAULT false",
        "digest_columns": "text[]",
        "events_total": "bigint NOT NULL DEFAULT 0",
        "events_published": "bigint NOT NULL DEFAULT 0",
        "published_number": "bigint NOT NULL DEFAULT 0",
        "published_sequence": "bigint NOT NULL DEFAULT -1",  # none: nothing of the job was ever sent
    },
    # One row a record that was not imported. `fields` is a JSON text, not jsonb: it keeps every character as it was.
    "backfill_rejects": {
        "job_id": "uuid NOT NULL",
        "row": "bigint NOT NULL",
        "line": "bigint NOT NULL",
        "fields": "json",
        "raw": "bytea",
        "reasons": "text[] NOT NULL",
        "message": "text NOT NULL",
        "": "PRIMARY KEY (job_id, row)",
    },
    # One row a session that a job inserted or updated: what undo needs. `digest` is that of the row as the job left it.
    "backfill_row_changes": {
        "job_id": "uuid NOT NULL",
        "row": "bigint NOT NULL",
        "session_id": "uuid NOT NULL",
        "change": "text NOT NULL",
        "digest": "bigint NOT NULL",
        "before": "jsonb",
        "changed_at": "timestamptz NOT NULL DEFAULT clock_timestamp()",
        "undone": "text",
        "": "PRIMARY KEY (job_id, row)",
    },
    # One row an event. Rows are never changed: they say what was true when the job wrote the session.
    "backfill_outbox": {
        "job_id": "uuid NOT NULL",
        "number": "bigint NOT NULL",
        "kind": "text NOT NULL",
        "session_id": "uuid NOT NULL",
        "external_session_id": "text",
        "session_type": "text",
        "participant_id": "uuid",
        "volunteer_id": "uuid",
        "scheduled_at": "timestamptz",
        "completed_at": "timestamptz",
        "duration_minutes": "integer",
        "language_level": "text",
        "rating": "numeric(3,2)",
        "created_at": "timestamptz NOT NULL DEFAULT now()",
        "": "PRIMARY KEY (job_id, number)",
    },
}
_ONE_SESSION = "CREATE UNIQUE INDEX kintell_sessions_external_session_id_once ON kintell_sessions (external_session_id)"
_IS_UNIQUE = """
    SELECT FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]
    WHERE i.indrelid = 'kintell_sessions'::regclass AND a.attname = 'external_session_id' AND i.indisunique AND i.indisvalid
      AND i.indnkeyatts = 1 AND i.indpred IS NULL
"""
_INDEXES = (
    # The same bytes make one job, until it was rolled back.
    "CREATE UNIQUE INDEX IF NOT EXISTS backfill_jobs_sha256_once ON backfill_jobs (sha256)"
    " WHERE reason IS DISTINCT FROM 'rolled back'",
    "CREATE INDEX IF NOT EXISTS backfill_row_changes_updated ON backfill_row_changes (session_id)"
    " WHERE change = 'updated'",
)
_OURS = ("backfill_outbox", "backfill_row_changes", "backfill_rejects")


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '10s'")
    for table, columns in _TABLES.items():
        body = ", ".join(f"{name} {kind}".strip() for name, kind in columns.items())
        op.execute(f"CREATE TABLE IF NOT EXISTS {table} ({body})")
        for name, kind in columns.items():
            if name and "PRIMARY KEY" not in kind:
                op.execute(f"ALTER TABLE {table} ADD COLUMN IF NOT EXISTS {name} {kind}")
    if op.get_bind().exec_driver_sql(_IS_UNIQUE).first() is None:
        op.execute(_ONE_SESSION)
    for index in _INDEXES:
        op.execute(index)


def downgrade() -> None:
    """Drops what is ours alone. `users`, `kintell_sessions` and `backfill_jobs` stay: they may have been there before."""
    for table in _OURS:
        op.execute(f"DROP TABLE IF EXISTS {table}")
    op.execute("DROP INDEX IF EXISTS backfill_jobs_sha256_once")
    op.execute("DROP INDEX IF EXISTS kintell_sessions_external_session_id_once")
