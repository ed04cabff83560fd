"""Flows that are made for sessions without one: their ids come from the session, so that every run makes the same ones."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from psycopg import sql

from session_assets.errors import PlanRefused
from session_assets.failpoints import failpoint
from session_assets.flow.model import DESCRIBE, Migration, made_flow_id
from session_assets.stores.flow_ids import converted, matches
from session_assets.stores.flow_layout import Layout, Place, q, raw
from session_assets.stores.flow_steps import StepRecord
from session_assets.stores.flow_waits import patiently, short
from session_assets.stores.flow_work import Work

GONE = "removed"
"""Stands in place of the step with flows of ours that an undo has deleted, while it looks at rows that got one meanwhile."""
_LACKING = """
    SELECT s.{key}, s.{title}, {settled}, {missing} FROM {sessions} s
    WHERE (%s::text IS NULL OR s.{key} > CAST(%s AS {key_type})) AND NOT EXISTS (SELECT FROM {flows} f WHERE {has_flow})
    ORDER BY s.{key} LIMIT %s
"""
_MAKE = """
    WITH wanted AS (SELECT * FROM unnest(%s::text[], %s::text[], %s::text[]) w (session, flow, title)),
    made AS (
        INSERT INTO {flows} AS f ({columns})
        SELECT DISTINCT ON ({id}) {values} FROM wanted w JOIN {sessions} s ON s.{key} = CAST(w.session AS {key_type})
        WHERE NOT EXISTS (SELECT FROM {flows} f WHERE {has_flow}) ORDER BY {id}, s.{key}
        ON CONFLICT DO NOTHING RETURNING *
    )
    INSERT INTO {record} (flow_id, session, content, step)
    SELECT f.{flow}, f.{session}, to_jsonb(f) - {session_name}::text, %s FROM made f
    ON CONFLICT (flow_id) DO UPDATE SET content = EXCLUDED.content, step = EXCLUDED.step
