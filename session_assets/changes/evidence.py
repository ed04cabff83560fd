"""What a check looked at, in four figures, and when that is too little to say anything (E1). Pure.

Without it eleven checks "passed" on a database that did not exist, and on one whose timestamps nobody could read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

Types = Callable[[], str]
"""Asks which types the compared fields hold, for the text of a lack: it may read all documents."""
STATES = ("judged", "not_applicable", "unsettled", "unreadable")
"""The one state of each document that a check reads."""


@dataclass(frozen=True)
class Figures:
    """`read = judged + not_applicable + unsettled + unreadable`. A document is judged if every field compared was understood."""

    judged: int = 0
    not_applicable: int = 0
    unsettled: int = 0
    unreadable: int = 0

    @property
    def read(self) -> int:
        return self.judged + self.not_applicable + self.unsettled + self.unreadable

    @property
    def applicable(self) -> int:
        return self.read - self.not_applicable

    def __add__(self, other: Figures) -> Figures:
        return Figures(*(getattr(self, name) + getattr(other, name) for name in STATES))

    def as_dict(self) -> dict[str, int]:
        """All of them, `read` first."""
        return {"read": self.read, **{name: getattr(self, name) for name in STATES}}


@dataclass(frozen=True)
class Holding:
    """A collection, container, table or folder that a check relies on; `documents` is None where there is none of that name.

    `unreadable` of its documents say in no way that anybody understands what they belong to; `field` is where they should.
    """

    name: str
    documents: int | None
    unreadable: int = 0
    field: str = ""


@dataclass(frozen=True)
class Lack:
    """Why what was read is no evidence. `everywhere`: for every check of the collection, not only those of what is unreadable."""

    text: str
    next_step: str
    is_error: bool = True
    everywhere: bool = True

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Target:
    """What E1 needs to know of the target of a run. `seen`: the most documents that a verify ever found, by name."""

    shown: str
    variable: str
    holdings: Sequence[Holding]
    seen: Mapping[str, int]
    allow_empty: bool = False
    most_unreadable: float = 0.01
    """A share of the applicable documents."""


def lack_of_target(target: Target, types: Types = str) -> Lack | None:
    """What can be told before a document is read: something is missing, or empty, or nobody can tell what it belongs to."""
    missing = [one.name for one in target.holdings if one.documents is None]
    if missing:
        there = ", ".join(f"{one.name} ({one.documents:,})" for one in target.holdings if one.documents is not None)
        return Lack(
            f"{target.shown} has no {' and no '.join(missing)}{f', only {there}' if there else ''}: nothing was compared",
            f"Correct the database that {target.variable} names, or the names of its collections, then verify again.",
        )
    empty = [one.name for one in target.holdings if not one.documents]
    if not empty or target.allow_empty:
        return worst(_lack_of_ids(target, one, types) for one in target.holdings)
    emptied = [
        f"{name} held {target.seen[name]:,} when it was verified before" for name in empty if target.seen.get(name)
    ]
    text = f"{' and '.join(empty)} of {target.shown} hold nothing: nothing was compared"
    return Lack(
        f"{text}; {'; '.join(emptied)}" if emptied else text,
        "Find out where the documents went, and restore them."
        if emptied
        else "Write documents there, or say that it may be empty: --allow-empty, or SESSION_ASSETS_ALLOW_EMPTY=SLICE.",
        is_error=bool(emptied),
    )


def _lack_of_ids(target: Target, holding: Holding, types: Types) -> Lack | None:
    documents = max(holding.documents or 0, holding.unreadable)  # the number of documents is an estimate
    if holding.unreadable <= target.most_unreadable * documents:
        return None
    return Lack(
        f"{holding.unreadable:,} of {documents:,} documents of {holding.name} in {target.shown} are unreadable"
        f" ({holding.unreadable / documents:.2%}): their {holding.field} does not tell what they belong to. That is more than"
        f" SESSION_ASSETS_MAX_UNREADABLE_SHARE={target.most_unreadable:g} allows.{_types_said(types)}",
        "Correct them, or say how to read them (docs/evidence.md), then verify again.",
    )


def lack_of_documents(
    target: Target, figures: Figures, unmatched: int, types: Types = str, unclaimed: str = ""
) -> Lack | None:
    """What the documents themselves do not allow to say: none was understood, none has a counterpart, or too few were.

    `unmatched` are judged documents that nothing was compared with, such as sessions without any event.
    `unclaimed` names what belongs to documents, if there is any and no document claims it.
    """
    if not figures.applicable:
        return _lack_of_claims(target, figures, unclaimed, types) if unclaimed else None
    if not figures.judged:
        return Lack(
            f"none of {figures.applicable:,} documents of {target.shown} could be judged: {figures.unreadable:,} unreadable,"
            f" {figures.unsettled:,} unsettled.{_types_said(types)}",
            "Correct them, or say how to read them (docs/evidence.md), then verify again."
            if figures.unreadable
            else "Run again after the settle time (SESSION_ASSETS_SETTLE_MINUTES).",
        )
    if unmatched == figures.judged:
        return Lack(
            f"none of {figures.judged:,} documents of {target.shown} has anything to be compared with.{_types_said(types)}",
            "Are the ids of both collections the same, in fields of the names that are read? See docs/evidence.md.",
        )
    if figures.unreadable > target.most_unreadable * figures.applicable:
        share = figures.unreadable / figures.applicable
        return Lack(
            f"{figures.unreadable:,} of {figures.applicable:,} documents of {target.shown} are unreadable ({share:.2%}), more"
            f" than SESSION_ASSETS_MAX_UNREADABLE_SHARE={target.most_unreadable:g} allows.{_types_said(types)}",
            "Open the full list. Correct them, or say how to read them (docs/evidence.md), then verify again.",
            everywhere=False,
        )
    return None


def _lack_of_claims(target: Target, figures: Figures, unclaimed: str, types: Types) -> Lack:
    return Lack(
        f"none of {figures.read:,} documents of {target.shown} could be judged, while there are {unclaimed}: all of them"
        f" look like documents that no rule is about.{_types_said(types)}",
        "Is the id in a field of the name that is read? See docs/evidence.md and docs/mapping.md.",
    )


def _types_said(types: Types) -> str:
    said = types()
    return f" Types found: {said}." if said else ""


def worst(lacks: Iterable[Lack | None]) -> Lack | None:
    """One lack of several: an error outranks a warning, the first of its kind counts."""
    found = [one for one in lacks if one is not None]
    return next((one for one in found if one.is_error), found[0] if found else None)
