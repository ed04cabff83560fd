"""The event log of Dagster: lines of runs that ended long ago. Written for the tables of Dagster 1.13.27.

Kept are events of assets and checks, which say what is materialized and what fails, how each run began and ended, and why a step
failed. Dagster's own deletion of a run takes its materializations along, so that partitions count as missing.
"""

from __future__ import annotations

from datetime import datetime

import psycopg

from session_assets.stores.locks import connected

_OLD = """
    FROM event_logs e JOIN runs r ON r.run_id = e.run_id
    WHERE r.status IN ('SUCCESS', 'FAILURE', 'CANCELED') AND r.end_time < %s AND e.asset_key IS NULL
      AND (e.dagster_event_type IS NULL
           OR e.dagster_event_type !~ '^(ASSET_|PIPELINE_|STEP_FAILURE|DYNAMIC_PARTITION|FRESHNESS)')
"""
_COUNT = f"SELECT count(*) {_OLD}"
_DELETE = f"DELETE FROM event_logs WHERE id IN (SELECT e.id {_OLD} LIMIT 10000)"
_ENDED = "SELECT run_id FROM runs WHERE status IN ('SUCCESS', 'FAILURE', 'CANCELED') AND end_time < %s"


def old_runs(before: datetime) -> set[str]:
    """Ids of runs that ended before a moment."""
    with connected("session-assets purge") as connection:
        return {row[0] for row in connection.execute(_ENDED, [before.timestamp()])}


def purge_log_lines(before: datetime, *, dry_run: bool) -> int:
    """Delete log lines of runs that ended before a moment, some at a time; returns how many are, or would be, gone."""
    with connected("session-assets purge") as connection:
        if dry_run:
            return _count(connection, before)
        gone = 0
        while deleted := connection.execute(_DELETE, [before.timestamp()]).rowcount:
            gone += deleted
        return gone


def _count(connection: psycopg.Connection, before: datetime) -> int:
    row = connection.execute(_COUNT, [before.timestamp()]).fetchone()
    assert row is not None
    return int(row[0])
