"""The undo of backfill: flow ids that we filled are taken back, flows that we made are removed, where nobody built on them."""

from __future__ import annotations

from typing import Any

from psycopg import sql

from session_assets.errors import PlanRefused
from session_assets.failpoints import failpoint
from session_assets.masking import safe_text
from session_assets.stores.flow_backfill import key_after, key_until
from session_assets.stores.flow_breaks import fails_without_flow
from session_assets.stores.flow_ids import EXACT, canonical, converted, has_own_order, matches, rule
from session_assets.stores.flow_layout import Place, q
from session_assets.stores.flow_made import GONE
from session_assets.stores.flow_memory import require_memory
from session_assets.stores.flow_waits import Pace, Throttle, patiently, short
from session_assets.stores.flow_work import Work

_NEXT = """
    SELECT count(*), (array_agg(key ORDER BY {down}))[1] FROM (
        SELECT jsonb_build_array({texts}) AS key, {keys} FROM {table} t {after} ORDER BY {keys} LIMIT {limit}) t
"""
_TAKE = """
    WITH mine AS MATERIALIZED (
        SELECT {keys_as} FROM {table} t LEFT JOIN {archive} a ON {same}
        WHERE {within} AND t.{flow} IS NOT NULL AND (a.filled_flow_id = t.{flow} OR {of_made}) AND NOT {needed}
        FOR NO KEY UPDATE OF t
    ), taken AS (
        UPDATE {table} t SET {flow} = NULL FROM mine m WHERE {of_mine} RETURNING 1
    ), cleared AS (
        UPDATE {archive} a SET filled_flow_id = NULL FROM mine m WHERE {of_archive} RETURNING 1
    )
    SELECT (SELECT count(*) FROM taken)
"""
_UNTOUCHED = "to_jsonb(f) - {session}::text = m.content"


def undo_backfill(work: Work, *, dry_run: bool = False) -> dict[str, Any]:
    """Take back what backfill filled and made. Returns counts, and what cannot be undone with the reason."""
    _require_own_tables(work)
    refused = refused_flows(work)
    if dry_run:
        return {
            "taken_back": {one.name: count_filled(work, one) for one in work.layout.followed},
            "removed": work.one(q("SELECT count(*) FROM {made}", made=work.layout.made)) - len(refused),
            "refused": _told(refused),
        }
    require_memory(work)
    throttle = Throttle(work.connection, work.limits, work.say)
    taken = {}
    for place in work.layout.followed:
        taken[place.name] = _take_back(work, place, throttle)
        failpoint(f"flow.undo_backfill.{place.name}")
    removed = patiently(
        work.connection, work.limits, lambda: _remove(work), "removing flows", [work.layout.flows.oid], work.say
    )
    failpoint("flow.undo_backfill.removed")
    for place in work.layout.followed:
        taken[place.name] += patiently(
            work.connection, work.limits, lambda place=place: _take_late(work, place), f"undo of {place.name}",
            [place.table.oid], work.say,
        )  # fmt: skip
    work.connection.execute(q("DELETE FROM {made} WHERE step = {gone}", made=work.layout.made, gone=sql.Literal(GONE)))
    return {"taken_back": taken, "removed": removed, "refused": _told(refused_flows(work))}


def _require_own_tables(work: Work) -> None:
    """Raises `PlanRefused` where a table of ours was dropped by hand that says what we wrote."""
    gone = [] if work.layout.has_made else [work.layout.made]
    gone += [place.archive for place in work.layout.places if place.archive_table is None]
    if gone:
        names = ", ".join(one.as_string(work.connection) for one in gone)
        raise PlanRefused(
            f"Nothing was undone: {names} is gone, so nobody knows which flow ids were filled or made by us. Restore it from a"
            " backup, then run the same command again."
        )


def refused_flows(work: Work) -> list[tuple[str, str]]:
    """Flows of ours that cannot be removed, each with the word that says why: deleted_since, edited_since or in_use."""
    rows = work.connection.execute(
        q(
            "SELECT m.flow_id::text, CASE WHEN f.{flow} IS NULL THEN 'deleted_since' WHEN NOT ({same}) THEN"
            " 'edited_since' ELSE 'in_use' END FROM {made} m"
            " LEFT JOIN {flows} f ON f.{flow} = m.flow_id WHERE m.step <> {gone}"
            " AND (f.{flow} IS NULL OR NOT ({same}) OR ({used})) ORDER BY 1",
            gone=sql.Literal(GONE), flow=work.layout.flow, made=work.layout.made, flows=work.layout.flows_ident,
            same=q(_UNTOUCHED, session=sql.Literal(work.migration.flows.session)), used=_used(work),
        )
    ).fetchall()  # fmt: skip
    return [(flow, word) for flow, word in rows]


