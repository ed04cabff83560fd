"""The statements of an import, composed for the columns that a table has and those that a file says nothing of."""

from __future__ import annotations

from collections.abc import Collection

import psycopg
from psycopg import sql

# The columns of `kintell_sessions` that a file sets, in the order of the staging table.
SET_COLUMNS = (
    "external_session_id",
    "session_type",
    "participant_id",
    "volunteer_id",
    "scheduled_at",
    "completed_at",
    "duration_minutes",
    "rating",
    "feedback_text",
    "language_level",
    "metadata",
)
_KEPT = "metadata"  # a file without unknown columns says nothing of it
_HASHABLE = {
    "uuid",
    "varchar",
    "text",
    "bpchar",
    "int2",
    "int4",
    "int8",
    "numeric",
    "timestamptz",
    "timestamp",
    "date",
} | {
    "bool",
    "jsonb",
}
REVERTED = 1 << 40
"""Numbers of compensating events are above this, after those of any file, which are `2 · row` and `2 · row + 1`."""

STAGING = sql.SQL("""
    CREATE TEMP TABLE batch (row bigint, id uuid, external_session_id text, session_type text, participant_id uuid,
        volunteer_id uuid, scheduled_at timestamptz, completed_at timestamptz, duration_minutes integer, rating numeric(3,2),
        feedback_text text, language_level text, metadata jsonb) ON COMMIT DELETE ROWS;
    CREATE TEMP TABLE known (row bigint, id uuid) ON COMMIT DELETE ROWS;
    CREATE TEMP TABLE differing (row bigint, id uuid, before jsonb) ON COMMIT DELETE ROWS
""")
_ROUNDED = """
    SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute WHERE attrelid = to_regclass('kintell_sessions')
        AND attname IN ('scheduled_at', 'completed_at') AND atttypmod >= 0
"""
COPY_BATCH = sql.SQL("COPY batch (row, id, {}) FROM STDIN (FORMAT csv)").format(
    sql.SQL(", ").join(map(sql.Identifier, SET_COLUMNS))
)
COPY_REJECTS = sql.SQL(
    "COPY backfill_rejects (job_id, row, line, fields, raw, reasons, message) FROM STDIN (FORMAT csv)"
)
# OFFSET 0 keeps the planner from reading the whole table for a batch: each id is looked up in the index.
CLASSIFY = sql.SQL("""
    INSERT INTO known SELECT b.row, s.id FROM batch b CROSS JOIN LATERAL
        (SELECT id FROM kintell_sessions s WHERE s.external_session_id = b.external_session_id OFFSET 0) s
""")
VANISHED = sql.SQL("SELECT FROM known k WHERE NOT EXISTS (SELECT FROM kintell_sessions s WHERE s.id = k.id)")
COUNT = sql.SQL("""
    UPDATE backfill_jobs SET last_processed_row = %(last_row)s, processed_rows = processed_rows + %(rows)s,
        successful_rows = successful_rows + %(successful)s, failed_rows = failed_rows + %(rejected)s,
        inserted_rows = inserted_rows + %(inserted)s, updated_rows = updated_rows + %(updated)s,
        skipped_rows = skipped_rows + %(skipped)s, events_total = events_total + %(events)s, updated_at = now()
    WHERE id = %(job)s AND attempt = %(attempt)s AND last_processed_row = %(previous)s RETURNING pause_requested
""")


def make_staging(connection: psycopg.Connection) -> None:
    """The temporary tables of a lane. Moments are as exact as an adopted table keeps them, else each would seem to differ."""
    connection.execute(STAGING)
    for name, kind in connection.execute(_ROUNDED).fetchall():
        connection.execute(sql.SQL("ALTER TABLE batch ALTER {} TYPE {}").format(sql.Identifier(name), sql.SQL(kind)))


def differing(absent: Collection[str]) -> sql.Composed:
    """Locks the sessions that say something else than the batch, in one order for all importers, with their images."""
    return sql.SQL("""
        INSERT INTO differing SELECT b.row, s.id, to_jsonb(s) FROM (
            SELECT b.*, k.id AS known_id FROM known k JOIN batch b USING (row) ORDER BY b.external_session_id OFFSET 0) AS b
        CROSS JOIN LATERAL (SELECT * FROM kintell_sessions s WHERE s.id = b.known_id AND ({}) FOR UPDATE) AS s
    """).format(differs(absent))


