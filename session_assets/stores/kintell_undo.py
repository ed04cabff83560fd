"""The statements of an undo, composed for the columns of a table and for the tables that refer to it."""

from __future__ import annotations

from collections.abc import Collection

import psycopg
from psycopg import sql

from session_assets.stores.kintell_statements import SET_COLUMNS, digest

TEMPORARY = """
    CREATE TEMP TABLE verdicts (row bigint, session_id uuid, change text, before jsonb, verdict text) ON COMMIT DELETE ROWS
"""
BEGIN = """
    UPDATE backfill_jobs SET status = 'failed', reason = %s, attempt = attempt + 1, updated_at = now()
    WHERE id = %s AND reason IS DISTINCT FROM %s
"""
_JUDGE = sql.SQL("""
    INSERT INTO verdicts SELECT c.row, c.session_id, c.change, c.before,
        CASE WHEN s.id IS NULL THEN 'gone'
            WHEN EXISTS (SELECT FROM backfill_row_changes l WHERE l.session_id = c.session_id AND l.change = 'updated'
                AND l.changed_at > c.changed_at AND l.undone IS DISTINCT FROM 'undone' AND l.job_id <> c.job_id)
            THEN 'changed_later'
            WHEN s.digest IS DISTINCT FROM c.digest THEN 'edited'
            WHEN c.change = 'inserted' AND ({referenced}) THEN 'referenced'
            WHEN c.change = 'updated' AND EXISTS (SELECT FROM (VALUES (c.before ->> 'participant_id'),
                (c.before ->> 'volunteer_id')) AS p (id) WHERE NOT EXISTS (SELECT FROM users u WHERE u.id = p.id::uuid)
                AND p.id IS NOT NULL) THEN 'user_gone'
            ELSE 'undone' END
    FROM (SELECT * FROM backfill_row_changes WHERE job_id = %(job)s AND row > %(after)s
        AND (undone IS NULL OR (%(again)s AND undone <> 'undone')) ORDER BY row LIMIT %(limit)s) AS c
    LEFT JOIN LATERAL (SELECT s.id, {digest} AS digest FROM kintell_sessions s WHERE s.id = c.session_id {lock}) AS s ON true
""")
# Not once the same bytes were imported anew: what was left then belongs to that job too.
AGAIN = """
    SELECT NOT EXISTS (SELECT FROM backfill_jobs o JOIN backfill_jobs m ON m.sha256 = o.sha256
        WHERE m.id = %s AND o.id <> m.id AND o.reason IS DISTINCT FROM 'rolled back')
"""
NEXT = "SELECT min(row) FROM backfill_row_changes WHERE job_id = %s AND row > %s AND undone IS NULL"
REFUSE = "UPDATE backfill_row_changes SET undone = 'refused' WHERE job_id = %s AND row = %s"
SKIPPED_SINCE = """
    SELECT l.id::text, l.file_name, l.skipped_rows FROM backfill_jobs l JOIN backfill_jobs j ON j.id = %s
    WHERE l.skipped_rows > 0 AND l.created_at > j.created_at AND l.reason IS DISTINCT FROM 'rolled back'
        AND l.reason IS DISTINCT FROM 'rolling back' ORDER BY l.created_at
"""
FORGET = "UPDATE backfill_row_changes SET undone = NULL WHERE job_id = %s AND undone <> 'undone'"
LAST = "SELECT greatest(max(number), %s) FROM backfill_outbox WHERE job_id = %s"
_TELL = """
    INSERT INTO backfill_outbox (job_id, number, kind, session_id, external_session_id, session_type, participant_id,
        volunteer_id, scheduled_at, completed_at, duration_minutes, language_level, rating)
    SELECT %(job)s, %(base)s + undone_row, %(kind)s, id, external_session_id, session_type, participant_id, volunteer_id,
        scheduled_at, completed_at, duration_minutes, language_level, rating FROM undone
"""
_UNDO = sql.SQL("""
    WITH undone AS ({what} RETURNING v.row AS undone_row, s.*), told AS ({tell})
    SELECT coalesce(array_agg(undone_row), '{{}}') FROM undone
""")
REMOVE = _UNDO.format(
    tell=sql.SQL(_TELL),
    what=sql.SQL("""DELETE FROM kintell_sessions s USING verdicts v
        WHERE v.verdict = 'undone' AND v.change = 'inserted' AND s.id = v.session_id"""),
)
RESTORE = _UNDO.format(
    tell=sql.SQL(_TELL),
    what=sql.SQL("""UPDATE kintell_sessions s SET {values} FROM verdicts v
        CROSS JOIN LATERAL jsonb_populate_record(NULL::kintell_sessions, v.before) AS b
        WHERE v.verdict = 'undone' AND v.change = 'updated' AND s.id = v.session_id""").format(
        values=sql.SQL(", ").join(sql.SQL("{0} = b.{0}").format(sql.Identifier(name)) for name in SET_COLUMNS)
    ),
)
# A trigger may leave a row as it is without a word.
LEFT = "SELECT count(*) FROM verdicts WHERE verdict = 'undone'"
KEPT = "UPDATE verdicts SET verdict = 'kept' WHERE verdict = 'undone' AND row <> ALL (%s)"
NOTE = """
    UPDATE backfill_row_changes c SET undone = v.verdict FROM verdicts v WHERE c.job_id = %s AND c.row = v.row
"""
COUNT = "UPDATE backfill_jobs SET events_total = events_total + %s, updated_at = now() WHERE id = %s"
# What was removed and is there again was put back by somebody: it is not undone, whatever was noted.
_NAMED = """
    SELECT n.row, n.session_id::text, coalesce(s.external_session_id, (SELECT min(o.external_session_id)
        FROM backfill_outbox o WHERE o.job_id = %(job)s AND o.session_id = n.session_id)), n.change, n.word
    FROM named n LEFT JOIN kintell_sessions s ON s.id = n.session_id
"""
REFUSED = f"""
    WITH named AS (SELECT c.row, c.session_id, c.change, CASE c.undone WHEN 'undone' THEN 'returned' ELSE c.undone END AS word
        FROM backfill_row_changes c WHERE c.job_id = %(job)s AND (c.undone <> 'undone' OR (c.undone = 'undone'
            AND c.change = 'inserted' AND EXISTS (SELECT FROM kintell_sessions s WHERE s.id = c.session_id))))
    {_NAMED} ORDER BY n.row
"""
WOULD_REFUSE = f"""
    WITH named AS (SELECT row, session_id, change, verdict AS word FROM verdicts WHERE verdict <> 'undone')
    {_NAMED} ORDER BY n.row
"""
DONE = """
    SELECT c.change, count(*) FROM backfill_row_changes c WHERE c.job_id = %s AND c.undone = 'undone'
        AND (c.change <> 'inserted' OR NOT EXISTS (SELECT FROM kintell_sessions s WHERE s.id = c.session_id)) GROUP BY 1
"""
# The counters of a job move in the transaction that writes its records.
UNRECORDED = """
    SELECT greatest(0, j.inserted_rows - count(c.row) FILTER (WHERE c.change = 'inserted'))
        + greatest(0, j.updated_rows - count(c.row) FILTER (WHERE c.change = 'updated'))
    FROM backfill_jobs j LEFT JOIN backfill_row_changes c ON c.job_id = j.id WHERE j.id = %(job)s
    GROUP BY j.inserted_rows, j.updated_rows
"""
_FOREIGN_KEYS = """
    SELECT conrelid::regclass::text, a.attname, r.attname FROM pg_constraint k
    JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = k.conkey[1]
    JOIN pg_attribute r ON r.attrelid = k.confrelid AND r.attnum = k.confkey[1]
    WHERE k.contype = 'f' AND k.confrelid = 'kintell_sessions'::regclass AND cardinality(k.conkey) = 1
"""
# A trigger may stamp a row that is restored, so that what an earlier job left of it looks edited: that job knows the stamp then.
_STAMPED = sql.SQL("""
    SELECT v.session_id, {now}, {before} FROM verdicts v JOIN kintell_sessions s ON s.id = v.session_id
    CROSS JOIN LATERAL jsonb_populate_record(NULL::kintell_sessions, v.before) AS b
    WHERE v.verdict = 'undone' AND v.change = 'updated' AND {now} <> {before}
""")
_PASS_ON = """
    UPDATE backfill_row_changes e SET digest = p.now
    FROM unnest(%s::uuid[], %s::bigint[], %s::bigint[]) AS p (session_id, now, before)
    WHERE e.session_id = p.session_id AND e.digest = p.before AND e.undone IS DISTINCT FROM 'undone'
        AND e.job_id IN (SELECT o.id FROM backfill_jobs o JOIN backfill_jobs m ON m.digest_columns = o.digest_columns
            WHERE m.id = %s AND o.id <> m.id)
"""


