"""Backfill: flows for sessions without one, flow ids, and old values into the archive."""

from __future__ import annotations

from alembic import context

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    context.config.attributes["flow"].run_backfill()


def downgrade() -> None:
    context.config.attributes["flow"].run_undo_backfill()
