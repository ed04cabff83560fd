"""Which applies of a plan belong together: those between two times at which the plan was recorded or reverted.

People ask *what did this plan do* and *take it back*, not *what did its third attempt do*. An apply that was killed and
repeated is one act to them: its rows are counted together, and taken back together.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

from session_assets.changes.attempt import Attempt
from session_assets.changes.ledger import Ledger
from session_assets.changes.outcomes import Outcome, Outcomes


@dataclass(frozen=True)
class Applies:
    """Applies of one partition that are taken back together, the newest last."""

    attempts: tuple[Attempt, ...]

    @property
    def newest(self) -> Attempt:
        return self.attempts[-1]

    @property
    def at_ns(self) -> int:
        return self.newest.at_ns

    @property
    def earlier(self) -> list[int]:
        """The numbers of all but the newest."""
        return [attempt.number for attempt in self.attempts[:-1]]


def epochs(ledger: Ledger, plan_id: str) -> dict[str, list[Applies]]:
    """The applies of each partition of a plan in groups, the oldest group first."""
    recorded = ledger.recorded_times(plan_id)
    groups: defaultdict[str, list[list[Attempt]]] = defaultdict(list)
    last: dict[str, int] = {}  # when the last attempt of the open group of a partition began
    for attempt in ledger.attempts(plan_id):
        for partition in attempt.partitions:
            if attempt.is_revert:
                last.pop(partition, None)
                continue
            before = last.get(partition)
            if before is None or any(before < at <= attempt.at_ns for at in recorded):
                groups[partition].append([])
            groups[partition][-1].append(attempt)
            last[partition] = attempt.at_ns
    return {partition: [Applies(tuple(attempts)) for attempts in some] for partition, some in sorted(groups.items())}


def counted_together(group: Applies, attempt: Attempt, partition: str, outcomes: Outcomes) -> Outcomes:
    """The outcomes of a finished attempt, where rows that an earlier attempt of the group wrote are `applied` too."""
    earlier = [one for one in group.attempts if one.number < attempt.number]
    if not earlier or not outcomes.counts[Outcome.ALREADY_APPLIED.name.lower()]:
        return outcomes
    written = [one.outcome_letters(partition) for one in earlier]
    ours = sum(
        letter == Outcome.ALREADY_APPLIED and any(place < len(one) and one[place] == Outcome.APPLIED for one in written)
        for place, letter in enumerate(attempt.outcome_letters(partition))
    )
    outcomes.counts["already_applied"] -= ours
    outcomes.counts["applied"] += ours
    return outcomes
