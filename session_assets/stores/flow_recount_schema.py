"""Recounts of what is not in the rows of the tables: the archive, the catalogue, and counts from before the migration."""

from __future__ import annotations

from dataclasses import replace

from psycopg import sql

from session_assets.flow.model import BACKFILL, CONTRACT
from session_assets.stores.flow_breaks import told, unmet
from session_assets.stores.flow_catalog import OURS
from session_assets.stores.flow_findings import Finding
from session_assets.stores.flow_layout import Place, q
from session_assets.stores.flow_lost import still_lost
from session_assets.stores.flow_memory import TRIGGER, count_others, is_begun
from session_assets.stores.flow_seen import Seen, of_tables
from session_assets.stores.flow_triggers import trigger_names
from session_assets.stores.flow_work import Work

_SAMPLE = 20
_FIRED = """
    SELECT tgname FROM pg_trigger t WHERE tgrelid = %s AND NOT tgisinternal AND tgenabled IN ('O', 'A')
      AND tgtype & 17 = 17 AND NOT starts_with(tgname, %s) AND (tgattr = ''::int2vector OR EXISTS (
        SELECT FROM pg_attribute a WHERE a.attrelid = tgrelid AND a.attnum = ANY (tgattr) AND a.attname = ANY (%s)))
    ORDER BY tgname
"""


def unarchived(work: Work, place: Place) -> int:
    """Values of an old column that are missing or different in its archive."""
    if place.archive_table is None:
        return work.one(q("SELECT count({old}) FROM {table}", old=place.linked.old, table=place.ident))
    return work.one(
        q("SELECT count(*) FROM {table} t LEFT JOIN {archive} a ON {same} WHERE t.{old} IS NOT NULL"
          " AND a.old_value IS DISTINCT FROM t.{old}", table=place.ident, archive=place.archive,
          same=place.same_key("t", "a"), old=place.linked.old)
    )  # fmt: skip


def archived_values(work: Work, name: str) -> Finding:
    """Before contract each row is compared with its entry; after it, as many values must be there as contract recorded.

    Values that the undo of contract could not bring back are missing until they are there again.
    """
    count, sample, odd, seen = 0, list[str](), list[str](), Seen()
    step = work.steps.newest(CONTRACT, "completed")
    total, lost = 0, still_lost(work)
    for place in work.layout.places:
        if place.has_old:
            missing = unarchived(work, place) + lost.get(place.name, 0)
            seen.add(work.one(q("SELECT count(*) FROM {table}", table=place.ident)))
            total += work.one(q("SELECT count({old}) FROM {table}", old=place.linked.old, table=place.ident))
        else:
            wanted = (step.counts.get("archived", {}) if step else {}).get(place.name, 0)
            there = work.one(q("SELECT count(old_value) FROM {archive}", archive=place.archive))
            missing = max(0, wanted - there)
            total += wanted
            is_known = step is not None and place.name in step.counts.get("archived", {})
            seen.add(wanted if is_known else there, unreadable=0 if is_known else there)
            if not is_known:
                odd.append(f"no completed contract is recorded that says how many values of {place.name} it archived")
        count += missing
        sample += [f"{place.name}: {missing:,}"] if missing else []
    found = Finding(name, not count, count, total + sum(lost.values()), sample, unit="values" if step else "rows")
    if lost:
        told = f"{found.text}; of {sum(lost.values()):,} of them the undo of contract found no value: restore them from a backup"
        found = replace(found, note=told)
    return replace(seen.finding(found), odd=tuple(odd))


def application_triggers(work: Work, name: str) -> Finding:
    """Row triggers on UPDATE that are not ours, but for those of columns that no step writes."""
    found = []
    for place in work.layout.places:
        written = [place.linked.old, *([place.linked.flow] if place.follows else [])]
        rows = work.connection.execute(_FIRED, [place.table.oid, f"zz_{OURS}", written]).fetchall()
        found += [f"{place.name}: {', '.join(row[0] for row in rows)}"] if rows else []
    return of_tables(Finding(name, not found, len(found), len(work.layout.places), found), len(work.layout.places))


def row_counts(work: Work, name: str) -> Finding:
    fewer = []
    originals = work.steps.kept("original")
    for place_name, _, original in originals:
        place = work.place(place_name)
        is_flows = place is work.layout.places[0]
        now = count_others(work) if is_flows else work.one(q("SELECT count(*) FROM {table}", table=place.ident))
        if now < original["rows"]:
            fewer.append(f"{place_name}: {original['rows']:,} then, {now:,} now")
    found = Finding(name, not fewer, len(fewer), len(originals), fewer)
    every, known = len(work.layout.places), len({place for place, _, _ in originals})
    if known == every:
        return of_tables(found, every)
    if not is_begun(work):
        empty = "the migration is not begun, so there is no earlier count to compare with"
        return replace(of_tables(found, every), not_applicable=every - known, may_be_empty=empty)
    missing = [one.name for one in work.layout.places if one.name not in {place for place, _, _ in originals}]
    odd = f"the count from before the migration is not recorded of {', '.join(missing)}"
    return replace(of_tables(found, every), unreadable=every - known, odd=(odd,))


def foreign_keys(work: Work, name: str) -> Finding:
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
    return of_tables(Finding(name, not wrong, len(wrong), total, wrong), len(work.layout.tables))


def schema_of_step(work: Work, name: str) -> Finding:
    """Between expand and contract all triggers stand; after contract no old column, trigger, or index of it does."""
    wrong: list[str] = []
    is_contracted = not any(one.has_old for one in work.layout.places)
    begun = work.steps.newest(BACKFILL) is not None and is_begun(work)
    for place in work.layout.places:
        rows = work.connection.execute(
            "SELECT tgname, tgenabled <> 'D' FROM pg_trigger WHERE tgrelid = %s AND starts_with(tgname, %s)",
            [place.table.oid, f"zz_{OURS}"],
        ).fetchall()
        enabled = {row[0] for row in rows if row[1]}
        wanted = set() if is_contracted or not begun else set(trigger_names(place))
        may = set() if is_contracted else {TRIGGER}  # each step makes it again, so an earlier version's may lack it
        wrong += [f"{place.name}: trigger {one} is missing or disabled" for one in sorted(wanted - enabled)]
        wrong += [f"{place.name}: trigger {one} was left" for one in sorted(enabled - wanted - may)] if begun else []
        if place.follows and begun and not place.has_flow:
            wrong.append(f"{place.name} has no column {place.linked.flow}")
        if not is_contracted and not place.has_old:
            wrong.append(f"{place.name} has no column {place.linked.old}: contract or its undo is half done")
        gone = {one for _, one, _ in work.steps.kept("dropped_index", place.name)} if is_contracted else set()
        wrong += [f"{place.name}: index {one.name} was left" for one in place.table.indexes if one.name in gone]
        wrong += [f"{place.name}: index {one.name} is not valid" for one in place.table.indexes if not one.is_valid]
    places = len(work.layout.places)
    return of_tables(Finding(name, not wrong, len(wrong), places, wrong[:_SAMPLE]), places)


def restored_conditions(work: Work, name: str) -> Finding:
    """Constraints, unique indexes and NOT NULL that the undo of contract could not bring back, with the statements for them."""
    wrong = [told(work, *one) for one in unmet(work) if one[0].has_old]
    places = len(work.layout.places)
    return of_tables(Finding(name, not wrong, len(wrong), places, wrong[:_SAMPLE]), places)
