"""What of an import is not in `kintell_sessions`, counted there: sessions that are gone, and rejected rows that are open.

People roll back by SQL and set job states by hand, as the runbook teaches. So the records of a job say what it wrote; only the
table says what is there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import psycopg

from session_assets.kintell.jobs import Job, Outstanding
from session_assets.stores.postgres import Database

_KEPT = "(j.reason IS NULL OR j.reason NOT IN ('rolled back', 'rolling back'))"
# A session that a job wrote is lost if neither it nor another one with its external id is there. One that an older job brought
# back holds older values: then the later job's row is lost still. Rows whose removal was accepted are not asked for.
_LOST = f"""
    WITH gone AS MATERIALIZED (
        SELECT c.job_id, c.row, c.session_id, j.created_at FROM backfill_row_changes c JOIN backfill_jobs j ON j.id = c.job_id
        WHERE (%(ids)s::uuid[] IS NULL OR j.id = ANY(%(ids)s::uuid[])) AND {_KEPT} AND c.undone IS NULL
            AND NOT EXISTS (SELECT FROM kintell_sessions s WHERE s.id = c.session_id)
            AND to_jsonb(c) ->> 'accepted_at' IS NULL
    ), named AS MATERIALIZED (
        SELECT g.*, o.external_session_id FROM gone g LEFT JOIN backfill_outbox o
            ON o.job_id = g.job_id AND o.session_id = g.session_id AND o.kind = 'completed'
    )
    SELECT n.job_id::text, n.row, min(n.external_session_id) FROM named n
    LEFT JOIN kintell_sessions s ON s.external_session_id = n.external_session_id
    LEFT JOIN (SELECT i.session_id, made.created_at FROM backfill_row_changes i JOIN backfill_jobs made ON made.id = i.job_id
        WHERE i.change = 'inserted') AS i ON i.session_id = s.id
    WHERE s.id IS NULL OR i.created_at < n.created_at
    GROUP BY n.job_id, n.row, n.created_at ORDER BY n.created_at, n.row
"""
# A rejected row is repaired once its session was made, or updated by another job, after the job that rejected it began.
REPAIRED = """
    EXISTS (SELECT FROM kintell_sessions s WHERE s.external_session_id = r.fields ->> id.place
        AND (s.created_at > j.created_at OR EXISTS (SELECT FROM backfill_row_changes c WHERE c.session_id = s.id
            AND c.change = 'updated' AND c.changed_at > j.created_at AND c.job_id <> j.id
            AND c.undone IS DISTINCT FROM 'undone')))
"""
ID_PLACE = """
    LEFT JOIN LATERAL (SELECT ordinality::integer - 1 AS place FROM json_array_elements_text(j.header)
        WITH ORDINALITY AS h (name) WHERE lower(btrim(name) COLLATE "C") = 'session_id' LIMIT 1) AS id ON true
"""
_REJECTS = f"""
    SELECT count(*), count(*) FILTER (WHERE to_jsonb(j) ->> 'rejects_closed_at' IS NULL AND NOT {REPAIRED})
    FROM backfill_rejects r JOIN backfill_jobs j ON j.id = r.job_id {ID_PLACE} WHERE j.id = %s
"""
# Which rows a job skipped, only its file says. They were there then; a revert of the job that had made them says what it removed.
_REMOVED_SINCE = """
    SELECT count(DISTINCT o.external_session_id) FROM backfill_outbox o
    WHERE o.job_id IN (SELECT id FROM backfill_jobs WHERE reason IN ('rolled back', 'rolling back') AND created_at < %(since)s)
        AND o.kind = 'removed' AND o.created_at > %(since)s
        AND NOT EXISTS (SELECT FROM kintell_sessions s WHERE s.external_session_id = o.external_session_id)
"""
_WRITTEN = "SELECT count(*) FROM backfill_row_changes WHERE job_id = %s AND undone IS NULL"
_ACCEPT = """
    UPDATE backfill_row_changes SET accepted_at = now() WHERE job_id = %s AND row = ANY(%s)
"""
_ACCEPTED = "UPDATE backfill_jobs SET accepted_at = now(), accepted_note = %s, updated_at = now() WHERE id = %s"
_CLOSE = "UPDATE backfill_jobs SET rejects_closed_at = now(), rejects_note = %s, updated_at = now() WHERE id = %s"


@dataclass(frozen=True)
class LostRow:
    """A row of a file whose session a job wrote, and that is not in the table any more."""

    job_id: str
    row: int
    external_session_id: str | None


def lost_rows(connection: psycopg.Connection, job_ids: Sequence[str] | None = None) -> list[LostRow]:
    """Of all jobs, or of some, that were not rolled back; those of the oldest job first."""
    ids = None if job_ids is None else list(job_ids)
    return [LostRow(*row) for row in connection.execute(_LOST, {"ids": ids})]


def outstanding(connection: psycopg.Connection, job: Job) -> Outstanding:
    """What of one job is not in the table. Raises what the driver raises."""
    lost = frozenset(one.row for one in lost_rows(connection, [job.id]))
    rejects, open_rejects = connection.execute(_REJECTS, [job.id]).fetchone() or (0, 0)
    (written,) = connection.execute(_WRITTEN, [job.id]).fetchone() or (0,)
    removed = 0
    if job.skipped_rows and job.accepted_at is None:
        (removed,) = connection.execute(_REMOVED_SINCE, {"since": job.created_at}).fetchone() or (0,)
    skipped_gone = min(removed, job.skipped_rows)
    return Outstanding(lost, rejects, open_rejects, job.skipped_rows, written - len(lost), skipped_gone)


def accept_lost(database: Database, job: Job, note: str) -> int:
    """Note that the lost sessions of a job were removed on purpose; returns how many rows that were."""
    with database.connected("kintell accept") as connection, connection.transaction():
        rows = [one.row for one in lost_rows(connection, [job.id])]
        if rows:
            connection.execute(_ACCEPT, [job.id, rows])
            connection.execute(_ACCEPTED, [note, job.id])
        return len(rows)


def close_rejects(database: Database, job: Job, note: str) -> int:
    """Note that the rejected rows of a job will not be imported; returns how many of them were open."""
    with database.connected("kintell close") as connection, connection.transaction():
        count = outstanding(connection, job).open_rejects
        connection.execute(_CLOSE, [note, job.id])
        return count
