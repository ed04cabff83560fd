"""The database that a job was imported into: a copy of the tables brings the jobs of another one along."""

from __future__ import annotations

from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '10s'")
    op.execute("ALTER TABLE backfill_jobs ADD COLUMN IF NOT EXISTS target jsonb")


def downgrade() -> None:
    op.execute("ALTER TABLE backfill_jobs DROP COLUMN IF EXISTS target")
