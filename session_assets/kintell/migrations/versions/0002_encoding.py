"""A job remembers the encoding that its file is read with, so that a resume reads the same rows without being told."""

from __future__ import annotations

from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '10s'")
    op.execute("ALTER TABLE backfill_jobs ADD COLUMN IF NOT EXISTS encoding varchar(100)")


def downgrade() -> None:
    op.execute("ALTER TABLE backfill_jobs DROP COLUMN IF EXISTS encoding")
