"""What the catalogue and the tables show of a step, whatever its record says.

The record of steps can be edited, and a column or an archive can be dropped by hand. So nobody says *completed*, *undone* or
*nothing to do* before one of these two functions was asked.
"""

from __future__ import annotations

from collections.abc import Iterator

from psycopg import sql

from session_assets.errors import PlanRefused
from session_assets.flow.model import BACKFILL, CONTRACT, EXPAND
from session_assets.stores.flow_backfill import pending
from session_assets.stores.flow_catalog import OURS
from session_assets.stores.flow_kinds import ADDED_KEY, DROPPED_COLUMN
from session_assets.stores.flow_layout import Place, q
from session_assets.stores.flow_memory import TRIGGER, is_begun, remembered
from session_assets.stores.flow_triggers import trigger_names
from session_assets.stores.flow_unfill import count_filled, refused_flows
from session_assets.stores.flow_work import Work

_TRIGGERS = "SELECT tgname, tgenabled <> 'D' FROM pg_trigger WHERE tgrelid = %s AND starts_with(tgname, %s) ORDER BY 1"


def is_contracted(work: Work) -> bool:
    """Whether all old columns are gone."""
    return not any(place.has_old for place in work.layout.places)


def lacks(work: Work, kind: str) -> list[str]:
    """What the tables do not show that a completed step leaves; empty where it is done."""
    return list({EXPAND: _lacks_expand, BACKFILL: _lacks_backfill, CONTRACT: _lacks_contract}[kind](work))


def remains(work: Work, kind: str) -> list[str]:
    """What the tables still show of a step that should be undone; empty where nothing is left of it."""
    return list({EXPAND: _of_expand, BACKFILL: _of_backfill, CONTRACT: _of_contract}[kind](work))


def not_contracted(work: Work) -> str:
    """Why a contract that is recorded as completed is not; empty if it is."""
    found = lacks(work, CONTRACT)
    if not found:
        return ""
    step = work.steps.newest(CONTRACT)
    back = f"session-assets revert flow --plan-id {step.id}" if step else "see flow/schema"
    return (
        f"Contract is recorded as completed, but the tables say otherwise: {', '.join(found)}. Somebody changed the schema by"
        f" hand. Take contract back, which restores the values from the archive ({back}), or drop by hand what was added."
    )


def dropped_by_hand(work: Work) -> list[Place]:
    """Places without their old column that contract did not drop: nobody remembered how to make the column again."""
    return [
        place for place in work.layout.places if not place.has_old and not work.steps.kept(DROPPED_COLUMN, place.name)
    ]


def how_to_restore(work: Work, place: Place) -> str:
    """The statements that bring a column back that somebody dropped by hand."""
    connection, old = work.connection, sql.Identifier(place.linked.old)
    add = sql.SQL("ALTER TABLE {} ADD COLUMN {} {}").format(place.ident, old, sql.SQL(place.old_type))  # pyright: ignore[reportArgumentType]
    fill = q("UPDATE {table} t SET {old} = a.old_value FROM {archive} a WHERE {same}", table=place.ident, old=old,
             archive=place.archive, same=place.same_key("t", "a"))  # fmt: skip
    return f"{add.as_string(connection)}; {fill.as_string(connection)}"


def require_columns_of_contract(work: Work) -> None:
    """Raises `PlanRefused` where an old column is gone that contract did not drop."""
    for place in dropped_by_hand(work):
        raise PlanRefused(
            f"{place.name}.{place.linked.old} is gone, and contract did not drop it: somebody did by hand. Its values are in"
            f" the archive. Bring it back first, with its indexes and constraints: {how_to_restore(work, place)}."
            " Nothing was changed."
        )


# -- expand ------------------------------------------------------------------------------------------------------------


def triggers(work: Work, place: Place) -> dict[str, bool]:
    """Triggers of ours on a table, and whether each is enabled."""
    return dict(work.connection.execute(_TRIGGERS, [place.table.oid, f"zz_{OURS}"]).fetchall())


def _lacks_expand(work: Work) -> Iterator[str]:
    if not work.layout.has_made:
        yield f"table {OURS}_made"
    flows = work.layout.places[0]
    if flows.has_old and not triggers(work, flows).get(TRIGGER):
        yield f"trigger {TRIGGER} on {flows.name}"
    for place in work.layout.places:
        if place.archive_table is None:
            yield f"the archive of {place.name}"
        if place.follows and not place.has_flow:
            yield f"column {place.name}.{place.linked.flow}"
        if place.has_old:
            found = triggers(work, place)
            yield from (f"trigger {one} on {place.name}" for one in trigger_names(place) if not found.get(one))


def _of_expand(work: Work) -> Iterator[str]:
    if work.layout.has_made and not remembered(work):
        yield f"table {OURS}_made"
    for place in work.layout.places:
        yield from (f"trigger {one} on {place.name}" for one in triggers(work, place))
        yield from (f"index {one.name} on {place.name}" for one in place.table.indexes if one.name.startswith(OURS))
        for _, name, _ in work.steps.kept("added_column", place.name):
            if name in place.table.columns:
                yield f"column {place.name}.{name}"


# -- backfill ----------------------------------------------------------------------------------------------------------


def _lacks_backfill(work: Work) -> Iterator[str]:
    if any(_lacks_expand(work)):
        yield from _lacks_expand(work)
        return
    for place in work.layout.places:
        if place.has_old and (count := remaining(work, place)):
            yield f"flow ids or archived values of {count:,} rows of {place.name}"


def remaining(work: Work, place: Place) -> int:
    """Rows of a table that backfill would still write."""
    return work.one(
        q("SELECT count(*) FROM {table} t LEFT JOIN {archive} a ON {same} WHERE {pending}", table=place.ident,
          archive=place.archive, same=place.same_key("t", "a"), pending=pending(place))
    )  # fmt: skip


def _of_backfill(work: Work) -> Iterator[str]:
    if not is_begun(work):
        return  # expand is undone, too
    made = work.one(q("SELECT count(*) FROM {made}", made=work.layout.made)) - len(refused_flows(work))
    if made > 0:
        yield f"{made:,} flows that were made"
    for place in work.layout.followed:
        if place.has_flow and place.archive_table is not None and (count := count_filled(work, place)):
            yield f"flow ids of {count:,} rows of {place.name}"


# -- contract ----------------------------------------------------------------------------------------------------------


def _lacks_contract(work: Work) -> Iterator[str]:
    """What contract should have taken away."""
    for place in work.layout.places:
        if place.has_old:
            yield f"{place.name} has its column {place.linked.old}"
        yield from (f"{place.name} has trigger {one}" for one in triggers(work, place))


def _of_contract(work: Work) -> Iterator[str]:
    for place in work.layout.places:
        if not place.has_old:
            yield f"{place.name} has no column {place.linked.old}"
        elif work.steps.kept(DROPPED_COLUMN, place.name):
            yield f"{place.name}.{place.linked.old} is not restored to its end"
        for _, name, _ in work.steps.kept(ADDED_KEY, place.name):
            if any(one.name == name for one in place.table.constraints):
                yield f"{place.name} has foreign key {name}"
