"""Recounts the migration from the tables themselves: set-based, in texts, and with nothing of what backfill runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import LiteralString

from psycopg import sql

from session_assets.flow.model import BACKFILL, CONTRACT, MAPPED_SHARE, RULES
from session_assets.stores.flow_catalog import OURS
from session_assets.stores.flow_findings import Due, Finding
from session_assets.stores.flow_layout import Place, q
from session_assets.stores.flow_triggers import trigger_names
from session_assets.stores.flow_work import Work

_SAMPLE = 20
_LINKS = """
    links AS MATERIALIZED (SELECT l.session, f.{flow}::text AS flow, l.ours, f.{created} AS created FROM {flows} f
        JOIN ({source}) l ON l.place = f.ctid WHERE l.session IS NOT NULL AND f.{flow} IS NOT NULL),
    firsts AS MATERIALIZED (
        SELECT DISTINCT ON (session) session, flow FROM links ORDER BY session, ours, created, flow),
    several AS (SELECT session FROM links GROUP BY 1 HAVING count(*) > 1),
    ids AS MATERIALIZED (SELECT {flow}::text AS flow FROM {flows} WHERE {flow} IS NOT NULL),
    sessions AS MATERIALIZED (SELECT {key}::text AS session FROM {sessions})
"""
_FIRED = """
    SELECT tgname FROM pg_trigger t WHERE tgrelid = %s AND NOT tgisinternal AND tgenabled IN ('O', 'A')
      AND tgtype & 17 = 17 AND NOT starts_with(tgname, %s) AND (tgattr = ''::int2vector OR EXISTS (
        SELECT FROM pg_attribute a WHERE a.attrelid = tgrelid AND a.attnum = ANY (tgattr) AND a.attname = ANY (%s)))
    ORDER BY tgname
