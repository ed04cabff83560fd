"""Which rows of a batch the table itself does not take: checks, columns that are too narrow, triggers of its application.

A trigger may also leave a row out without a word, or give it other ids: such a row is refused too, for it could neither be
told nor be taken back.

Only looked for once a batch was refused. Each row is tried alone, and everything is rolled back.
"""

from __future__ import annotations

from collections.abc import Collection

import psycopg
from psycopg import errors, sql

from session_assets.kintell.jobs import Policy
from session_assets.stores import kintell_statements as statements

REFUSALS = (
    psycopg.DataError,
    errors.CheckViolation,
    errors.NotNullViolation,
    errors.ExclusionViolation,
    errors.RaiseException,
)
"""What a table answers to values that it does not take."""

# A second row with an external id is nothing against the row: somebody else wrote it just now.
_FUNCTION = sql.SQL("""
    CREATE FUNCTION pg_temp.refused_rows() RETURNS TABLE (refused bigint, why text) LANGUAGE plpgsql AS $function$
    DECLARE
        b record;
        made record;
        rule text;
        ours text[] := ARRAY(SELECT i.indexrelid::regclass::text FROM pg_index i JOIN pg_attribute a
            ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0] AND a.attname IN ('id', 'external_session_id')
            WHERE i.indrelid = 'kintell_sessions'::regclass AND i.indisunique AND i.indnkeyatts = 1);
    BEGIN
        FOR b IN SELECT n.*, k.id AS known_id FROM batch n LEFT JOIN known k USING (row) ORDER BY n.row LOOP
            BEGIN
                IF b.known_id IS NULL THEN
                    INSERT INTO kintell_sessions (id, {columns}) VALUES (b.id, {given})
                        RETURNING id, external_session_id INTO made;
                    IF NOT FOUND THEN
                        RAISE EXCEPTION 'a trigger leaves it out';
                    ELSIF made.id <> b.id OR made.external_session_id IS DISTINCT FROM b.external_session_id THEN
                        RAISE EXCEPTION 'a trigger gives it another id';
                    END IF;
                ELSIF {updates} THEN
                    PERFORM FROM kintell_sessions s WHERE s.id = b.known_id AND ({differs});
                    IF FOUND THEN
                        UPDATE kintell_sessions s SET {values} WHERE s.id = b.known_id;
                        IF NOT FOUND THEN
                            RAISE EXCEPTION 'a trigger leaves it out';
                        END IF;
                    END IF;
                END IF;
            EXCEPTION
                WHEN foreign_key_violation THEN RAISE;
                WHEN integrity_constraint_violation OR data_exception OR raise_exception THEN
                    GET STACKED DIAGNOSTICS rule = CONSTRAINT_NAME, why = MESSAGE_TEXT;
                    IF SQLSTATE = '23505' AND rule = ANY (ours) THEN
                        RAISE;
                    END IF;
                    refused := b.row;
                    RETURN NEXT;
            END;
        END LOOP;
    END $function$
""")


def refused_rows(cursor: psycopg.Cursor, absent: Collection[str], *, policy: Policy) -> dict[int, str]:
    """Rows of the staged and classified batch that the table refuses, with what it says. Roll the transaction back then."""
    names = [sql.Identifier(name) for name in statements.SET_COLUMNS]
    function = _FUNCTION.format(
        columns=sql.SQL(", ").join(names),
        given=sql.SQL(", ").join(sql.SQL("b.{}").format(name) for name in names),
        updates=sql.SQL("false" if policy == "skip" else "true"),
        values=statements.assignments(absent, policy),
        differs=statements.differs(absent, policy),
    )
    cursor.execute(function)
    return dict(cursor.execute("SELECT refused, why FROM pg_temp.refused_rows()").fetchall())