def differs(absent: Collection[str]) -> sql.Composed:
    """Whether a session `s` says something else than a row `b` of the batch."""
    return sql.SQL(" OR ").join(
        sql.SQL("s.{} IS DISTINCT FROM {}").format(sql.Identifier(name), _value(name))
        for name in SET_COLUMNS
        if name not in absent
    )


def assignments(absent: Collection[str]) -> sql.Composed:
    """What an update sets."""
    return sql.SQL(", ").join(
        sql.SQL("{} = {}").format(sql.Identifier(name), _value(name)) for name in SET_COLUMNS if name not in absent
    )


def write(digest: sql.Composable) -> sql.Composed:
    """Inserts what is not known, with ids, digests and events. `known` rows are left alone. Returns inserted, events."""
    columns = sql.SQL(", ").join(map(sql.Identifier, SET_COLUMNS))
    return sql.SQL("""
        WITH inserted AS (
            INSERT INTO kintell_sessions AS s (id, {columns})
            SELECT id, {columns} FROM batch b WHERE NOT EXISTS (SELECT FROM known k WHERE k.row = b.row)
            ORDER BY external_session_id RETURNING s.id, s.external_session_id, {digest} AS digest
        ), logged AS (
            INSERT INTO backfill_row_changes (job_id, row, session_id, change, digest)
            SELECT %(job)s, b.row, b.id, 'inserted', i.digest FROM inserted i JOIN batch b USING (id, external_session_id)
            RETURNING row, session_id
        ), told AS ({outbox} RETURNING number)
        SELECT (SELECT count(*) FROM logged), (SELECT count(*) FROM told)
    """).format(columns=columns, digest=digest, outbox=_OUTBOX)


def update(digest: sql.Composable, absent: Collection[str]) -> sql.Composed:
    """Updates the `differing` sessions, with before-images, digests and events. Returns updated, events."""
    return sql.SQL("""
        WITH updated AS (
            UPDATE kintell_sessions AS s SET {values} FROM differing d JOIN batch b USING (row) WHERE s.id = d.id
            RETURNING d.row, s.id, d.before, {digest} AS digest
        ), logged AS (
            INSERT INTO backfill_row_changes (job_id, row, session_id, change, digest, before)
            SELECT %(job)s, row, id, 'updated', digest, before FROM updated
            RETURNING row, session_id
        ), told AS ({outbox} RETURNING number)
        SELECT (SELECT count(*) FROM updated), (SELECT count(*) FROM told)
    """).format(
        digest=digest,
        outbox=_OUTBOX,
        values=assignments(absent),
    )


# Of the rows in `logged`: one event that the session is completed, and one more where it is rated.
_OUTBOX = sql.SQL("""
    INSERT INTO backfill_outbox (job_id, number, kind, session_id, external_session_id, session_type, participant_id,
        volunteer_id, scheduled_at, completed_at, duration_minutes, language_level, rating)
    SELECT %(job)s, 2 * row + e.place, e.kind, l.session_id, b.external_session_id, b.session_type, b.participant_id,
        b.volunteer_id, b.scheduled_at, b.completed_at, b.duration_minutes, b.language_level, b.rating
    FROM logged l JOIN batch b USING (row) CROSS JOIN (VALUES (0, 'completed'), (1, 'rated')) AS e (place, kind)
    WHERE e.place = 0 OR b.rating IS NOT NULL
""")


def digest(connection: psycopg.Connection, columns: Collection[str], session: str = "s") -> sql.Composed:
    """A number that tells whether a session is still as it was, computed from the columns that a job began with.

    A column that was dropped since counts as changed.
    """
    types: dict[str, str] = dict(connection.execute(_TYPES).fetchall())
    values = [
        sql.SQL("NULL::text")
        if name not in types
        else sql.SQL("{}" if types[name] in _HASHABLE else "{}::text").format(sql.Identifier(session, name))
        for name in columns
    ]
    return sql.SQL("hash_record_extended(ROW({}), 0)").format(sql.SQL(", ").join(values))


def _value(name: str) -> sql.Composed:
    """The new value of a session's column: `metadata` stays where the file says nothing of it."""
    template = "coalesce(b.{0}, s.{0})" if name == _KEPT else "b.{0}"
    return sql.SQL(template).format(sql.Identifier(name))


_TYPES = """
    SELECT a.attname, t.typname FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
    WHERE a.attrelid = 'kintell_sessions'::regclass AND a.attnum > 0 AND NOT a.attisdropped
"""