"""


def recount(work: Work, names: list[str]) -> list[Finding]:
    """The checks of some names, each counted anew, and judged by how far the migration is."""
    due = Due(work)
    return [due.judged(_CHECKS[name](work, name)) for name in names]


def unarchived(work: Work, place: Place) -> int:
    """Values of an old column that are missing or different in its archive."""
    if place.archive_table is None:
        return work.one(q("SELECT count({old}) FROM {table}", old=place.linked.old, table=place.ident))
    return work.one(
        q("SELECT count(*) FROM {table} t LEFT JOIN {archive} a ON {same} WHERE t.{old} IS NOT NULL"
          " AND a.old_value IS DISTINCT FROM t.{old}", table=place.ident, archive=place.archive,
          same=place.same_key("t", "a"), old=place.linked.old)
    )  # fmt: skip


def unmapped_share(work: Work) -> tuple[int, int]:
    """Rows without flow, of those that had a session or could have got a flow otherwise."""
    finding = _mapping(work, "mapping_percentage")
    return finding.count, finding.total


# -- parts of statements -----------------------------------------------------------------------------------------------


def _links(work: Work) -> sql.Composed:
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
    source = q("SELECT t.ctid AS place, {old}::text AS session, {ours} AS ours FROM {flows} t{joined}", old=old, ours=ours,
               flows=layout.flows_ident, joined=joined)  # fmt: skip
    return q(_LINKS, flow=layout.flow, created=work.migration.flows.created, flows=layout.flows_ident, source=source,
             key=work.migration.sessions.key, sessions=layout.sessions_ident)  # fmt: skip


def _rows(place: Place) -> sql.Composed:
    """Key, session and flow of each row as texts, whether the old column still stands or is archived."""
    flow = q("t.{flow}::text", flow=place.linked.flow) if place.has_flow else sql.SQL("NULL::text").format()
    if place.has_old:
        return q("SELECT {key} AS key, lower(t.{old}::text) AS session, {flow} AS flow FROM {table} t",
                 key=place.key_text("t"), old=place.linked.old, flow=flow, table=place.ident)  # fmt: skip
    return q("SELECT {key} AS key, lower(a.old_value::text) AS session, {flow} AS flow FROM {table} t"
             " LEFT JOIN {archive} a ON {same}", key=place.key_text("t"), flow=flow, table=place.ident,
             archive=place.archive, same=place.same_key("t", "a"))  # fmt: skip


def _count(work: Work, name: str, places: list[Place], condition: Callable[[Place], LiteralString]) -> Finding:
    """Rows of some places for which a condition holds, in one look at each."""
    count = total = 0
    sample: list[str] = []
    for place in places:
        statement = q(
            "WITH {links}, r AS ({rows}), found AS (SELECT key FROM r WHERE {condition})"
            " SELECT (SELECT count(*) FROM r), (SELECT count(*) FROM found),"
            " ARRAY(SELECT key FROM found ORDER BY key LIMIT {limit})",
            links=_links(work), rows=_rows(place), condition=sql.SQL(condition(place)), limit=sql.Literal(_SAMPLE),
        )  # fmt: skip
        row = work.connection.execute(statement).fetchone()
        assert row is not None
        total, count = total + row[0], count + row[1]
        sample += [f"{place.name} {key}" for key in row[2]]
    return Finding(name, not count, count, total, sample[:_SAMPLE])


# -- checks ------------------------------------------------------------------------------------------------------------


def _follows(work: Work, name: str) -> Finding:
    def condition(place: Place) -> LiteralString:
        by_id = " OR r.session IN (SELECT flow FROM ids)" if place.linked.holds_flow_ids else ""
        return "r.flow IS NULL AND (r.session IN (SELECT session FROM firsts)" + by_id + ")"

    return _count(work, name, work.layout.followed, condition)


def _inconsistent(work: Work, name: str) -> Finding:
    places = [one for one in work.layout.places[1:] if one.linked.named]
    return _count(work, name, places, lambda _: "r.flow IS NOT NULL AND lower(r.flow) NOT IN (SELECT flow FROM ids)")


def _disagrees(work: Work, name: str) -> Finding:
    return _count(
        work, name, work.layout.followed,
        lambda _: "r.flow IS NOT NULL AND r.session IN (SELECT session FROM firsts)"
        " AND NOT EXISTS (SELECT FROM links l WHERE l.session = r.session AND l.flow = lower(r.flow))",
    )  # fmt: skip


def _session_ids(work: Work, name: str) -> Finding:
    return _count(
        work, name, work.layout.places[1:],
        lambda _: "lower(r.flow) IN (SELECT session FROM sessions) AND lower(r.flow) NOT IN (SELECT flow FROM ids)",
    )  # fmt: skip


def _orphaned(work: Work, name: str) -> Finding:
    places = [one for one in work.layout.followed if one.linked.fallback]
    return _count(work, name, places, lambda _: "r.flow IS NULL AND r.session IS NULL")


def _mapping(work: Work, name: str) -> Finding:
    count = total = 0
    for place in work.layout.followed:
        counted = sql.SQL("true" if place.linked.fallback else "r.session IS NOT NULL OR r.flow IS NOT NULL")
        row = work.connection.execute(
            q("WITH r AS ({rows}) SELECT count(*), count(*) FILTER (WHERE r.flow IS NULL) FROM r WHERE {counted}",
              rows=_rows(place), counted=counted)
        ).fetchone()  # fmt: skip
        assert row is not None
        total, count = total + row[0], count + row[1]
    share = 1.0 if not total else 1 - count / total
    return Finding(name, share >= MAPPED_SHARE, count, total, [], f"{share:.1%} of {total:,} rows are mapped to a flow")


def _unknown(work: Work, name: str) -> Finding:
    def condition(place: Place) -> LiteralString:
        by_id = " AND r.session NOT IN (SELECT flow FROM ids)" if place.linked.holds_flow_ids else ""
        return "r.session IS NOT NULL AND r.session NOT IN (SELECT session FROM sessions)" \
            " AND r.session NOT IN (SELECT session FROM firsts)" + by_id  # fmt: skip

    return _count(work, name, work.layout.places[1:], condition)


def _sessions(work: Work, name: str) -> Finding:
    condition: sql.Composable = sql.SQL("session IN (SELECT session FROM several)")
    if name == "orphaned_sessions":
        condition = sql.SQL("session NOT IN (SELECT session FROM firsts){}").format(_of_contract(work))
    row = work.connection.execute(
        q("WITH {links}, found AS (SELECT session FROM sessions WHERE {condition}) SELECT (SELECT count(*) FROM sessions),"
          " (SELECT count(*) FROM found), ARRAY(SELECT session FROM found ORDER BY 1 LIMIT {limit})",
          links=_links(work), condition=condition, limit=sql.Literal(_SAMPLE))
    ).fetchone()  # fmt: skip
    assert row is not None
    return Finding(name, not row[1], row[1], row[0], row[2])


def _of_contract(work: Work) -> sql.Composable:
    """After contract a session that came later needs no flow of its own."""
    created, step = work.migration.sessions.created, work.steps.newest(CONTRACT, "completed")
    if step is None or created is None or any(one.has_old for one in work.layout.places):
        return sql.SQL("")
    return q(
        " AND session NOT IN (SELECT {key}::text FROM {sessions} WHERE {created} > {began})",
        key=work.migration.sessions.key, sessions=work.layout.sessions_ident, created=created,
        began=sql.Literal(step.started_at),
    )  # fmt: skip


def _archive(work: Work, name: str) -> Finding:
    count = total = 0
    sample: list[str] = []
    step = work.steps.newest(CONTRACT, "completed")
    for place in work.layout.places:
        if place.has_old:
            missing = unarchived(work, place)
            total += work.one(q("SELECT count({old}) FROM {table}", old=place.linked.old, table=place.ident))
        else:
            wanted = (step.counts.get("archived", {}) if step else {}).get(place.name, 0)
            total += wanted
            there = work.one(q("SELECT count(old_value) FROM {archive}", archive=place.archive))
            missing = max(0, wanted - there)
        count += missing
        sample += [f"{place.name}: {missing:,}"] if missing else []
    return Finding(name, not count, count, total, sample)


def _application_triggers(work: Work, name: str) -> Finding:
    """Row triggers on UPDATE that are not ours, but for those of columns that no step writes."""
    found = []
    for place in work.layout.places:
        written = [place.linked.old, *([place.linked.flow] if place.follows else [])]
        rows = work.connection.execute(_FIRED, [place.table.oid, f"zz_{OURS}", written]).fetchall()
        found += [f"{place.name}: {', '.join(row[0] for row in rows)}"] if rows else []
    return Finding(name, not found, len(found), len(work.layout.places), found)


def _row_counts(work: Work, name: str) -> Finding:
    fewer = []
    originals = work.steps.kept("original")
    for place_name, _, original in originals:
        place = work.place(place_name)
        now = work.one(q("SELECT count(*) FROM {table}", table=place.ident))
        if place is work.layout.places[0] and work.layout.has_made:
            now -= work.one(q("SELECT count(*) FROM {made}", made=work.layout.made))
        if now < original["rows"]:
            fewer.append(f"{place_name}: {original['rows']:,} then, {now:,} now")
    return Finding(name, not fewer, len(fewer), len(originals), fewer)


def _foreign_keys(work: Work, name: str) -> Finding:
    wrong, total = [], 0
    for table in work.layout.tables:
        for one in table.constraints:
            if one.kind != "f" or one.target is None:
                continue
            total += 1
            pairs = list(zip(one.columns, one.target_columns, strict=True))
            same = sql.SQL(" AND ").join(
                sql.SQL("r.{} = t.{}").format(sql.Identifier(b), sql.Identifier(a)) for a, b in pairs
            )
            given = sql.SQL(" AND ").join(sql.SQL("t.{} IS NOT NULL").format(sql.Identifier(a)) for a, _ in pairs)
            violated = work.one(
                q("SELECT count(*) FROM {table} t WHERE {given} AND NOT EXISTS (SELECT FROM {target} r WHERE {same})",
                  table=sql.Identifier(table.schema, table.name), given=given, same=same,
                  target=sql.SQL(one.target))  # pyright: ignore[reportArgumentType]
            )  # fmt: skip
            is_under_way = one.name.startswith(OURS) and any(place.has_old for place in work.layout.places)
            if violated or not (one.is_valid or is_under_way):
                wrong.append(
                    f"{table.name}.{one.name}: {violated:,} rows"
                    if violated
                    else f"{table.name}.{one.name}: not validated"
                )
    return Finding(name, not wrong, len(wrong), total, wrong)


def _schema(work: Work, name: str) -> Finding:
    """Between expand and contract all triggers stand; after contract no old column, trigger, or index of it does."""
    wrong: list[str] = []
    is_contracted = not any(one.has_old for one in work.layout.places)
    is_begun = work.steps.newest(BACKFILL) is not None and work.layout.has_made
    for place in work.layout.places:
        rows = work.connection.execute(
            "SELECT tgname, tgenabled <> 'D' FROM pg_trigger WHERE tgrelid = %s AND starts_with(tgname, %s)",
            [place.table.oid, f"zz_{OURS}"],
        ).fetchall()
        enabled = {row[0] for row in rows if row[1]}
        wanted = set() if is_contracted or not is_begun else set(trigger_names(place))
        wrong += [f"{place.name}: trigger {one} is missing or disabled" for one in sorted(wanted - enabled)]
        wrong += [f"{place.name}: trigger {one} was left" for one in sorted(enabled - wanted)] if is_begun else []
        if place.follows and is_begun and not place.has_flow:
            wrong.append(f"{place.name} has no column {place.linked.flow}")
        if not is_contracted and not place.has_old:
            wrong.append(f"{place.name} has no column {place.linked.old}: contract or its undo is half done")
        gone = {one for _, one, _ in work.steps.kept("dropped_index", place.name)} if is_contracted else set()
        wrong += [f"{place.name}: index {one.name} was left" for one in place.table.indexes if one.name in gone]
        wrong += [f"{place.name}: index {one.name} is not valid" for one in place.table.indexes if not one.is_valid]
    return Finding(name, not wrong, len(wrong), len(work.layout.places), wrong[:_SAMPLE])


_CHECKS: dict[str, Callable[[Work, str], Finding]] = {
    "ambiguous_sessions": _sessions,
    "orphaned_sessions": _sessions,
    "unknown_sessions": _unknown,
    "rows_follow_their_session": _follows,
    "flow_inconsistencies": _inconsistent,
    "flows_agree_with_sessions": _disagrees,
    "no_session_id_as_flow_id": _session_ids,
    "orphaned_assets": _orphaned,
    "mapping_percentage": _mapping,
    "archive_holds_every_value": _archive,
    "application_triggers": _application_triggers,
    "row_counts": _row_counts,
    "foreign_keys_valid": _foreign_keys,
    "schema_is_as_its_step": _schema,
}
assert _CHECKS.keys() == RULES.keys()
