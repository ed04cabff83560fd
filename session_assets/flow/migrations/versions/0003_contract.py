"""Contract: the old columns go, where all gates are open."""

from __future__ import annotations

from alembic import context

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    context.config.attributes["flow"].run_contract()


def downgrade() -> None:
    context.config.attributes["flow"].run_restore()