_WHY = {
    "deleted_since": "was deleted since",
    "edited_since": "was edited since",
    "in_use": "is referred to by rows that the application wrote",
}


def _told(refused: list[tuple[str, str]]) -> list[str]:
    return [f"flow {safe_text(flow)} {_WHY[word]}" for flow, word in refused]


def _used(work: Work) -> sql.Composed:
    """Whether rows refer to a flow that we made, other than those whose flow id is taken back."""
    parts: list[sql.Composed] = []
    for place in work.layout.places[1:]:
        if not place.has_flow:
            continue
        by = rule(place.flow_type, work.layout.flow_type)
        if not has_own_order(place.flow_type, by):
            parts.append(_spelled_otherwise(place, by))
        if place.archive_table is None:  # expand is undone: only the memory of made flows is left
            parts.append(_refers(work, place))
            continue
        mine = sql.SQL("false").format()
        if place.follows:
            mine = q("((a.filled_flow_id IS NOT DISTINCT FROM t.{flow} OR {of_made}) AND NOT {needed})",
                     flow=place.linked.flow, of_made=of_made(place), needed=fails_without_flow(place))  # fmt: skip
        parts.append(
            q("EXISTS (SELECT FROM {table} t LEFT JOIN {archive} a ON {same} WHERE t.{flow} = {id} AND NOT {mine})",
              table=place.ident, archive=place.archive, same=place.same_key("t", "a"), flow=place.linked.flow, mine=mine,
              id=converted(sql.Identifier("m", "flow_id"), work.layout.flow_type, place.flow_type))
        )  # fmt: skip
    return q("({parts})", parts=sql.SQL(" OR ").join(parts))


def _spelled_otherwise(place: Place, by: str) -> sql.Composed:
    """Whether a row of texts names a flow that we made, in another spelling than ours."""
    flow = sql.Identifier("t", place.linked.flow)
    return q(
        "CAST(m.flow_id AS text) IN (SELECT {canonical} FROM {table} t WHERE {canonical} <> {exact})",
        canonical=canonical(flow, place.flow_type, by), exact=canonical(flow, place.flow_type, EXACT), table=place.ident,
    )  # fmt: skip


def _refers(work: Work, place: Place) -> sql.Composed:
    """Whether a row names a flow that we made."""
    return q("EXISTS (SELECT FROM {table} t WHERE t.{flow} = {id})", table=place.ident, flow=place.linked.flow,
             id=converted(sql.Identifier("m", "flow_id"), work.layout.flow_type, place.flow_type))  # fmt: skip


def of_made(place: Place) -> sql.Composed:
    """Whether a row carries the session, and the flow that was made for it."""
    if not place.has_old:
        return sql.SQL("false").format()
    layout = place.layout
    return q(
        "EXISTS (SELECT FROM {made} d WHERE {flow_id} = t.{flow} AND {same})",
        made=layout.made, flow_id=converted(sql.Identifier("d", "flow_id"), layout.flow_type, place.flow_type),
        flow=place.linked.flow,
        same=matches(sql.Identifier("d", layout.made_session), layout.session_type, sql.Identifier("t", place.linked.old),
                     place.old_type, place.rule),
    )  # fmt: skip


def count_filled(work: Work, place: Place) -> int:
    """Rows that have a flow id which we filled."""
    return work.one(
        q("SELECT count(*) FROM {table} t LEFT JOIN {archive} a ON {same} WHERE t.{flow} IS NOT NULL"
          " AND (a.filled_flow_id = t.{flow} OR {of_made}) AND NOT {needed}", table=place.ident, archive=place.archive,
          same=place.same_key("t", "a"), flow=place.linked.flow, of_made=of_made(place), needed=fails_without_flow(place))
    )  # fmt: skip


