"""Alembic's entry: runs migrations on the connection that the caller hands over, in one transaction, or not at all."""

from __future__ import annotations

from alembic import context

VERSION_TABLE = "session_assets_kintell_version"

context.configure(
    connection=context.config.attributes["connection"], version_table=VERSION_TABLE, transactional_ddl=True
)
with context.begin_transaction():
    context.run_migrations()
