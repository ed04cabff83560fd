"""A first description of a database, from its catalogue and samples of its values. Reads only, and guesses nothing silently:

every part comes with its reason, and where a person has to decide, the part is a question.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import psycopg
from psycopg import sql

from session_assets.errors import UsageError
from session_assets.flow.description_model import QUESTION
from session_assets.flow.proposal import Part, Proposal
from session_assets.masking import safe_text
from session_assets.stores.flow_guess_catalog import Col, Tab, read_catalogue
from session_assets.stores.flow_guess_linked import Linking, linked_parts
from session_assets.stores.flow_layout import q, raw
from session_assets.stores.flow_types import can_be_compared

_TITLES = ("name", "title", "label")
_SCOPES = ("id", "ref", "key", "no", "code", "number")
_SHOWN = 20


def guess(connection: psycopg.Connection, sessions: str | None = None, flows: str | None = None) -> Proposal:
    """Raises `UsageError` where the table of sessions or that of flows could be several: a person names it then."""
    connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY")
    try:
        tables = read_catalogue(connection)
        found, why = _sessions(tables, sessions)
        key, keys = _key(tables, found)
        names = _names(tables, found)
        flow_table, flow, flow_why = _flows(tables, found, names, flows)
        if not flow_table.unique:
            raise UsageError(
                f"{flow_table.name} has no unique column that could be the id of a flow. Name another: --flows TABLE."
            )
        own = _pointing(flow_table, found, key, names)
        if not own:
            raise UsageError(
                f"{flow_table.name} has no column that points at {found.name}, so it cannot be the table of flows. Name another"
                " one: --flows TABLE, or --sessions TABLE."
            )
        session = own[0]
        scope, left_out = _scope(found, flow_table, {key, flow, session})
        linking = Linking(connection, found, key, flow_table, flow, names, scope)
        return Proposal(
            _of_sessions(found, key, keys, why),
            [*_of_flows(connection, flow_table, found, (flow, session), scope, flow_why, (own, left_out))],
            *linked_parts(linking, tables),
        )
    finally:
        connection.execute("ROLLBACK")


# -- which tables ------------------------------------------------------------------------------------------------------


def _pointers(tables: dict[str, Tab], target: Tab) -> list[tuple[Tab, str, str]]:
    """Columns of other tables that are foreign keys to a table, and the columns that they point at."""
    return [
        (one, name, theirs)
        for one in tables.values()
        for name, (table, theirs) in one.keys.items()
        if table == target.name and one is not target
    ]


def _key(tables: dict[str, Tab], sessions: Tab) -> tuple[str, list[str]]:
    """The column of sessions that most foreign keys point at, and all that any of them points at."""
    counts = Counter(theirs for _, _, theirs in _pointers(tables, sessions))
    key = counts.most_common(1)[0][0] if counts else sessions.primary
    if key is None:
        raise UsageError(
            f"{sessions.name} has no primary key of one column, so nothing points at its rows. Name another table."
        )
    return key, list(counts)


def _names(tables: dict[str, Tab], sessions: Tab) -> set[str]:
    """What columns are called that point at sessions."""
    return {name for _, name, _ in _pointers(tables, sessions)} | {"session_id"}


def _sessions(tables: dict[str, Tab], named: str | None) -> tuple[Tab, str]:
    if named is not None:
        return _named(tables, named, "--sessions"), "you named it"
    counts = {name: len({t.name for t, _, _ in _pointers(tables, one)}) for name, one in tables.items()}
    pointed = {name: count for name, count in counts.items() if count and (tables[name].primary)}
    hinted = [name for name in pointed if "session" in name.lower()]
    chosen = hinted if len(hinted) == 1 else list(pointed)
    if len(chosen) == 1:
        reason = "its name says session, and" if hinted else "it is the only table of which this is true:"
        return tables[chosen[0]], f"{reason} foreign keys of {counts[chosen[0]]} tables point at it"
    raise UsageError(_ask("sessions", [f"{name} ({pointed[name]} tables point at it)" for name in chosen], tables))


def _flows(tables: dict[str, Tab], sessions: Tab, names: set[str], named: str | None) -> tuple[Tab, str, str]:
    """The table, its column of flow ids, and why it is this table."""
    if named is not None:
        table = _named(tables, named, "--flows")
        ids = _flow_ids(tables, table, sessions, names)
        return table, ids[0] if len(ids) == 1 else (table.primary or QUESTION) if not ids else QUESTION, "you named it"
    found = {
        name: ids
        for name, one in tables.items()
        if one is not sessions
        and _is_pointing(one, sessions, names)
        and (ids := _flow_ids(tables, one, sessions, names))
    }
    hinted = [name for name in found if "flow" in name.lower()]
    chosen = hinted if len(hinted) == 1 else list(found)
    if len(chosen) == 1:
        ids = found[chosen[0]]
        why = f"it points at {sessions.name}, and other tables hold its ids"
        return tables[chosen[0]], ids[0] if len(ids) == 1 else QUESTION, why
    raise UsageError(_ask("flows", [f"{name} (its ids: {', '.join(found[name])})" for name in chosen], tables))


def _flow_ids(tables: dict[str, Tab], table: Tab, sessions: Tab, names: set[str]) -> list[str]:
    """Unique columns of a table that other tables hold: by a foreign key, or by a column of the same name that is not `id`."""
    found = []
    for name in table.unique:
        if name in names or table.keys.get(name, ("",))[0] == sessions.name:
            continue
        holds = [one for one, _, theirs in _pointers(tables, table) if theirs == name]
        if name.lower() != "id":
            kind = table.columns[name].type
            holds += [
                one
                for one in tables.values()
                if one is not table and name in one.columns and can_be_compared(one.columns[name].type, kind)
                and one is not sessions
            ]  # fmt: skip
        found += [name] if holds else []
    return found


def _is_pointing(table: Tab, sessions: Tab, names: set[str]) -> bool:
    return bool(_pointing(table, sessions, sessions.primary or "", names))


def _pointing(table: Tab, sessions: Tab, key: str, names: set[str]) -> list[str]:
    """Columns of a table that point at sessions: foreign keys, else by the name, with a type that can be compared."""
    keys = [name for name, (target, _) in table.keys.items() if target == sessions.name]
    if keys:
        return keys
    kind = sessions.columns[key].type if key in sessions.columns else ""
    return [
        one.name
        for one in table.columns.values()
        if (one.name in names or one.name.lower().endswith("_session_id"))
        and one.name not in table.keys
        and can_be_compared(one.type, kind)
    ]


def _named(tables: dict[str, Tab], name: str, option: str) -> Tab:
    if name not in tables:
        raise UsageError(f"{option}: there is no table {safe_text(name)}. There is {', '.join(tables)[:500]}.")
    return tables[name]


def _ask(what: str, candidates: list[str], tables: Iterable[str]) -> str:
    told = f"could be {' or '.join(candidates[:_SHOWN])}" if candidates else "is not found"
    rest = "" if candidates else f" There is {', '.join(list(tables)[:_SHOWN])}."
    return f"The table of {what} {told}. Say which it is: --{what} TABLE.{rest}"


# -- their parts -------------------------------------------------------------------------------------------------------


def _of_sessions(table: Tab, key: str, keys: list[str], why: str) -> list[Part]:
    asked = f"foreign keys point at {' and '.join(keys)}. Which is it? Below it is taken to be {key}"
    told = "the column that foreign keys point at" if keys else "the primary key; no foreign key points at this table"
    return [
        Part("table", table.name, why),
        Part("key", key, told) if len(keys) < 2 else Part("key", QUESTION, asked),
        _one("title", _titles(table, key), "which column names a session?", key),
        _one("created", _times(table), "which column says when a session came? Without one: null", None),
    ]


def _of_flows(
    connection: psycopg.Connection,
    table: Tab,
    sessions: Tab,
    ids: tuple[str, str],
    scope: list[str],
    why: str,
    others: tuple[list[str], list[str]],
) -> list[Part]:
    flow, session = ids
    statuses = [one for one in table.columns.values() if _is_status(one)]
    filled = {flow, session, *scope}
    uuids = (
        [table.primary]
        if table.primary and table.primary not in filled and table.columns[table.primary].type == "uuid"
        else []
    )
    created = _one("created", _times(table), "which column says when a flow came?", QUESTION)
    status = _one("status", [one.name for one in statuses], "which column is the status of a flow?", QUESTION)
    titles = [one for one in _titles(table, flow) if table.columns[one].must_be_given] or _titles(table, flow)
    titled = titles[0] if len(titles) == 1 and titles[0] not in filled else None
    filled |= {*uuids, str(created.value), *([titled] if titled else [])}
    literals = [one for one in table.columns.values() if one.must_be_given and one.name not in filled]
    parts = [Part("table", table.name, why)]
    parts.append(
        Part("flow", flow, f"unique, and other tables hold it; the unique columns are {', '.join(table.unique)}")
    )
    session_why = "it points at the table of sessions"
    if len(others[0]) > 1:
        session, session_why = QUESTION, f"which of {', '.join(others[0])} ties a flow to its session?"
    parts += [Part("session", session, session_why), created, status]
    left = f"; also of both, and left out: {', '.join(others[1])}" if others[1] else ""
    parts.append(Part("scope", scope, f"columns of {sessions.name} and {table.name} that say whose they are{left}"))
    running = f"which statuses mean that a flow runs, in lower case? {_values(connection, table, status.value)}"
    parts.append(Part("active", [QUESTION], running))
    if uuids:
        parts.append(Part("uuids", uuids, "the primary key, which is a uuid too"))
    given = {one.name: QUESTION for one in literals}
    if status.value != QUESTION:
        given = {str(status.value): QUESTION, **given}
    asked = (
        "which values does a flow get that is made for a session without one? These columns need one; name others too"
    )
    parts.append(Part("literals", given, asked))
    if titled:
        parts.append(
            Part("titled", {"column": titled, "template": "{}"}, "the name of such a flow; {} is the session's title")
        )
    return parts


def _one(name: str, found: list[str], question: str, otherwise: str | None) -> Part:
    """A part that is one column: the only one that fits, else a question, else what there is without one."""
    if len(found) == 1:
        return Part(name, found[0], "the only column that fits")
    if not found and otherwise != QUESTION:
        return Part(
            name, otherwise, "no column fits better" if otherwise else "no column fits: every session is old enough"
        )
    return Part(name, QUESTION, f"{question} Perhaps {' or '.join(found)}" if found else question)


def _titles(table: Tab, key: str) -> list[str]:
    names = [
        one for one in table.columns.values() if one.is_text and one.name != key and one.name.lower().endswith(_TITLES)
    ]
    return [one.name for one in names]


def _times(table: Tab) -> list[str]:
    """`created_at` if there is one, else the times that are set by default, else all."""
    times = [one for one in table.columns.values() if one.is_time]
    best = [one for one in times if one.name.lower().replace("_", "") in ("createdat", "created", "createdon")]
    own = [one for one in times if one.default and ("now()" in one.default or "CURRENT" in one.default)]
    return [one.name for one in best or own or times]


def _is_status(one: Col) -> bool:
    return (one.is_text or one.is_enum) and one.name.lower().endswith(("status", "state", "phase"))


def _scope(sessions: Tab, flows: Tab, taken: set[str]) -> tuple[list[str], list[str]]:
    """Columns of both that say whose a row is, and the others that both have."""
    both = [
        one
        for one in flows.columns.values()
        if one.name in sessions.columns
        and one.name not in taken | {flows.primary, sessions.primary}
        and can_be_compared(one.type, sessions.columns[one.name].type)
        and not one.is_time
    ]
    scope = [
        one.name for one in both if one.name in flows.keys or one.name.lower().endswith(_SCOPES) or one.must_be_given
    ]
    scope = [name for name in scope if not _is_status(flows.columns[name]) and not name.lower().endswith(_TITLES)]
    return scope, [one.name for one in both if one.name not in scope]


def _values(connection: psycopg.Connection, table: Tab, column: object) -> str:
    if not isinstance(column, str) or column not in table.columns:
        return ""
    if table.columns[column].is_enum:
        kind = raw(table.columns[column].base)
        rows = connection.execute(q("SELECT unnest(enum_range(CAST(NULL AS {kind})))::text", kind=kind)).fetchall()
        return f"There are {', '.join(safe_text(row[0]) for row in rows)}"
    rows = connection.execute(
        q("SELECT DISTINCT v FROM (SELECT {column}::text AS v FROM {table} LIMIT 10000) s"
          " WHERE v IS NOT NULL ORDER BY 1 LIMIT {n}",
          column=column, table=table.ident, n=sql.Literal(_SHOWN))
    ).fetchall()  # fmt: skip
    return f"There are {', '.join(safe_text(row[0]) for row in rows)}" if rows else "The table is empty"
