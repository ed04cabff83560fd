"""Expand: flow columns, the archive, triggers and indexes."""

from __future__ import annotations

from alembic import context

revision = "0001"
down_revision = None


def upgrade() -> None:
    context.config.attributes["flow"].run_expand()


def downgrade() -> None:
    context.config.attributes["flow"].run_undo_expand()
