"""An SQLAlchemy engine over our own connections, for Alembic."""

from __future__ import annotations

from sqlalchemy import Engine, create_engine, pool

from session_assets.stores.postgres import Database


def engine_of(database: Database, purpose: str) -> Engine:
    """An engine that keeps no connection; those it makes are as `Database.connect` makes them."""
    return create_engine(
        "postgresql+psycopg://", creator=lambda: database.connect(purpose, autocommit=False), poolclass=pool.NullPool
    )
