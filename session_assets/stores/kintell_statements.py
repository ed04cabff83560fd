"""The statements of an import, composed for the columns that a table has and those that a file says nothing of."""

from __future__ import annotations

from collections.abc import Collection

import psycopg
from psycopg import sql

from session_assets.kintell.jobs import Policy

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
_MAY_BE_BLANK = ("rating", "feedback_text", "language_level")
# What is stored, with the columns of the file over it that are not blank, or that nothing is stored of.
_FILLED = """
    SELECT coalesce(jsonb_object_agg(m.key, m.value), '{{}}') FROM jsonb_each(b.metadata) AS m
    WHERE btrim(coalesce(b.metadata ->> m.key, '')) <> '' OR btrim(coalesce(s.metadata ->> m.key, '')) = ''
"""
_MERGED = f"""CASE WHEN b.{{0}} IS NULL THEN s.{{0}} WHEN s.{{0}} IS NULL THEN b.{{0}}
    WHEN jsonb_typeof(s.{{0}}) = 'object' THEN s.{{0}} || ({_FILLED}) ELSE s.{{0}} END"""
_KEEPS_METADATA = sql.SQL("""(b.metadata IS NOT NULL AND CASE jsonb_typeof(s.metadata)
    WHEN 'object' THEN EXISTS (SELECT FROM jsonb_each(b.metadata) AS m WHERE btrim(coalesce(b.metadata ->> m.key, '')) = ''
        AND btrim(coalesce(s.metadata ->> m.key, '')) <> '') ELSE s.metadata IS NOT NULL END)""")
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
        skipped_rows = skipped_rows + %(skipped)s, kept_rows = kept_rows + %(kept)s,
        rejects_closed_at = CASE WHEN %(rejected)s > 0 THEN NULL ELSE rejects_closed_at END,
        events_total = events_total + %(events)s, updated_at = now()
    WHERE id = %(job)s AND attempt = %(attempt)s AND last_processed_row = %(previous)s RETURNING pause_requested
""")


def make_staging(connection: psycopg.Connection) -> None:
    """The temporary tables of a lane. Moments are as exact as an adopted table keeps them, else each would seem to differ."""
    connection.execute(STAGING)
    for name, kind in connection.execute(_ROUNDED).fetchall():
        connection.execute(sql.SQL("ALTER TABLE batch ALTER {} TYPE {}").format(sql.Identifier(name), sql.SQL(kind)))


def differing(absent: Collection[str], policy: Policy) -> sql.Composed:
    """Locks the sessions that say something else than the batch, in one order for all importers, with their images."""
    return sql.SQL("""
        INSERT INTO differing SELECT b.row, s.id, to_jsonb(s) FROM (
            SELECT b.*, k.id AS known_id FROM known k JOIN batch b USING (row) ORDER BY b.external_session_id OFFSET 0) AS b
        CROSS JOIN LATERAL (SELECT * FROM kintell_sessions s WHERE s.id = b.known_id AND ({}) FOR UPDATE) AS s
    """).format(differs(absent, policy))


def differs(absent: Collection[str], policy: Policy) -> sql.Composed:
    """Whether a session `s` says something else than a row `b` of the batch."""
    return sql.SQL(" OR ").join(
        sql.SQL("s.{} IS DISTINCT FROM {}").format(sql.Identifier(name), _value(name, policy))
        for name in SET_COLUMNS
        if name not in absent
    )


def assignments(absent: Collection[str], policy: Policy) -> sql.Composed:
    """What an update sets."""
    return sql.SQL(", ").join(
        sql.SQL("{} = {}").format(sql.Identifier(name), _value(name, policy))
        for name in SET_COLUMNS
        if name not in absent
    )


def keeping(absent: Collection[str]) -> sql.Composed:
    """Counts the known rows that leave a stored value where their cell is blank."""
    blank = [sql.SQL("{} AND NOT {}").format(_is_blank("b", name), _is_blank("s", name))
             for name in _MAY_BE_BLANK if name not in absent]  # fmt: skip
    return sql.SQL("""
        SELECT count(*) FROM known k JOIN batch b USING (row)
        CROSS JOIN LATERAL (SELECT FROM kintell_sessions s WHERE s.id = k.id AND ({}) OFFSET 0) AS s
    """).format(sql.SQL(" OR ").join([*map(sql.SQL("({})").format, blank), _KEEPS_METADATA]))


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
    """).format(columns=columns, digest=digest, outbox=_OUTBOX.format(level=sql.SQL("b.language_level")))


def update(digest: sql.Composable, absent: Collection[str], policy: Policy) -> sql.Composed:
    """Updates the `differing` sessions, with before-images, digests and events. Returns updated, events."""
    return sql.SQL("""
        WITH updated AS (
            UPDATE kintell_sessions AS s SET {values} FROM differing d JOIN batch b USING (row) WHERE s.id = d.id
            RETURNING d.row, s.id, d.before, {digest} AS digest, s.language_level
        ), logged AS (
            INSERT INTO backfill_row_changes (job_id, row, session_id, change, digest, before)
            SELECT %(job)s, row, id, 'updated', digest, before FROM updated
            RETURNING row, session_id
        ), told AS ({outbox} RETURNING number)
        SELECT (SELECT count(*) FROM updated), (SELECT count(*) FROM told)
    """).format(
        digest=digest,
        outbox=_OUTBOX.format(
            level=sql.SQL("(SELECT u.language_level FROM updated u WHERE u.row = b.row)")
        ),  # a blank cell kept it
        values=assignments(absent, policy),
    )


# Of the rows in `logged`: one event that the session is completed, and one more where it is rated.
_OUTBOX = sql.SQL("""
    INSERT INTO backfill_outbox (job_id, number, kind, session_id, external_session_id, session_type, participant_id,
        volunteer_id, scheduled_at, completed_at, duration_minutes, language_level, rating)
    SELECT %(job)s, %(base)s + 2 * row + e.place, e.kind, l.session_id, b.external_session_id, b.session_type,
        b.participant_id, b.volunteer_id, b.scheduled_at, b.completed_at, b.duration_minutes, {level}, b.rating
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


def _value(name: str, policy: Policy) -> sql.Composed:
    """The new value of a session's column. `metadata` stays if the file says nothing of it; blank cells empty no value."""
    if name == _KEPT:
        return sql.SQL("coalesce(b.{0}, s.{0})" if policy == "replace" else _MERGED).format(sql.Identifier(name))
    if name not in _MAY_BE_BLANK or policy == "replace":
        return sql.SQL("b.{}").format(sql.Identifier(name))
    return sql.SQL("CASE WHEN {} THEN coalesce(s.{}, b.{}) ELSE b.{} END").format(
        _is_blank("b", name), *[sql.Identifier(name)] * 3
    )


def _is_blank(alias: str, name: str) -> sql.Composed:
    return sql.SQL("(btrim(coalesce({}::text, '')) = '')").format(sql.Identifier(alias, name))


_TYPES = """
    SELECT a.attname, t.typname FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
    WHERE a.attrelid = 'kintell_sessions'::regclass AND a.attnum > 0 AND NOT a.attisdropped
"""
