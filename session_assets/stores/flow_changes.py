"""What backfill would do, read from one snapshot: sessions and their flows, rows and what they would get. Writes nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

import polars as pl
from psycopg import sql

from session_assets.errors import PlanRefused
from session_assets.flow.model import CHANGES, DESCRIBE, INVENTORY, LISTED, MAP, made_flow_id
from session_assets.stores.flow_ids import canonical, canonical_text
from session_assets.stores.flow_layout import Place, q, raw
from session_assets.stores.flow_made import lacking
from session_assets.stores.flow_work import Work

_PAGE = 50_000  # rows read at a time
_ROWS = """
    SELECT {key}, t.{old}::text, {of_session}, {before}::text, {after}::text, {reason} FROM {table} t{archive}
    LEFT JOIN LATERAL (SELECT {mapped} AS flow) m ON true LEFT JOIN LATERAL (SELECT {named} AS flow) n ON true
    LEFT JOIN LATERAL (SELECT CASE WHEN t.{old} IS NULL THEN {fallback} END AS flow) b ON true
    WHERE {before} IS NULL AND (t.{old} IS NOT NULL OR {may_fall})
"""
_MAP = """
    SELECT {of_session}, (array_agg({flow}::text ORDER BY {created}, {flow}))[1], count(*) FROM {flows}
    WHERE {session} IS NOT NULL GROUP BY 1 ORDER BY 1
