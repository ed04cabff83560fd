"""What checks find, and how it counts: what backfill will mend warns before it is begun, and while a step is at work."""

from __future__ import annotations

from dataclasses import dataclass, replace

from session_assets.flow.model import BACKFILL, LOCK, REHEARSAL, RULES
from session_assets.stores.flow_work import Work
from session_assets.stores.postgres import holder, lock_key

_BEGIN = "`session-assets plan flow` shows what it would do, `session-assets apply flow` does it."


@dataclass(frozen=True)
class Finding:
    """What a check found: how many of how many, and up to 20 ids. `is_error` is that of its rule, unless it is on its way."""

    name: str
    passed: bool
    count: int
    total: int
    sample: list[str]
    note: str = ""
    is_error: bool = True
    next_step: str = ""
    read: int = 0
    not_applicable: int = 0
    unsettled: int = 0
    unreadable: int = 0
    unit: str = "rows"
    odd: tuple[str, ...] = ()
    """What was not understood: table, column, the types, how many, and an example."""
    may_be_empty: str = ""
    """Why it is right that nothing was judged; empty where that is not right."""

    @property
    def judged(self) -> int:
        return self.read - self.not_applicable - self.unsettled - self.unreadable

    @property
    def text(self) -> str:
        """One sentence without its end."""
        return self.note or f"{self.count:,} of {self.total:,} {RULES[self.name].text}"


class Due:
    """How far the migration is, and so how a finding counts."""

    def __init__(self, work: Work) -> None:
        filled = work.steps.newest(BACKFILL)
        self._is_begun = filled is not None and filled.state != "undone"
        self._is_contracted = not any(one.has_old for one in work.layout.places)
        at_work = [one for one in work.steps.all() if one.state == "running" and one.kind != REHEARSAL]
        self._at_work = at_work[0].kind if at_work and holder(work.connection, lock_key(LOCK)) else None

    def judged(self, found: Finding) -> Finding:
        """A finding as it counts now; whether it passed does not change."""
        rule = RULES[found.name]
        found = replace(found, is_error=rule.is_error, next_step=rule.next_step)
        if found.passed:
            return found
        if rule.is_progress and not self._is_begun:
            return replace(found, is_error=False, next_step=f"Backfill is not begun. {_BEGIN}")
        if self._at_work:
            return replace(
                found, is_error=False, next_step=f"{self._at_work} is at work: verify again when it has ended."
            )
        if self._is_contracted and rule.after_contract:
            is_error = rule.is_error and not rule.warns_after_contract
            return replace(found, is_error=is_error, next_step=rule.after_contract)
        return found
