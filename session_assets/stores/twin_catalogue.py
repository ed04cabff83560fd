"""What no sample can show: functions and procedures that name an old column, by the tokens of their SQL.

They fail once contract has dropped the column, whenever the application calls them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import psycopg
from sqlglot.dialects.postgres import Postgres
from sqlglot.errors import TokenError

from session_assets.stores.flow_layout import Layout

_FUNCTIONS = """
    SELECT CASE p.prokind WHEN 'p' THEN 'procedure ' ELSE 'function ' END || p.oid::regprocedure::text, pg_get_functiondef(p.oid),
           ARRAY(SELECT DISTINCT t.tgrelid::bigint FROM pg_trigger t WHERE t.tgfoid = p.oid AND NOT t.tgisinternal)
    FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace JOIN pg_language l ON l.oid = p.prolang
    WHERE p.prokind IN ('f', 'p') AND l.lanname NOT IN ('c', 'internal') AND n.nspname !~ '^pg_'
      AND n.nspname <> 'information_schema'
      AND p.proname !~ '^session_assets' AND n.nspname !~ '^session_assets'
      AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e')
    ORDER BY 1
"""
_WORD = re.compile(r"[^\W\d][\w$]*")


def naming(connection: psycopg.Connection, layout: Layout) -> list[str]:
    """Functions that name an old column and its table, or are a trigger's of that table."""
    found: list[str] = []
    for about, text, triggered in connection.execute(_FUNCTIONS.encode()).fetchall():
        words = set(_words(text))
        for place in layout.places:
            is_meant = place.table.name.lower() in words or place.table.oid in triggered
            if place.has_old and is_meant and place.linked.old.lower() in words:
                found.append(f"{about} names {place.name}.{place.linked.old}")
    return found


def _words(text: str) -> Iterator[str]:
    """Words of a function outside of comments, also those in strings, which may be statements."""
    try:
        tokens = Postgres.Tokenizer().tokenize(text)
    except TokenError:  # another language: all of its words
        yield from (word.lower() for word in _WORD.findall(text))
        return
    for token in tokens:
        if "--" in token.text or "/*" in token.text:  # a body in dollar quotes has comments of its own
            yield from _words(token.text) if token.text != text else ()
        else:
            yield from (word.lower() for word in _WORD.findall(token.text))
