"""For which rows a constraint would not hold that contract dropped with the old column, if its undo brought the values back.

Values come first: they are restored, and a constraint for which a row does not hold comes back NOT VALID, or not at all,
and is named with the statement that would add it. The one value that is not restored is one that a foreign key forbids: it
stays in the archive. The dry run asks the rows as they would be, the end of the undo asks them as they are.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from psycopg import sql

from session_assets.stores.flow_definitions import condition_of_check, keys_of
from session_assets.stores.flow_kinds import DROPPED_COLUMN, DROPPED_CONSTRAINT, DROPPED_INDEX, MISSING
from session_assets.stores.flow_layout import Place, q, raw
from session_assets.stores.flow_work import Work

KEY, CHECK, UNIQUE, EXCLUSION, INDEX, NOT_NULL = "f", "c", "u", "x", "i", "n"
"""What a remembered condition is: as `pg_constraint` has it, and a unique index, and NOT NULL."""
WORDS = {
    KEY: "key_fails",
    CHECK: "check_fails",
    UNIQUE: "not_unique",
    INDEX: "not_unique",
    EXCLUSION: "not_unique",
    NOT_NULL: "no_value",
}
Content = Mapping[str, Any]


def conditions(work: Work, place: Place) -> dict[str, Content]:
    """By name what rows must hold of those that contract dropped, or that an undo of it could not bring back."""
    found: dict[str, Content] = {}
    for _, name, one in work.steps.kept(DROPPED_CONSTRAINT, place.name):
        if one["kind"] in WORDS and (one["kind"] not in (KEY, CHECK) or one["is_valid"]):
            found[name] = one
    for _, name, one in work.steps.kept(DROPPED_INDEX, place.name):
        if " UNIQUE INDEX " in one["definition"]:
            found[name] = {**one, "kind": INDEX}
    for _, name, one in work.steps.kept(DROPPED_COLUMN, place.name):
        if one["not_null"]:
            found[name] = {"kind": NOT_NULL}
    for _, name, one in work.steps.kept(MISSING, place.name):
        found.setdefault(name, one)
    return found


def unmet(work: Work) -> Iterator[tuple[Place, str, Content]]:
    """What the undo of contract could not bring back, and what is not there by now either."""
    for place in work.layout.places:
        for _, name, one in work.steps.kept(MISSING, place.name):
            if not _is_there(place, name, one):
                yield place, name, one


def told(work: Work, place: Place, name: str, one: Content) -> str:
    """A condition that is missing, and the statement that would add it."""
    table = place.ident.as_string(work.connection)
    quoted = sql.Identifier(name).as_string(work.connection)
    if one["kind"] == NOT_NULL:
        return f"{place.name}.{name} has no NOT NULL: ALTER TABLE {table} ALTER {quoted} SET NOT NULL"
    if one["kind"] == INDEX:
        return f"unique index {name} of {place.name} is missing: {one['definition']}"
    if one["kind"] in (KEY, CHECK):
        return f"constraint {name} of {place.name} is not validated: ALTER TABLE {table} VALIDATE CONSTRAINT {quoted}"
    add = f"ALTER TABLE {table} ADD CONSTRAINT {quoted} {one['definition']}"
    return f"constraint {name} of {place.name} is missing: {add}"


def breaking(work: Work, place: Place, one: Content) -> sql.Composed:
    """A query of rows for which a condition would not hold: the key, and whether the archive has a value of it."""
    rows, kind = _rows(work, place), one["kind"]
    table = sql.Identifier(place.table.name)
    if kind == NOT_NULL:
        return q(
            "SELECT our_key, our_value FROM ({rows}) r WHERE {old} IS NULL",
            rows=rows,
            old=place.linked.old,
        )
    if kind == CHECK:
        condition = raw(condition_of_check(one["definition"]))
        return q("SELECT our_key, our_value FROM ({rows}) {table} WHERE ({condition}) IS FALSE", rows=rows, table=table,
                 condition=condition)  # fmt: skip
    if kind == KEY:
        if "MATCH FULL" not in one["definition"]:
            return q("SELECT our_key, our_value FROM ({rows}) r WHERE false", rows=rows)
        nulls = sql.SQL(", ").join(map(sql.Identifier, one["columns"]))
        return q("SELECT our_key, our_value FROM ({rows}) r WHERE num_nulls({nulls}) NOT IN (0, {number})", rows=rows,
                 nulls=nulls, number=sql.Literal(len(one["columns"])))  # fmt: skip
    return _doubled(rows, table, one["definition"])


def dangles(work: Work, place: Place) -> sql.Composed:
    """Whether an archived value of a row `t` with its entry `a` names what a foreign key needs and what is gone."""
    keys = [
        (one["target"], tuple(one["columns"]), tuple(one["target_columns"]))
        for one in conditions(work, place).values()
        if one["kind"] == KEY
    ] + [
        (one.target, tuple(one.columns), tuple(one.target_columns))
        for one in place.table.constraints
        if one.kind == KEY and place.linked.old in one.columns
    ]
    parts = [_dangles(place, *one) for one in dict.fromkeys(keys)]
    return q("({parts})", parts=sql.SQL(" OR ").join(parts)) if parts else sql.SQL("false").format()


def fails_without_flow(place: Place) -> sql.Composed:
    """Whether a CHECK would not hold for a row `t` if its flow id were taken away."""
    flow = place.linked.flow
    nothing = sql.SQL("CAST(NULL AS {})").format(raw(place.flow_type))
    columns = sql.SQL(", ").join(
        sql.SQL("{} AS {}").format(nothing if name == flow else sql.Identifier("t", name), sql.Identifier(name))
        for name in place.table.columns
    )
    parts = [
        q("(SELECT ({condition}) IS FALSE FROM (SELECT {columns}) {table})", columns=columns, table=place.table.name,
          condition=raw(condition_of_check(one.definition)))
        for one in place.table.constraints
        if one.kind == CHECK and flow in one.columns
    ]  # fmt: skip
    return q("({parts})", parts=sql.SQL(" OR ").join(parts)) if parts else sql.SQL("false").format()


# -- parts -------------------------------------------------------------------------------------------------------------


def _rows(work: Work, place: Place) -> sql.Composed:
    """Rows by their columns as they would be after the undo; once it has ended, as they are."""
    old = place.linked.old
    value = q("CASE WHEN NOT {dangles} THEN a.old_value END", dangles=dangles(work, place))
    if place.has_old:
        is_open = bool(work.steps.kept(DROPPED_COLUMN, place.name))
        value = q("COALESCE(t.{old}, {value})", old=old, value=value) if is_open else q("t.{old}", old=old)
    columns = [sql.Identifier("t", name) for name in place.table.columns if name != old]
    return q(
        "SELECT {key} AS our_key, a.old_value IS NOT NULL AS our_value, {columns}, {value} AS {old} FROM {table} t"
        " LEFT JOIN {archive} a ON {same}",
        key=place.key_text("t"), columns=sql.SQL(", ").join(columns), value=value, old=old, table=place.ident,
        archive=place.archive, same=place.same_key("t", "a"),
    )  # fmt: skip


def _doubled(rows: sql.Composed, table: sql.Identifier, definition: str) -> sql.Composed:
    """Rows that a unique index or an exclusion constraint would refuse beside others."""
    keys = keys_of(definition)
    names = [f"e{number}" for number in range(len(keys.items))]
    items = sql.SQL(", ").join(
        q("({item}) AS {name}", item=raw(item), name=name) for (item, _), name in zip(keys.items, names, strict=True)
    )
    compared = q("SELECT our_key AS row_key, our_value AS row_kept, {items} FROM ({rows}) {table} WHERE {predicate}", items=items,
                 rows=rows, table=table, predicate=raw(keys.predicate or "true"))  # fmt: skip
    if any(operator != "=" for _, operator in keys.items):
        meets = sql.SQL(" AND ").join(
            q("x.{name} {operator} y.{name}", name=name, operator=raw(operator))
            for (_, operator), name in zip(keys.items, names, strict=True)
        )
        return q("WITH c AS MATERIALIZED ({compared}) SELECT x.row_key, x.row_kept FROM c x WHERE EXISTS"
                 " (SELECT FROM c y WHERE x.row_key <> y.row_key AND {meets})", compared=compared, meets=meets)  # fmt: skip
    listed = sql.SQL(", ").join(map(sql.Identifier, names))
    given = q("num_nulls({names}) = 0", names=listed) if keys.nulls_differ else sql.SQL("true").format()
    return q(
        "SELECT row_key, row_kept FROM (SELECT *, count(*) OVER (PARTITION BY {names}) AS number"
        " FROM ({compared}) c WHERE {given}) d WHERE number > 1", names=listed, compared=compared, given=given,
    )  # fmt: skip


def _dangles(place: Place, target: str, columns: tuple[str, ...], target_columns: tuple[str, ...]) -> sql.Composed:
    pairs = [
        (sql.SQL("a.old_value") if name == place.linked.old else sql.Identifier("t", name), sql.Identifier("r", other))
        for name, other in zip(columns, target_columns, strict=True)
    ]
    given = sql.SQL(" AND ").join(sql.SQL("{} IS NOT NULL").format(value) for value, _ in pairs)
    same = sql.SQL(" AND ").join(sql.SQL("{} = {}").format(other, value) for value, other in pairs)
    return q(
        "({given} AND NOT EXISTS (SELECT FROM {target} r WHERE {same}))", given=given, target=raw(target), same=same
    )


def _is_there(place: Place, name: str, one: Content) -> bool:
    if one["kind"] == NOT_NULL:
        return place.has_old and place.table.columns[name].not_null
    if one["kind"] == INDEX:
        return any(index.name == name and index.is_valid for index in place.table.indexes)
    return any(found.name == name and found.is_valid for found in place.table.constraints)