"""


def lacking(work: Work) -> Iterator[list[tuple[Any, str | None, bool, bool]]]:
    """Sessions without flow, in pages: their key, title, whether they are settled, and whether a flow cannot be made."""
    layout, sessions = work.layout, work.migration.sessions
    settled = sql.SQL("true")
    if sessions.created:
        settled = q("coalesce(s.{created} < now() - {age}, true)", created=sessions.created,
                    age=sql.SQL("make_interval(secs => {})").format(sql.Literal(work.limits.settle_minutes * 60)))  # fmt: skip
    missing = sql.SQL(" OR ").join(
        [
            q("{id} IS NULL", id=session_parts(layout)["id"]),  # it has no like in the type of the flows' column
            *(sql.SQL("{} IS NULL").format(sql.Identifier("s", one)) for one in required_scope(layout)),
        ]
    )
    statement = q(_LACKING, settled=settled, missing=missing, title=sessions.title, **session_parts(layout))
    last = None
    while True:
        rows = work.connection.execute(statement, [last, last, work.limits.batch]).fetchall()
        if not rows:
            return
        yield rows
        last = str(rows[-1][0])


def make_flows(work: Work, step: StepRecord) -> int:
    """Make a flow for each session that has none and is settled. Idempotent. Returns how many were made."""
    require_fillable(work)
    work.connection.execute(q("DELETE FROM {made} WHERE step = {gone}", made=work.layout.made, gone=sql.Literal(GONE)))
    count = 0
    for page in lacking(work):
        wanted = [
            (str(key), made_flow_id(key), str(title or key)) for key, title, settled, no in page if settled and not no
        ]
        if wanted:
            count += patiently(
                work.connection, work.limits, lambda wanted=wanted: _make(work, step, wanted), "making flows",
                [work.layout.flows.oid], work.say,
            )  # fmt: skip
        failpoint("flow.made")
    return count


def require_fillable(work: Work) -> None:
    """Raises `PlanRefused` where a flow would lack a column that must have a value."""
    filled = {name for name, _ in values_of_made(work.layout, "")}
    lacks = [
        one.name
        for one in work.layout.flows.columns.values()
        if one.not_null and one.default is None and not one.is_computed and one.name not in filled
    ]
    if lacks:
        raise PlanRefused(
            f"A flow cannot be made: {work.migration.flows.name}.{', '.join(lacks)} must have a value."
            f" Give it a value in `literals`. {DESCRIBE}."
        )


def _make(work: Work, step: StepRecord, wanted: list[tuple[str, str, str]]) -> int:
    layout = work.layout
    pairs = values_of_made(layout, _time(step.started_at))
    columns = sql.SQL(", ").join(sql.Identifier(name) for name, _ in pairs)
    values = sql.SQL(", ").join(value for _, value in pairs)
    statement = q(
        _MAKE, columns=columns, values=values, record=layout.made, flow=layout.flow,
        session_name=sql.Literal(work.migration.flows.session), **session_parts(layout),
    )  # fmt: skip
    with short(work.connection, work.limits):
        done = work.connection.execute(statement, [*map(list, zip(*wanted, strict=True)), step.id]).rowcount
        place = layout.places[0]
        names = sql.SQL(", ").join(map(sql.Identifier, place.archive_keys))
        work.connection.execute(
            q(
                "INSERT INTO {archive} ({names}, old_value) SELECT {keys}, f.{session} FROM {flows} f JOIN {record} m"
                " ON m.flow_id = f.{flow} WHERE m.flow_id = ANY (%s::{type}[]) ON CONFLICT DO NOTHING",
                archive=place.archive, names=names, keys=place.key_list("f"), session=work.migration.flows.session,
                flows=layout.flows_ident, record=layout.made, flow=layout.flow, type=raw(layout.flow_type),
            ),
            [[flow for _, flow, _ in wanted]],
        )  # fmt: skip
    return done


def session_parts(layout: Layout) -> dict[str, Any]:
    """Parts of statements about sessions `s` and their flows."""
    sessions, flows = layout.migration.sessions, layout.migration.flows
    kind = layout.sessions.columns[sessions.key].type
    return {
        "key": sessions.key,
        "key_type": raw(kind),
        "sessions": layout.sessions_ident,
        "flows": layout.flows_ident,
        "session": flows.session,
        "id": converted(sql.Identifier("s", sessions.key), kind, layout.session_type),
        "has_flow": matches(
            sql.Identifier("f", flows.session),
            layout.session_type,
            sql.Identifier("s", sessions.key),
            kind,
            layout.rule,
        ),
    }


def values_of_made(layout: Layout, created: str) -> list[tuple[str, sql.Composable]]:
    """Columns of a flow that is made, with their values, of those that the table has."""
    migration: Migration = layout.migration
    flows, sessions = migration.flows, migration.sessions
    kind = layout.sessions.columns[sessions.key].type
    values: dict[str, sql.Composable] = {
        **{one: sql.SQL("w.flow") for one in (*flows.uuids, flows.flow)},
        flows.session: converted(sql.Identifier("s", sessions.key), kind, layout.session_type),
        **{one: sql.Identifier("s", one) for one in flows.scope},
        flows.created: sql.Literal(created),
        **{name: sql.Literal(text) for name, text in flows.literals.items()},
    }
    title, template = flows.titled
    if title in layout.flows.columns:
        before, _, after = template.partition("{}")
        values[title] = sql.SQL("{} || w.title || {}").format(sql.Literal(before), sql.Literal(after))
    return [
        (
            name,
            value
            if name == flows.session
            else sql.SQL("CAST({} AS {})").format(value, raw(layout.flows.columns[name].type)),
        )
        for name, value in values.items()
        if name in layout.flows.columns
    ]


def required_scope(layout: Layout) -> list[str]:
    """Columns of a session without which no flow can be made for it."""
    return [one for one in layout.migration.flows.scope if layout.flows.columns[one].not_null]


def _time(moment: datetime) -> str:
    return moment.isoformat()


__all__ = ["Place", "lacking", "make_flows", "require_fillable", "required_scope", "session_parts", "values_of_made"]