def _take_back(work: Work, place: Place, throttle: Throttle) -> int:
    last: list[Any] | None = None
    taken, pace = 0, Pace(work.limits)
    parts = _parts(place)
    while True:
        throttle.wait()
        number, upper = next_range(work, place, last, pace.rows)
        if not number:
            return taken
        within = sql.SQL("{} AND {}").format(key_after(place, last), key_until(place, upper))

        def batch(within: sql.Composed = within) -> int:
            with pace.timed(), short(work.connection, work.limits):
                return work.one(q(_TAKE, within=within, **parts))

        taken += patiently(work.connection, work.limits, batch, f"undo of {place.name}", [place.table.oid], work.say)
        failpoint("flow.undo_backfill.batch")
        last = upper


def _take_late(work: Work, place: Place) -> int:
    """Take back what triggers filled in with a flow of ours before it was deleted. Waits for the writes that are under way."""
    with short(work.connection, work.limits):
        work.connection.execute(q("LOCK TABLE {table} IN SHARE ROW EXCLUSIVE MODE", table=place.ident))
    within = q(
        "t.{flow} IN (SELECT {id} FROM {made} d WHERE d.step = {gone})", flow=place.linked.flow, made=work.layout.made,
        gone=sql.Literal(GONE),
        id=converted(sql.Identifier("d", "flow_id"), work.layout.flow_type, place.flow_type),
    )  # fmt: skip
    with short(work.connection, work.limits):
        return work.one(q(_TAKE, within=within, **_parts(place)))


def _parts(place: Place) -> dict[str, Any]:
    names = list(zip(place.keys, place.archive_keys, strict=True))
    return {
        "keys_as": sql.SQL(", ").join(
            sql.SQL("{} AS {}").format(sql.Identifier("t", a), sql.Identifier(b)) for a, b in names
        ),
        "table": place.ident,
        "archive": place.archive,
        "same": place.same_key("t", "a"),
        "flow": place.linked.flow,
        "of_made": of_made(place),
        "needed": fails_without_flow(place),
        "of_mine": place.same_key("t", "m"),
        "of_archive": sql.SQL(" AND ").join(
            sql.SQL("{} = {}").format(sql.Identifier("a", b), sql.Identifier("m", b)) for _, b in names
        ),
    }


def next_range(work: Work, place: Place, last: list[Any] | None, rows: int) -> tuple[int, list[Any]]:
    """How many rows come after a key, up to a number, and the key of the last of them."""
    down = sql.SQL(", ").join(sql.SQL("{} DESC").format(sql.Identifier("t", one)) for one in place.keys)
    texts = sql.SQL(", ").join(sql.SQL("CAST({} AS text)").format(sql.Identifier("t", one)) for one in place.keys)
    after = sql.SQL("") if last is None else sql.SQL("WHERE {}").format(key_after(place, last))
    row = work.connection.execute(
        q(_NEXT, down=down, texts=texts, keys=place.key_list("t"), table=place.ident, after=after,
          limit=sql.Literal(rows))  # no parameter: a key may hold a percent sign
    ).fetchone()  # fmt: skip
    assert row is not None
    return row[0], row[1]


def _remove(work: Work) -> int:
    """Delete flows of ours that stand as we made them and that nothing refers to."""
    with short(work.connection, work.limits):
        gone = work.connection.execute(
            q(
                "DELETE FROM {flows} f USING {made} m WHERE m.flow_id = f.{flow} AND {same} AND NOT ({used})"
                " RETURNING m.flow_id, {keys}",
                flows=work.layout.flows_ident, made=work.layout.made, flow=work.layout.flow, used=_used(work),
                same=q(_UNTOUCHED, session=sql.Literal(work.migration.flows.session)),
                keys=work.layout.places[0].key_list("f"),
            )
        ).fetchall()  # fmt: skip
        place = work.layout.places[0]
        conditions = sql.SQL(" AND ").join(sql.SQL("{} = %s").format(sql.Identifier(one)) for one in place.archive_keys)
        for flow, *key in gone:
            work.connection.execute(
                q("UPDATE {made} SET step = %s WHERE flow_id = %s", made=work.layout.made), [GONE, flow]
            )
            work.connection.execute(
                q("DELETE FROM {archive} WHERE {same}", archive=place.archive, same=conditions), key
            )
    return len(gone)
