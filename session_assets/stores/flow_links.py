"""Parts of statements of the recount: sessions, flows and rows as texts, with nothing of what backfill runs.

What is compared is compared as `flow_ids` says for the types on both sides, so each text exists once for each other side.
"""

from __future__ import annotations

from psycopg import sql

from session_assets.stores.flow_ids import canonical, rule
from session_assets.stores.flow_layout import Place, q
from session_assets.stores.flow_types import is_time
from session_assets.stores.flow_work import Work

_LINKS = """
    links AS MATERIALIZED (SELECT l.session, {flow} AS flow, l.ours, f.{created} AS created FROM {flows} f
        JOIN ({source}) l ON l.place = f.ctid WHERE l.session IS NOT NULL AND {flow} IS NOT NULL),
    firsts AS MATERIALIZED (
        SELECT DISTINCT ON (session) session, flow FROM links ORDER BY session, ours, created, flow),
    several AS (SELECT session FROM links GROUP BY 1 HAVING count(*) > 1),
    ids AS MATERIALIZED (SELECT {flow} AS flow FROM {flows} f WHERE {flow} IS NOT NULL),
    ids_of_old AS MATERIALIZED (SELECT {flow_of_old} AS flow FROM {flows} f WHERE {flow} IS NOT NULL),
    sessions AS MATERIALIZED (SELECT {key} AS session, {young} AS created FROM {sessions}),
    sessions_of_flow AS MATERIALIZED (SELECT {key_of_flow} AS session FROM {sessions})
"""


def links(work: Work, of: Place | None = None) -> sql.Composed:
    """Common tables to compare with rows of a place: links, firsts, several, ids and sessions.

    `ids_of_old` are flows as the old column may name them, `sessions_of_flow` sessions as the column of flows may.
    """
    layout = work.layout
    of = of or layout.places[0]
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
               old=canonical(old, layout.session_type, of.rule), ours=ours, flows=layout.flows_ident, joined=joined)  # fmt: skip
    flow, key = q("f.{flow}", flow=layout.flow), q("{key}", key=work.migration.sessions.key)
    return q(
        _LINKS, flow=canonical(flow, layout.flow_type, rule(of.flow_type, layout.flow_type)),
        flow_of_old=canonical(flow, layout.flow_type, rule(of.old_type, layout.flow_type)),
        created=work.migration.flows.created, flows=layout.flows_ident, source=source, sessions=layout.sessions_ident,
        key=canonical(key, layout.key_type, of.rule), key_of_flow=canonical(key, layout.key_type, _as_session(of)),
        young=sql.SQL("NULL::timestamptz") if _created(work) is None else q("{created}", created=_created(work) or ""),
    )  # fmt: skip


def _as_session(place: Place) -> str:
    """How flow ids of a place are compared with sessions."""
    return rule(place.flow_type, place.layout.session_type, place.layout.key_type)


def _created(work: Work) -> str | None:
    """The column that says when a session came, if it is a time."""
    created = work.migration.sessions.created
    columns = work.layout.sessions.columns
    return created if created in columns and is_time(columns[created].type) else None


def rows(work: Work, place: Place) -> sql.Composed:
    """Key, session and flow of each row as texts, whether the old column still stands or is archived.

    `old_flow` is the old column as the id of a flow, `flow_session` the flow id as that of a session.
    """
    layout = work.layout
    old = q("t.{old}", old=place.linked.old) if place.has_old else sql.SQL("a.old_value").format()
    flow = q("t.{flow}", flow=place.linked.flow) if place.has_flow else sql.SQL("NULL::text").format()
    kind = place.flow_type if place.has_flow else "text"
    archive = sql.SQL("").format()
    if not place.has_old:
        archive = q(" LEFT JOIN {archive} a ON {same}", archive=place.archive, same=place.same_key("t", "a"))
    return q(
        "SELECT {key} AS key, {session} AS session, {flow} AS flow, {old_flow} AS old_flow, {flow_session} AS flow_session"
        " FROM {table} t{archive}",
        key=place.key_text("t"), session=canonical(old, place.old_type, place.rule),
        flow=canonical(flow, kind, rule(place.flow_type, layout.flow_type)),
        old_flow=canonical(old, place.old_type, rule(place.old_type, layout.flow_type)),
        flow_session=canonical(flow, kind, _as_session(place)), table=place.ident, archive=archive,
    )  # fmt: skip
