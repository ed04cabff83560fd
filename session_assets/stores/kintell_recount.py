"""What the tables themselves say of imports, counted anew: for checks, and for the summary by day."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from session_assets.stores.postgres import Database

ACCOUNTS = pl.Schema(
    {
        "job_id": pl.String,
        "file_name": pl.String,
        "status": pl.String,
        "total": pl.Int64,  # rows of the file
        "processed": pl.Int64,  # the job's counters from here
        "inserted": pl.Int64,
        "updated": pl.Int64,
        "skipped": pl.Int64,
        "rejected": pl.Int64,
        "inserted_rows": pl.Int64,  # counted from here
        "updated_rows": pl.Int64,
        "rejected_rows": pl.Int64,
    }
)
DAYS = pl.Schema(
    {
        "date": pl.Date,  # UTC day on which the jobs were made
        "total_jobs": pl.Int64,
        "total_success": pl.Int64,
        "total_failures": pl.Int64,
        "inserted": pl.Int64,
        "updated": pl.Int64,
        "skipped": pl.Int64,
        "avg_duration_seconds": pl.Float64,
    }
)
SESSION_DAYS = pl.Schema(
    {"date": pl.Date, "sessions": pl.Int64, "language": pl.Int64, "mentorship": pl.Int64, "avg_rating": pl.Float64}
)
"""Sessions by the UTC day on which they were scheduled; ratings are on 0…1."""
_ACCOUNTS = """
    SELECT j.id::text, j.file_name, j.status, j.total_rows, j.processed_rows, j.inserted_rows, j.updated_rows, j.skipped_rows,
        j.failed_rows,
        (SELECT count(*) FROM backfill_row_changes c WHERE c.job_id = j.id AND c.change = 'inserted'),
        (SELECT count(*) FROM backfill_row_changes c WHERE c.job_id = j.id AND c.change = 'updated'),
        (SELECT count(*) FROM backfill_rejects r WHERE r.job_id = j.id)
    FROM backfill_jobs j
    WHERE (%(ids)s::uuid[] IS NULL OR j.id = ANY(%(ids)s::uuid[]))
      AND (j.reason IS NULL OR j.reason NOT IN ('rolled back', 'rolling back')) AND j.sha256 IS NOT NULL
    ORDER BY j.created_at
"""
_TWICE = """
    SELECT external_session_id, count(*) FROM kintell_sessions WHERE external_session_id IS NOT NULL
    GROUP BY 1 HAVING count(*) > 1 ORDER BY 1
"""
_NOBODY = """
    SELECT coalesce(external_session_id, s.id::text) FROM kintell_sessions s
    WHERE NOT EXISTS (SELECT FROM users u WHERE u.id = s.participant_id)
       OR NOT EXISTS (SELECT FROM users u WHERE u.id = s.volunteer_id)
    ORDER BY 1
"""
# A row counts as repaired once its session was made, or updated by another job, after the job that rejected it began.
_REASONS = """
    SELECT one.name, count(*) FILTER (WHERE NOT r.repaired), count(*) FILTER (WHERE r.repaired) FROM (
        SELECT r.reasons, EXISTS (SELECT FROM kintell_sessions s WHERE s.external_session_id = r.fields ->> id.place
            AND (s.created_at > j.created_at OR EXISTS (SELECT FROM backfill_row_changes c WHERE c.session_id = s.id
                AND c.change = 'updated' AND c.changed_at > j.created_at AND c.job_id <> j.id
                AND c.undone IS DISTINCT FROM 'undone'))) AS repaired
        FROM backfill_rejects r JOIN backfill_jobs j ON j.id = r.job_id
        LEFT JOIN LATERAL (SELECT ordinality::integer - 1 AS place FROM json_array_elements_text(j.header)
            WITH ORDINALITY AS h (name) WHERE lower(btrim(name) COLLATE "C") = 'session_id' LIMIT 1) AS id ON true
        WHERE (%(ids)s::uuid[] IS NULL OR j.id = ANY(%(ids)s::uuid[]))
          AND (j.reason IS NULL OR j.reason NOT IN ('rolled back', 'rolling back'))
    ) AS r CROSS JOIN unnest(r.reasons) AS one (name)
    GROUP BY 1
"""
_SESSION_DAYS = """
    SELECT (scheduled_at AT TIME ZONE 'UTC')::date, count(*), count(*) FILTER (WHERE session_type = 'language'),
        count(*) FILTER (WHERE session_type = 'mentorship'), round(avg(rating), 2)::float8
    FROM kintell_sessions WHERE scheduled_at IS NOT NULL GROUP BY 1 ORDER BY 1 DESC LIMIT %s
"""
_DAYS = """
    SELECT (created_at AT TIME ZONE 'UTC')::date, count(*), sum(successful_rows), sum(failed_rows), sum(inserted_rows),
        sum(updated_rows), sum(skipped_rows), round(avg(extract(epoch FROM completed_at - started_at)), 2)::float8
    FROM backfill_jobs WHERE status = 'completed' AND created_at >= now() - make_interval(days => %s)
    GROUP BY 1 ORDER BY 1 DESC
"""


def accounts(database: Database, job_ids: Sequence[str] | None = None) -> pl.DataFrame:
    """`ACCOUNTS` of all jobs, or of some, that were not rolled back."""
    return _frame(database, _ACCOUNTS, {"ids": None if job_ids is None else list(job_ids)}, ACCOUNTS)


def rejected_reasons(database: Database, job_ids: Sequence[str] | None = None) -> dict[str, tuple[int, int]]:
    """Rejected rows by reason, of all jobs or of some that were not rolled back: those that are open, and repaired ones."""
    with database.connected("kintell recount") as connection:
        ids = None if job_ids is None else list(job_ids)
        return {name: (left, done) for name, left, done in connection.execute(_REASONS, {"ids": ids})}


def sessions_of_nobody(database: Database) -> list[str]:
    """External ids of sessions whose participant or volunteer is no user."""
    with database.connected("kintell recount") as connection:
        return [row[0] for row in connection.execute(_NOBODY)]


def sessions_stored_twice(database: Database) -> list[str]:
    """External ids that more than one session has."""
    with database.connected("kintell recount") as connection:
        return [row[0] for row in connection.execute(_TWICE)]


def session_count(database: Database) -> int:
    with database.connected("kintell recount") as connection:
        found = connection.execute("SELECT count(*) FROM kintell_sessions").fetchone()
        return found[0] if found else 0


def days(database: Database, last: int = 30) -> pl.DataFrame:
    """`DAYS`: the completed jobs of each of the last days. Source: the runbook's query C."""
    return _frame(database, _DAYS, [last], DAYS)


def session_days(database: Database, last: int = 60) -> pl.DataFrame:
    """`SESSION_DAYS` of the last days that have sessions, the newest first."""
    return _frame(database, _SESSION_DAYS, [last], SESSION_DAYS)


def _frame(database: Database, query: str, values: object, schema: pl.Schema) -> pl.DataFrame:
    with database.connected("kintell recount") as connection:
        rows = connection.execute(query, values).fetchall()  # pyright: ignore[reportArgumentType] - a constant of ours
    return pl.DataFrame(rows, schema=schema, orient="row")
