"""The nouns of the compatibility layer: where flows stand, flags, errors, and how long it is kept. Source: S3."""

from __future__ import annotations

from dataclasses import dataclass

VARIABLE = "FLOW_DATABASE_URL"


@dataclass(frozen=True)
class Flows:
    """The table of flows, its columns, and the tables in which the migration keeps what it took away or made."""

    table: str = "discovery_flows"
    key: str = "id"
    flow: str = "flow_id"
    session: str = "import_session_id"
    created: str = "created_at"
    archive: str = "session_assets_flow_archive_discovery_flows"
    made: str = "session_assets_flow_made"


FLOWS = Flows()
