"""What the tables themselves say of imports, counted anew: for checks, and for the summary by day."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from session_assets.kintell.model import FUTURE_DAYS, OLDEST_YEAR
from session_assets.stores.kintell_outstanding import ID_PLACE, REPAIRED, LostRow, lost_rows
from session_assets.stores.kintell_states import CUT_SHORT
from session_assets.stores.postgres import Database

OPEN_DAYS = 30
"""For so long a rejected row is counted by each verify, unless it is repaired or closed."""

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
        "cut_short": pl.Boolean,  # said to be completed, though not all rows were read
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
_ACCOUNTS = f"""
    SELECT j.id::text, j.file_name, j.status, j.total_rows, j.processed_rows, j.inserted_rows, j.updated_rows, j.skipped_rows,
        j.failed_rows,
        (SELECT count(*) FROM backfill_row_changes c WHERE c.job_id = j.id AND c.change = 'inserted'),
        (SELECT count(*) FROM backfill_row_changes c WHERE c.job_id = j.id AND c.change = 'updated'),
        (SELECT count(*) FROM backfill_rejects r WHERE r.job_id = j.id), {CUT_SHORT}
    FROM backfill_jobs j
    WHERE (%(ids)s::uuid[] IS NULL OR j.id = ANY(%(ids)s::uuid[]))
      AND (j.reason IS NULL OR j.reason NOT IN ('rolled back', 'rolling back')) AND j.sha256 IS NOT NULL
    ORDER BY j.created_at
"""
_WRITTEN = """
    SELECT count(*) FROM backfill_row_changes c JOIN backfill_jobs j ON j.id = c.job_id
    WHERE (j.reason IS NULL OR j.reason NOT IN ('rolled back', 'rolling back')) AND c.undone IS NULL
"""
_NOT_TAKEN_BACK = """
    SELECT j.id::text, count(*) FROM backfill_jobs j JOIN backfill_row_changes c ON c.job_id = j.id AND c.undone IS NULL
    WHERE j.reason = 'rolled back' AND EXISTS (SELECT FROM kintell_sessions s WHERE s.id = c.session_id) GROUP BY 1 ORDER BY 1
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
_REASONS = f"""
    SELECT one.name, count(*) FILTER (WHERE NOT r.repaired AND r.is_open), count(*) FILTER (WHERE r.repaired) FROM (
        SELECT r.reasons, {REPAIRED} AS repaired, to_jsonb(j) ->> 'rejects_closed_at' IS NULL
            AND coalesce(j.completed_at, j.created_at) > now() - make_interval(days => %(days)s) AS is_open
        FROM backfill_rejects r JOIN backfill_jobs j ON j.id = r.job_id {ID_PLACE}
        WHERE (%(ids)s::uuid[] IS NULL OR j.id = ANY(%(ids)s::uuid[]))
          AND (j.reason IS NULL OR j.reason NOT IN ('rolled back', 'rolling back'))
    ) AS r CROSS JOIN unnest(r.reasons) AS one (name)
    GROUP BY 1
"""
_CLOSED = """
    SELECT count(*) FILTER (WHERE to_jsonb(j) ->> 'rejects_closed_at' IS NOT NULL), count(*) FILTER (WHERE
        to_jsonb(j) ->> 'rejects_closed_at' IS NULL
        AND coalesce(j.completed_at, j.created_at) <= now() - make_interval(days => %s))
    FROM backfill_rejects r JOIN backfill_jobs j ON j.id = r.job_id
    WHERE j.reason IS NULL OR j.reason NOT IN ('rolled back', 'rolling back')
"""
_ODD = """
    SELECT count(*), count(*) FILTER (WHERE scheduled_at > now() + make_interval(days => %(days)s)),
        count(*) FILTER (WHERE scheduled_at < make_timestamptz(%(year)s, 1, 1, 0, 0, 0, 'UTC')),
        count(*) FILTER (WHERE participant_id = volunteer_id),
        (SELECT count(*) FROM backfill_jobs WHERE status = 'completed' AND sha256 IS NOT NULL AND total_rows = 0)
    FROM kintell_sessions
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


def not_taken_back(database: Database) -> dict[str, int]:
    """Jobs that are recorded as rolled back, with the rows that no revert has looked at and that are in the table."""
    with database.connected("kintell recount") as connection:
        return dict(connection.execute(_NOT_TAKEN_BACK).fetchall())


def rejected_reasons(database: Database, job_ids: Sequence[str] | None = None) -> dict[str, tuple[int, int]]:
    """Rejected rows by reason, of all jobs or of some that were not rolled back: those that are open, and repaired ones.

    Closed rejects are neither; nor are those that are older than `OPEN_DAYS`.
    """
    with database.connected("kintell recount") as connection:
        values = {"ids": None if job_ids is None else list(job_ids), "days": OPEN_DAYS}
        return {name: (left, done) for name, left, done in connection.execute(_REASONS, values)}


def settled_rejects(database: Database) -> tuple[int, int]:
    """Rejected rows that are not counted any more: those that somebody closed, and those that are older than `OPEN_DAYS`."""
    with database.connected("kintell recount") as connection:
        closed, old = connection.execute(_CLOSED, [OPEN_DAYS]).fetchone() or (0, 0)
        return closed, old


def lost(database: Database) -> tuple[list[LostRow], int]:
    """Rows whose sessions jobs wrote and that are gone, and how many rows all jobs wrote that were not rolled back."""
    with database.connected("kintell recount") as connection:
        (written,) = connection.execute(_WRITTEN).fetchone() or (0,)
        return lost_rows(connection), written


def odd_sessions(database: Database) -> tuple[int, dict[str, int]]:
    """All sessions, and how many of them are seldom meant, by `model.ODDITIES`; completed jobs without a row among these."""
    with database.connected("kintell recount") as connection:
        values = {"days": FUTURE_DAYS, "year": OLDEST_YEAR}
        found = connection.execute(_ODD, values).fetchone() or (0, 0, 0, 0, 0)
        names = ("date_in_future", "date_too_old", "same_person", "no_rows")
        return found[0], dict(zip(names, found[1:], strict=True))


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
