"""How much of what a check read it could judge: rows whose types and values were understood, and what was found of the others."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from psycopg import sql

from session_assets.masking import safe_text
from session_assets.stores.flow_findings import Finding
from session_assets.stores.flow_ids import canonical
from session_assets.stores.flow_layout import Place, q
from session_assets.stores.flow_types import form
from session_assets.stores.flow_work import Work

AFTER_CONTRACT = "after contract no row of these tables names a session"


@dataclass(frozen=True)
class Odd:
    """What is not understood: a condition on a row `r` of texts, and how to say it of so many rows."""

    condition: sql.Composable
    told: Callable[[int], str]


@dataclass
class Seen:
    """Figures of one check, summed over its tables."""

    unit: str = "rows"
    read: int = 0
    not_applicable: int = 0
    unsettled: int = 0
    unreadable: int = 0
    odd: list[str] = field(default_factory=list[str])

    def add(
        self, read: int, odd: str = "", *, unreadable: int = 0, not_applicable: int = 0, unsettled: int = 0
    ) -> None:
        self.read += read
        self.unreadable += unreadable
        self.not_applicable += not_applicable
        self.unsettled += unsettled
        self.odd += [odd] if odd and unreadable else []

    @property
    def judged(self) -> int:
        return self.read - self.not_applicable - self.unsettled - self.unreadable

    def finding(self, found: Finding) -> Finding:
        """A finding with these figures."""
        return replace(
            found, read=self.read, not_applicable=self.not_applicable, unsettled=self.unsettled,
            unreadable=self.unreadable, unit=self.unit if found.unit == "rows" else found.unit, odd=tuple(self.odd),
        )  # fmt: skip


def of_tables(found: Finding, tables: int) -> Finding:
    """A finding of the catalogue: it looked at so many tables."""
    return replace(found, read=tables, unit="tables")


def unreadable_rows(work: Work, place: Place, uses: str) -> Odd:
    """Rows of a table whose session or flow cannot be compared: by the types of the columns, or by the value."""
    layout = work.layout
    if uses and layout.misunderstood:
        return Odd(sql.SQL("true"), lambda count: f"{layout.misunderstood[0]}: {count:,} rows of {place.name}")
    if "session" in uses and place.odd_session:
        return Odd(sql.SQL("r.session IS NOT NULL"), lambda count: f"{place.odd_session}: {count:,} rows")
    if "flow" in uses and place.odd_flow:
        return Odd(sql.SQL("r.flow IS NOT NULL"), lambda count: f"{place.odd_flow}: {count:,} rows")
    pattern = form(place.old_type, layout.session_type)
    if "session" not in uses or pattern is None:
        return Odd(sql.SQL("false"), lambda _: "")
    column = place.ident if place.has_old else place.archive
    name = place.linked.old if place.has_old else "old_value"
    row = work.connection.execute(
        q("SELECT count(*), count(*) FILTER (WHERE v ~* {form}), min(v) FILTER (WHERE v !~* {form})"
          " FROM (SELECT {value} AS v FROM {table} WHERE {name} IS NOT NULL) values", form=sql.Literal(pattern),
          value=canonical(sql.Identifier(name), place.old_type, place.rule), name=name, table=column)
    ).fetchone()  # fmt: skip
    assert row is not None
    given, fitting, example = row
    if place.linked.holds_flow_ids and (fitting or not given):  # it may hold other texts, too: they name no session
        return Odd(sql.SQL("false"), lambda _: "")
    condition = sql.SQL("(r.session IS NOT NULL AND r.session !~* {})").format(sql.Literal(pattern))
    told = f"{place.name}.{place.linked.old} is {place.old_type} and should hold ids of type {layout.session_type}"
    return Odd(condition, lambda count: f"{told}: {count:,} values are none, for example {safe_text(example)!r}")


def unreadable_sessions(work: Work) -> Odd:
    """Sessions whose id cannot be compared with those that flows name; on a row `s` of texts."""
    layout, sessions = work.layout, work.migration.sessions
    if layout.misunderstood:
        return Odd(sql.SQL("true"), lambda count: f"{layout.misunderstood[0]}: {count:,} sessions")
    kind = layout.sessions.columns[sessions.key].type
    pattern = form(kind, layout.session_type)
    if pattern is None:
        return Odd(sql.SQL("false"), lambda _: "")
    told = f"{sessions.name}.{sessions.key} is {kind} and should hold ids of type {layout.session_type}"
    return Odd(
        sql.SQL("s.session !~* {}").format(sql.Literal(pattern)), lambda count: f"{told}: {count:,} values are none"
    )
