"""Whose import jobs they are (E2): a job notes the database that its rows were written to, and a copy brings it along."""

from __future__ import annotations

import psycopg
from psycopg.types.json import Jsonb

from session_assets.changes.owner import Accepts, is_own, require_own
from session_assets.changes.target import StoreTarget
from session_assets.kintell.jobs import Job
from session_assets.stores.postgres import Database
from session_assets.stores.postgres_target import postgres_target

_TARGET = "SELECT to_jsonb(j) -> 'target' FROM backfill_jobs j WHERE id = %s"
_ADOPT = "UPDATE backfill_jobs SET target = %s WHERE target IS NULL AND sha256 IS NOT NULL"
_WAITING = "SELECT id::text, to_jsonb(j) -> 'target' FROM backfill_jobs j WHERE events_total > events_published"


def own_target(connection: psycopg.Connection) -> Jsonb:
    """The database of a connection, for a job to note."""
    return Jsonb(postgres_target(connection).as_dict())


def adopt(database: Database) -> None:
    """Jobs of version 0.1 are of the database that they are found in first. Marked once."""
    with database.connected("kintell owner") as connection:
        connection.execute(_ADOPT, [own_target(connection)])


def require_own_job(database: Database, job: Job, accepted: Accepts | None) -> None:
    """Raises `PlanRefused` for a job that was imported into another database than this one."""
    with database.connected("kintell owner") as connection:
        (stored,) = connection.execute(_TARGET, [job.id]).fetchone() or (None,)
        done = f"job {job.id} ({job.file_name}) was imported"
        require_own(_target(stored), postgres_target(connection), accepted, done)


def foreign_events(connection: psycopg.Connection, accepted: Accepts | None) -> set[str]:
    """The jobs of other databases whose events wait here: those are published from there."""
    now = postgres_target(connection)
    waiting = connection.execute(_WAITING).fetchall()
    return {job_id for job_id, stored in waiting if not is_own(_target(stored), now, accepted)}


def _target(stored: dict[str, object] | None) -> StoreTarget | None:
    return StoreTarget.from_dict(stored) if stored else None
