"""When two ids are the same, said once: backfill, triggers, the plan and the recount ask here.

Texts are compared exactly, blanks and capitals too, unless the other side has a type that knows better:
`uuid`: upper and lower case, 32 digits without dashes, and blanks around are one id; whole numbers: `007` is 7; `citext`: case
does not count. A text that is no id of that type is compared exactly with other texts.
"""

from __future__ import annotations

import re

from psycopg import sql

from session_assets.stores.flow_types import LARGEST, WHOLE, is_text
from session_assets.stores.flow_types import NUMBER as _NUMBER

UUID, NUMBER, CITEXT, EXACT = "uuid", "number", "citext", "exact"
_BLANKS = " \t\r\n"
_GUID = "^([0-9a-f]{32}|[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})$"


def rule(*kinds: str) -> str:
    """How ids of columns of these types are compared."""
    if "uuid" in kinds:
        return UUID
    if any(kind in WHOLE for kind in kinds):
        return NUMBER
    return CITEXT if "citext" in kinds else EXACT


def canonical(value: sql.Composable, kind: str, by: str) -> sql.Composed:
    """An id as a text that is equal for all spellings of it."""
    text = _q("CAST({v} AS text)", v=value)
    if not is_text(kind) or by == EXACT:
        return text
    if by == CITEXT:
        return _q("lower({v})", v=text)
    fits, target = (_GUID, "uuid") if by == UUID else (_NUMBER, "numeric")
    return _q("CASE WHEN {trimmed} ~* {fits} THEN CAST(CAST({trimmed} AS {target}) AS text) ELSE {v} END", v=text,
              trimmed=_trimmed(value), fits=sql.Literal(fits), target=sql.SQL(target))  # fmt: skip


def canonical_text(text: str, by: str) -> str:
    """The same of a text that was read."""
    trimmed = text.strip(_BLANKS)
    if by == UUID and re.fullmatch(_GUID[1:-1], trimmed, re.IGNORECASE | re.ASCII):
        digits = trimmed.replace("-", "").lower()
        return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))
    if by == NUMBER and re.fullmatch(_NUMBER[1:-1], trimmed, re.ASCII):
        return str(int(trimmed))
    return text.lower() if by == CITEXT else text


def has_own_order(kind: str, by: str) -> bool:
    """Whether an index on a column of this type finds an id: else it must be one on the canonical text."""
    return by == EXACT or not is_text(kind)


def matches(column: sql.Composable, kind: str, value: sql.Composable, value_kind: str, by: str) -> sql.Composed:
    """Whether a column holds an id, so that an index is of use: see `has_own_order`."""
    if not has_own_order(kind, by):
        return _q("{c} = {v}", c=canonical(column, kind, by), v=canonical(value, value_kind, by))
    if not is_text(kind):
        return _q("{c} = {v}", c=column, v=converted(value, value_kind, kind))
    text = canonical(value, value_kind, by)
    if kind.startswith("character") and not kind.startswith("character varying"):  # blanks at its end do not count
        return _q("({c} = CAST({v} AS bpchar) AND CAST({c} AS text) = {v})", c=column, v=text)
    return _q("{c} = {v}", c=column, v=text)


def converted(value: sql.Composable, source: str, target: str) -> sql.Composed:
    """An id in another type, never cut short; null where it is no id of that type."""
    if source == target:
        return sql.Composed([value])
    if is_text(target):
        return _q("CAST({v} AS text)", v=value)
    kind = sql.SQL(target)  # pyright: ignore[reportArgumentType]
    if is_text(source) and target == "uuid":
        return _q("CASE WHEN {trimmed} ~* {fits} THEN CAST({trimmed} AS uuid) END", trimmed=_trimmed(value),
                  fits=sql.Literal(_GUID))  # fmt: skip
    if is_text(source) and target in WHOLE:
        number = _q("CASE WHEN {trimmed} ~ {fits} THEN CAST({trimmed} AS numeric) END", trimmed=_trimmed(value),
                    fits=sql.Literal(_NUMBER))  # fmt: skip
        return _fitting(number, target)
    if source in WHOLE and target in WHOLE:
        return _fitting(_q("CAST({v} AS bigint)", v=value), target)
    return _q("CAST({v} AS {kind})", v=value, kind=kind)


def _fitting(number: sql.Composed, target: str) -> sql.Composed:
    """A whole number in another type of them; null where it is too large."""
    return _q("CASE WHEN {n} BETWEEN -{most} AND {most} THEN CAST({n} AS {kind}) END", n=number,
              most=sql.Literal(LARGEST[target]), kind=sql.SQL(target))  # fmt: skip  # pyright: ignore[reportArgumentType]


def _trimmed(value: sql.Composable) -> sql.Composed:
    return _q("btrim(CAST({v} AS text), {blanks})", v=value, blanks=sql.Literal(_BLANKS))


def _q(text: str, **parts: sql.Composable) -> sql.Composed:
    return sql.SQL(text).format(**parts)  # pyright: ignore[reportArgumentType]
