"""Recounts the migration from the tables themselves: set-based, in texts, and with nothing of what backfill runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import LiteralString

from psycopg import sql

from session_assets.flow.model import CONTRACT, MAPPED_SHARE, RULES
from session_assets.stores.flow_findings import Due, Finding
from session_assets.stores.flow_layout import Place, q
from session_assets.stores.flow_links import links, rows
from session_assets.stores.flow_recount_schema import (
    application_triggers,
    archived_values,
    foreign_keys,
    restored_conditions,
    row_counts,
    schema_of_step,
)
from session_assets.stores.flow_seen import AFTER_CONTRACT, Seen, unreadable_rows, unreadable_sessions
from session_assets.stores.flow_work import Work

_SAMPLE = 20


def recount(work: Work, names: list[str]) -> list[Finding]:
    """The checks of some names, each counted anew, and judged by how far the migration is."""
    due = Due(work)
    return [due.judged(_CHECKS[name](work, name)) for name in names]


def unmapped_share(work: Work) -> tuple[int, int]:
    """Rows without flow, of those that had a session or could have got a flow otherwise."""
    finding = _mapping(work, "mapping_percentage")
    return finding.count, finding.total


# -- parts of statements -----------------------------------------------------------------------------------------------


def _count(
    work: Work, name: str, places: list[Place], condition: Callable[[Place], LiteralString], uses: str = "session flow"
) -> Finding:
    """Rows of some places for which a condition holds, in one look at each. `uses` are the columns that it compares."""
    count, sample, seen = 0, list[str](), Seen()
    is_after = not any(one.has_old for one in work.layout.places)
    for place in places:
        odd = unreadable_rows(work, place, uses)
        of_contract = sql.SQL("r.session IS NULL" if is_after and "session" in uses else "false")
        statement = q(
            "WITH {links}, r AS ({rows}), o AS (SELECT r.*, {odd} AS odd FROM r), found AS (SELECT r.key FROM o r"
            " WHERE NOT odd AND ({condition})) SELECT (SELECT count(*) FROM r), (SELECT count(*) FROM found),"
            " ARRAY(SELECT key FROM found ORDER BY key LIMIT {limit}), (SELECT count(*) FROM o WHERE odd),"
            " (SELECT count(*) FROM o r WHERE NOT odd AND {of_contract})",
            links=links(work, place), rows=rows(work, place), condition=sql.SQL(condition(place)), limit=sql.Literal(_SAMPLE),
            odd=odd.condition, of_contract=of_contract,
        )  # fmt: skip
        row = work.connection.execute(statement).fetchone()
        assert row is not None
        count += row[1]
        sample += [f"{place.name} {key}" for key in row[2]]
        seen.add(row[0], odd.told(row[3]), unreadable=row[3], not_applicable=row[4])
    return seen.finding(
        Finding(name, not count, count, seen.read, sample[:_SAMPLE], may_be_empty=AFTER_CONTRACT if is_after else "")
    )


# -- checks ------------------------------------------------------------------------------------------------------------


def _understood(work: Work, name: str) -> Finding:
    """Rows whose session or flow cannot be compared."""
    count, seen = 0, Seen()
    for place in work.layout.places[1:]:
        odd = unreadable_rows(work, place, "session flow")
        row = work.connection.execute(
            q("WITH r AS ({rows}) SELECT count(*), count(*) FILTER (WHERE {odd}) FROM r", rows=rows(work, place),
              odd=odd.condition)
        ).fetchone()  # fmt: skip
        assert row is not None
        count += row[1]
        seen.add(row[0], odd.told(row[1]), unreadable=row[1])
    note = f"{count:,} of {seen.read:,} rows hold ids that nobody can compare" + "".join(f"; {one}" for one in seen.odd)
    return seen.finding(Finding(name, not count, count, seen.read, [], note))


def _follows(work: Work, name: str) -> Finding:
    def condition(place: Place) -> LiteralString:
        by_id = " OR r.old_flow IN (SELECT flow FROM ids_of_old)" if place.linked.holds_flow_ids else ""
        return "r.flow IS NULL AND (r.session IN (SELECT session FROM firsts)" + by_id + ")"

    return _count(work, name, work.layout.followed, condition)


def _inconsistent(work: Work, name: str) -> Finding:
    places = [one for one in work.layout.places[1:] if one.linked.named]
    return _count(work, name, places, lambda _: "r.flow IS NOT NULL AND r.flow NOT IN (SELECT flow FROM ids)", "flow")


def _disagrees(work: Work, name: str) -> Finding:
    return _count(
        work, name, work.layout.followed,
        lambda _: "r.flow IS NOT NULL AND r.session IN (SELECT session FROM firsts)"
        " AND NOT EXISTS (SELECT FROM links l WHERE l.session = r.session AND l.flow = r.flow)",
    )  # fmt: skip


def _session_ids(work: Work, name: str) -> Finding:
    return _count(
        work, name, work.layout.places[1:],
        lambda _: "r.flow_session IN (SELECT session FROM sessions_of_flow) AND r.flow NOT IN (SELECT flow FROM ids)", "flow",
    )  # fmt: skip


def _orphaned(work: Work, name: str) -> Finding:
    places = [one for one in work.layout.followed if one.linked.fallback]
    return _count(work, name, places, lambda _: "r.flow IS NULL AND r.session IS NULL", "")


def _mapping(work: Work, name: str) -> Finding:
    """A row that has neither session nor flow, and could not get one, is not counted."""
    count, seen = 0, Seen()
    for place in work.layout.followed:
        counted = sql.SQL("true" if place.linked.fallback else "r.session IS NOT NULL OR r.flow IS NOT NULL")
        odd = unreadable_rows(work, place, "session flow")
        row = work.connection.execute(
            q("WITH r AS ({rows}), o AS (SELECT r.*, {odd} AS odd FROM r) SELECT count(*), count(*) FILTER (WHERE odd),"
              " count(*) FILTER (WHERE NOT odd AND NOT ({counted})),"
              " count(*) FILTER (WHERE NOT odd AND ({counted}) AND r.flow IS NULL) FROM o r", rows=rows(work, place),
              odd=odd.condition, counted=counted)
        ).fetchone()  # fmt: skip
        assert row is not None
        count += row[3]
        seen.add(row[0], odd.told(row[1]), unreadable=row[1], not_applicable=row[2])
    total = seen.judged
    share = 1.0 if not total else 1 - count / total
    note = f"{share:.1%} of {total:,} rows are mapped to a flow" if total else "No row could be mapped to a flow"
    is_after = not any(one.has_old for one in work.layout.places)
    empty = AFTER_CONTRACT if is_after else ""
    return seen.finding(Finding(name, share >= MAPPED_SHARE, count, total, [], note, may_be_empty=empty))


def _unknown(work: Work, name: str) -> Finding:
    def condition(place: Place) -> LiteralString:
        by_id = " AND r.old_flow NOT IN (SELECT flow FROM ids_of_old)" if place.linked.holds_flow_ids else ""
        return "r.session IS NOT NULL AND r.session NOT IN (SELECT session FROM sessions)" \
            " AND r.session NOT IN (SELECT session FROM firsts)" + by_id  # fmt: skip

    return _count(work, name, work.layout.places[1:], condition, "session")


def _sessions(work: Work, name: str) -> Finding:
    condition: sql.Composable = sql.SQL("session IN (SELECT session FROM several)")
    waits: sql.Composable = sql.SQL("false")
    if name == "orphaned_sessions":
        condition = sql.SQL("session NOT IN (SELECT session FROM firsts){}").format(_of_contract(work))
        waits = _is_young(work)
    odd = unreadable_sessions(work)
    row = work.connection.execute(
        q("WITH {links}, o AS (SELECT s.session, {odd} AS odd, ({condition}) AS hit, {waits} AS young FROM sessions s)"
          " SELECT count(*), count(*) FILTER (WHERE hit AND NOT odd AND NOT young), count(*) FILTER (WHERE odd),"
          " count(*) FILTER (WHERE hit AND young AND NOT odd),"
          " (array_agg(session ORDER BY session) FILTER (WHERE hit AND NOT odd AND NOT young))[1:{limit}] FROM o",
          links=links(work), condition=condition, odd=odd.condition, waits=waits, limit=sql.Literal(_SAMPLE))
    ).fetchone()  # fmt: skip
    assert row is not None
    seen = Seen("sessions")
    seen.add(row[0], odd.told(row[2]), unreadable=row[2], unsettled=row[3])
    return seen.finding(Finding(name, not row[1], row[1], row[0], row[4] or []))


def _is_young(work: Work) -> sql.Composable:
    """Before contract a session without flow waits until it is settled: its flow may be about to come."""
    created, minutes = work.migration.sessions.created, work.limits.settle_minutes
    if created is None or not any(one.has_old for one in work.layout.places):
        return sql.SQL("false")
    return sql.SQL("coalesce(s.created > now() - make_interval(secs => {}), false)").format(sql.Literal(minutes * 60))


def _of_contract(work: Work) -> sql.Composable:
    """After contract a session that came later needs no flow of its own."""
    created, step = work.migration.sessions.created, work.steps.newest(CONTRACT, "completed")
    if step is None or created is None or any(one.has_old for one in work.layout.places):
        return sql.SQL("")
    return sql.SQL(" AND coalesce(s.created <= {}, true)").format(sql.Literal(step.started_at))


_CHECKS: dict[str, Callable[[Work, str], Finding]] = {
    "values_are_understood": _understood,
    "ambiguous_sessions": _sessions,
    "orphaned_sessions": _sessions,
    "unknown_sessions": _unknown,
    "rows_follow_their_session": _follows,
    "flow_inconsistencies": _inconsistent,
    "flows_agree_with_sessions": _disagrees,
    "no_session_id_as_flow_id": _session_ids,
    "orphaned_assets": _orphaned,
    "mapping_percentage": _mapping,
    "archive_holds_every_value": archived_values,
    "application_triggers": application_triggers,
    "row_counts": row_counts,
    "foreign_keys_valid": foreign_keys,
    "schema_is_as_its_step": schema_of_step,
    "conditions_are_restored": restored_conditions,
}
assert _CHECKS.keys() == RULES.keys()
