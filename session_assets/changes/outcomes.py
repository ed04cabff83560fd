"""Outcomes of an attempt, and the two equations that must hold: nothing read or planned may drop out of the account."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class Outcome(StrEnum):
    """The one class of a planned row after an attempt; the letter stands in the ledger."""

    APPLIED = "A"
    ALREADY_APPLIED = "a"
    CONFLICTED = "c"
    FAILED = "f"


OUTCOME_NAMES = {outcome: outcome.name.lower() for outcome in Outcome}

CLASSES = ("unchanged", "planned", "listed", "unsettled", "not_applicable")
"""The one class of each document read."""


@dataclass
class Outcomes:
    """Counts per outcome, and up to 20 errors and conflicts by key."""

    counts: Counter[str] = field(default_factory=Counter[str])
    errors: dict[str, str] = field(default_factory=dict[str, str])
    conflicts: list[str] = field(default_factory=list[str])

    def add(self, other: Outcomes) -> None:
        self.counts.update(other.counts)
        for key, reason in other.errors.items():
            if len(self.errors) < 20:
                self.errors[key] = reason
        self.conflicts = (self.conflicts + other.conflicts)[:20]

    def as_dict(self) -> dict[str, int]:
        """All four outcomes, zero included."""
        return {name: self.counts[name] for name in OUTCOME_NAMES.values()}


def read_is_accounted(read: int, classes: Mapping[str, int]) -> bool:
    """Every document read is in exactly one class."""
    return set(classes) <= set(CLASSES) and read == sum(classes.values())


def plan_is_accounted(planned: int, outcomes: Mapping[str, int]) -> bool:
    """Every planned row ended in exactly one outcome."""
    return planned == sum(outcomes.values())