"""


@dataclass
class Counted:
    """Rows of one table: read, and by what becomes of them."""

    read: int = 0
    reasons: Counter[str] = field(default_factory=Counter)


def session_map(work: Work) -> pl.DataFrame:
    """The flow of each session (MAP), with those that get one made. Before contract only.

    Raises `PlanRefused` where types are not understood.
    """
    layout = work.layout
    odd = [*layout.misunderstood, *(one for place in layout.places for one in place.misunderstood)]
    if odd:
        raise PlanRefused(
            f"Nothing was planned: {'; '.join(odd)}. Give the columns types that can be compared, or describe the columns"
            f" that hold the ids. {DESCRIBE}."
        )
    of_session = canonical(sql.Identifier(work.migration.flows.session), layout.session_type, layout.rule)
    rows = work.connection.execute(
        q(_MAP, session=work.migration.flows.session, of_session=of_session, flow=layout.flow,
          created=work.migration.flows.created, flows=layout.flows_ident)
    ).fetchall()  # fmt: skip
    ours = set[str]()
    if layout.has_made:
        ours = {row[0] for row in work.connection.execute(q("SELECT flow_id::text FROM {made}", made=layout.made))}
    found = [
        (session, flow, count, "made" if flow in ours else "mapped" if count == 1 else "ambiguous")
        for session, flow, count in rows
    ]
    for page in lacking(work):
        for key, _, settled, no in page:
            state = "cannot_be_made" if no else "to_make" if settled else "unsettled"
            found.append((str(key), made_flow_id(key) if state == "to_make" else None, 0, state))
    return pl.DataFrame(found, schema=MAP, orient="row").sort("session_id")


def changes(work: Work, place: Place, mapped: pl.DataFrame, counted: Counted) -> Iterator[pl.DataFrame]:
    """Rows of a table without flow (CHANGES), in pages; counts them on the way."""
    states = {
        canonical_text(session, place.rule): (flow, state)
        for session, flow, state in mapped.select("session_id", "flow_id", "state").iter_rows()
    }
    counted.read = work.one(q("SELECT count(*) FROM {table}", table=place.ident))
    with work.connection.cursor("flow_changes") as cursor:
        cursor.execute(_statement(place))
        while rows := cursor.fetchmany(_PAGE):
            page = [
                (place.name, key, old, before, *_decided(session, after, reason, states))
                for key, old, session, before, after, reason in rows
            ]
            counted.reasons.update(row[5] for row in page)
            yield pl.DataFrame(page, schema=CHANGES, orient="row")


def classes(counted: dict[str, Counted]) -> dict[str, int]:
    """Every row in one class: unchanged | planned | listed | unsettled."""
    read = sum(one.read for one in counted.values())
    reasons = sum((one.reasons for one in counted.values()), Counter[str]())
    unsettled = reasons["unsettled"]
    listed = sum(reasons[name] for name in LISTED) - unsettled
    planned = reasons.total() - listed - unsettled
    return {
        "unchanged": read - planned - listed - unsettled,
        "planned": planned,
        "listed": listed,
        "unsettled": unsettled,
    }


def inventory(work: Work) -> pl.DataFrame:
    """Columns of the described tables that the migration is about (INVENTORY), with exact names and counts."""
    rows = []
    sessions, flows = work.migration.sessions, work.migration.flows
    described = [(sessions.name, work.layout.sessions, {sessions.key: "key"})]
    for place in work.layout.places:
        roles = {**dict.fromkeys(flows.scope, "scope"), **dict.fromkeys(place.keys, "key"), place.linked.flow: "flow",
                 place.linked.old: "old"}  # fmt: skip
        described.append((place.name, place.table, roles))
    for shown, table, roles in described:
        names = [name for name in roles if name in table.columns]
        counts = sql.SQL(", ").join(sql.SQL("count({})").format(sql.Identifier(name)) for name in names)
        found = work.connection.execute(
            q("SELECT count(*), {counts} FROM {table}", counts=counts, table=sql.Identifier(table.schema, table.name))
        ).fetchone()
        assert found is not None
        for name, non_null in zip(names, found[1:], strict=True):
            column = table.columns[name]
            indexes = ", ".join(one.name for one in table.indexes if name in one.columns)
            keys = ", ".join(one.definition for one in table.constraints if one.kind == "f" and name in one.columns)
            rows.append((shown, name, column.type, not column.not_null, roles[name], found[0], non_null, indexes, keys))
    return pl.DataFrame(rows, schema=INVENTORY, orient="row")


def _decided(
    session: str | None, after: str | None, reason: str | None, states: dict[str, tuple[str | None, str]]
) -> tuple[str | None, str]:
    """What a row gets, and why; what the server could not find is decided by its session."""
    if reason is not None:
        return after, reason
    if session is None:
        return None, "orphaned"
    flow, state = states.get(session, (None, ""))
    if state == "to_make":
        return flow, "session_created"
    return None, "unsettled" if state in ("unsettled", "cannot_be_made") else "unknown_session"


def _statement(place: Place) -> sql.Composed:
    old = sql.Identifier("t", place.linked.old)
    nothing = sql.SQL("CAST(NULL AS {})").format(raw(place.flow_type))
    kept, archive = nothing, sql.SQL("")
    if place.archive_table is not None:
        kept = sql.SQL("a.kept_flow_id")
        archive = q(" LEFT JOIN {archive} a ON {same}", archive=place.archive, same=place.same_key("t", "a"))
    return q(
        _ROWS, key=place.key_text("t"), old=place.linked.old,
        of_session=canonical(old, place.old_type, place.rule), table=place.ident, archive=archive,
        before=sql.Identifier("t", place.linked.flow) if place.has_flow else nothing,
        after=q("COALESCE({kept}, m.flow, n.flow, b.flow)", kept=kept),
        reason=q(
            "CASE WHEN {kept} IS NOT NULL THEN 'kept' WHEN m.flow IS NOT NULL THEN 'session_mapped'"
            " WHEN n.flow IS NOT NULL THEN 'flow_named' WHEN b.flow IS NOT NULL THEN 'fallback' END", kept=kept,
        ),
        mapped=place.mapped(old), named=place.named(old) if place.linked.holds_flow_ids else nothing,
        fallback=place.fallback("t"),
        may_fall=q("({fall} OR {kept} IS NOT NULL)", kept=kept, fall=sql.SQL("true" if place.linked.fallback else "false")),
    )  # fmt: skip
