"""Parts of statements of the recount: sessions, flows and rows as texts, with nothing of what backfill runs."""

from __future__ import annotations

from psycopg import sql

from session_assets.stores.flow_layout import Place, q
from session_assets.stores.flow_types import is_guid, is_time
from session_assets.stores.flow_work import Work

_LINKS = """
    links AS MATERIALIZED (SELECT l.session, {flow} AS flow, l.ours, f.{created} AS created FROM {flows} f
        JOIN ({source}) l ON l.place = f.ctid WHERE l.session IS NOT NULL AND {flow} IS NOT NULL),
    firsts AS MATERIALIZED (
        SELECT DISTINCT ON (session) session, flow FROM links ORDER BY session, ours, created, flow),
    several AS (SELECT session FROM links GROUP BY 1 HAVING count(*) > 1),
    ids AS MATERIALIZED (SELECT {flow} AS flow FROM {flows} f WHERE {flow} IS NOT NULL),
    sessions AS MATERIALIZED (SELECT {key} AS session, {young} AS created FROM {sessions})
"""


def links(work: Work) -> sql.Composed:
    """Common tables: links, firsts, several, ids and sessions."""
    layout = work.layout
    place = layout.places[0]
    old = q("t.{old}", old=place.linked.old)
    joined = sql.SQL("")
    if not place.has_old:
        old = sql.SQL("a.old_value").format()
        joined = q(" JOIN {archive} a ON {same}", archive=place.archive, same=place.same_key("t", "a"))
    ours = sql.SQL("false").format()
    if layout.has_made:
        ours = q("t.{flow} IN (SELECT flow_id FROM {made})", flow=layout.flow, made=layout.made)
    source = q("SELECT t.ctid AS place, {old} AS session, {ours} AS ours FROM {flows} t{joined}",
               old=_session(work, old), ours=ours, flows=layout.flows_ident, joined=joined)  # fmt: skip
    return q(
        _LINKS, flow=_flow(work, q("f.{flow}", flow=layout.flow)), created=work.migration.flows.created,
        flows=layout.flows_ident, source=source, sessions=layout.sessions_ident,
        key=_session(work, q("{key}", key=work.migration.sessions.key)),
        young=sql.SQL("NULL::timestamptz") if _created(work) is None else q("{created}", created=_created(work) or ""),
    )  # fmt: skip


def _created(work: Work) -> str | None:
    """The column that says when a session came, if it is a time."""
    created = work.migration.sessions.created
    columns = work.layout.sessions.columns
    return created if created in columns and is_time(columns[created].type) else None


def _session(work: Work, value: sql.Composable) -> sql.Composed:
    """A session's id as a text to compare; of GUIDs upper and lower case are the same."""
    kinds = work.layout.session_type, work.layout.sessions.columns[work.migration.sessions.key].type
    return _text(value, is_guid(*kinds))


def _flow(work: Work, value: sql.Composable) -> sql.Composed:
    """A flow's id as a text to compare."""
    return _text(value, is_guid(work.layout.flow_type))


def _text(value: sql.Composable, is_guid: bool) -> sql.Composed:
    return (sql.SQL("lower(({})::text)") if is_guid else sql.SQL("({})::text")).format(value)


def rows(work: Work, place: Place) -> sql.Composed:
    """Key, session and flow of each row as texts, whether the old column still stands or is archived."""
    flow = _flow(work, q("t.{flow}", flow=place.linked.flow)) if place.has_flow else sql.SQL("NULL::text").format()
    if place.has_old:
        return q("SELECT {key} AS key, {session} AS session, {flow} AS flow FROM {table} t", key=place.key_text("t"),
                 session=_session(work, q("t.{old}", old=place.linked.old)), flow=flow, table=place.ident)  # fmt: skip
    return q("SELECT {key} AS key, {session} AS session, {flow} AS flow FROM {table} t"
             " LEFT JOIN {archive} a ON {same}", key=place.key_text("t"), flow=flow, table=place.ident,
             session=_session(work, sql.SQL("a.old_value")), archive=place.archive,
             same=place.same_key("t", "a"))  # fmt: skip
