"""Names of what is ours and belongs to a table: within PostgreSQL's limit, and one for each table."""

from __future__ import annotations

import hashlib

from session_assets.flow.table_names import LONGEST, written
from session_assets.stores.flow_catalog import OURS


def own_name(kind: str, table: str) -> str:
    """The name of something of ours that belongs to a table, within PostgreSQL's limit."""
    name = f"{OURS}_{kind}_{table}"
    if len(name.encode()) <= LONGEST:
        return name
    digest = hashlib.sha256(table.encode()).hexdigest()[:8]
    name = f"{OURS}_{kind}_{table[:16]}_{digest}"  # as earlier versions called it, where that fits
    return name if len(name.encode()) <= LONGEST else f"{OURS}_{kind}_{_begin(table)}_{digest}"


def tag(schema: str, table: str, *, is_shared: bool) -> str:
    """See `Layout.tag`."""
    if not is_shared:
        return table
    return f"{_begin(table)}_{hashlib.sha256(written(schema, table).encode()).hexdigest()[:8]}"


def _begin(table: str) -> str:
    """The first characters of a name, no more than 16 bytes."""
    return table.encode()[:16].decode(errors="ignore")
