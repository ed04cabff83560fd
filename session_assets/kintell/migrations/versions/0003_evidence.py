"""What a job must remember to be compared with the store: what is left open, what was accepted, and what may be in flight.

A database of an earlier version does not say whether a publisher died in the middle of a page: for jobs with events that wait,
the stream is read once from the last acknowledged event on.
"""

from __future__ import annotations

from alembic import op

revision = "0003"
down_revision = "0002"

_JOB = {
    "phase": "varchar(20)",
    "timezone": "varchar(100)",
    "kept_rows": "integer NOT NULL DEFAULT 0",
    "asked": "jsonb",
    "publishing_after": "bigint",
    "rejects_closed_at": "timestamptz",
    "rejects_note": "text",
    "accepted_at": "timestamptz",
    "accepted_note": "text",
}


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '10s'")
    for name, kind in _JOB.items():
        op.execute(f"ALTER TABLE backfill_jobs ADD COLUMN IF NOT EXISTS {name} {kind}")
    op.execute("ALTER TABLE backfill_row_changes ADD COLUMN IF NOT EXISTS accepted_at timestamptz")
    op.execute(
        "UPDATE backfill_jobs SET publishing_after = published_sequence"
        " WHERE events_total > events_published AND published_sequence >= 0"
    )


def downgrade() -> None:
    op.execute("ALTER TABLE backfill_row_changes DROP COLUMN IF EXISTS accepted_at")
    for name in _JOB:
        op.execute(f"ALTER TABLE backfill_jobs DROP COLUMN IF EXISTS {name}")
