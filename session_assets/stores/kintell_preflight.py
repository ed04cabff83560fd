"""The pre-flight report of an import, and the tables made ready for it."""

from __future__ import annotations

from pathlib import Path

from session_assets.kintell.preflight import Finding, check_disk, find_gaps, find_obstacles, require
from session_assets.stores.kintell_schema import Schema, migrate
from session_assets.stores.nats import unreachable
from session_assets.stores.postgres import Database


def preflight(database: Database, home: Path, file_bytes: int) -> list[Finding]:
    """All checks for an import of a file, in the order in which to mend them; changes nothing.

    Raises `StoreUnavailable` or `UsageError` where the database cannot be reached: without it nothing else can be told.
    """
    with database.connected("kintell preflight") as connection:
        schema = Schema(connection)
        findings = [Finding("database_is_reachable", True, ""), *find_obstacles(schema)]
        if schema.migrated:
            findings += find_gaps(schema)
    silence = unreachable()
    nats = Finding("nats_is_reachable", silence is None, silence or "", warning=True)
    return [*findings, check_disk(home, file_bytes), nats]


def make_ready(database: Database, home: Path, file_bytes: int) -> list[Finding]:
    """Run the checks, then the migrations that are due; returns the findings, warnings among them.

    Raises `PreflightFailed`, with nothing changed, where a check fails.
    """
    findings = preflight(database, home, file_bytes)
    require(findings)
    migrate(database)
    with database.connected("kintell preflight") as connection:
        require(find_gaps(Schema(connection)))
    return findings