def judge(connection: psycopg.Connection, columns: Collection[str], *, lock: bool) -> sql.Composed:
    """What is to become of the next rows of a job that began with these columns of the table."""
    referring = [
        sql.SQL(
            "EXISTS (SELECT FROM {} x WHERE x.{} = (SELECT s.{} FROM kintell_sessions s WHERE s.id = c.session_id))"
        ).format(sql.SQL(table), sql.Identifier(column), sql.Identifier(referred))
        for table, column, referred in connection.execute(_FOREIGN_KEYS)
    ]
    return _JUDGE.format(
        referenced=sql.SQL(" OR ").join(referring) if referring else sql.SQL("false"),
        digest=digest(connection, columns),
        lock=sql.SQL("FOR UPDATE" if lock else ""),
    )


def pass_on(connection: psycopg.Connection, job_id: str, columns: Collection[str]) -> None:
    """Tell earlier jobs how a trigger stamped the rows that were restored to what they had left."""
    stamped = _STAMPED.format(now=digest(connection, columns), before=digest(connection, columns, "b"))
    if rows := connection.execute(stamped).fetchall():
        connection.execute(
            "SET LOCAL enable_nestloop = off"
        )  # else the planner may read all changes for each of the rows
        connection.execute(_PASS_ON, [*map(list, zip(*rows, strict=True)), job_id])
        connection.execute("SET LOCAL enable_nestloop = on")
