"""What of a database the migration relies on, as the server says it, and how much of it can be judged at all."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
from psycopg import sql

from session_assets.changes.evidence import Figures, Holding
from session_assets.flow.model import Migration
from session_assets.stores.flow_catalog import find_table
from session_assets.stores.flow_layout import Place, q
from session_assets.stores.flow_links import links, rows
from session_assets.stores.flow_seen import unreadable_rows
from session_assets.stores.flow_work import Work


def holdings(connection: psycopg.Connection, migration: Migration) -> list[Holding]:
    """Each described table with its rows, None where there is no table of that name."""
    names = [migration.sessions.name, *(one.name for one in migration.tables)]
    return [Holding(name, _count(connection, name)) for name in names]


def _count(connection: psycopg.Connection, name: str) -> int | None:
    found = find_table(connection, name)
    if found is None:
        return None
    row = connection.execute(q("SELECT count(*) FROM {table}", table=sql.Identifier(found[1], found[2]))).fetchone()
    assert row is not None
    return row[0]


def judgeable(work: Work) -> tuple[Figures, int, list[str]]:
    """Rows of the linked tables: how many can be compared with sessions and flows, how many match none of them, what is odd.

    A row that names no session is not applicable.
    """
    figures, unmatched, odd = Figures(), 0, list[str]()
    for place, (read, silent, unreadable, unknown), told in _looked(work):
        figures += Figures(judged=read - silent - unreadable, not_applicable=silent, unreadable=unreadable)
        unmatched += unknown
        odd += [told] if told else []
        assert place.name
    return figures, unmatched, odd


def _looked(work: Work) -> Iterator[tuple[Place, tuple[int, int, int, int], str]]:
    for place in work.layout.places[1:]:
        odd = unreadable_rows(work, place, "session flow")
        row = work.connection.execute(
            q("WITH {links}, r AS ({rows}), o AS (SELECT r.*, {odd} AS odd FROM r) SELECT count(*),"
              " count(*) FILTER (WHERE NOT odd AND r.session IS NULL), count(*) FILTER (WHERE odd),"
              " count(*) FILTER (WHERE NOT odd AND r.session IS NOT NULL AND r.session NOT IN (SELECT session FROM sessions)"
              " AND r.session NOT IN (SELECT session FROM firsts) AND r.old_flow NOT IN (SELECT flow FROM ids_of_old)) FROM o r",
              links=links(work, place), rows=rows(work, place), odd=odd.condition)
        ).fetchone()  # fmt: skip
        assert row is not None
        yield place, (row[0], row[1], row[2], row[3]), odd.told(row[2]) if row[2] else ""
