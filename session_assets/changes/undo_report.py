"""What a revert did, row by row where it left something, and what the store shows where there was nothing to undo."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import polars as pl

from session_assets.changes.apply import batches
from session_assets.changes.change_set import Plan
from session_assets.changes.epochs import epochs
from session_assets.changes.ledger import Ledger
from session_assets.changes.outcomes import Outcome, Outcomes
from session_assets.changes.store import TAKEN, Left, State, Store
from session_assets.changes.undo_rows import plan_rows
from session_assets.masking import safe_text

SHOWN = 20


class Nothing(StrEnum):
    """Why there is nothing to undo, as the ledger has it."""

    NEVER_APPLIED = "never_applied"
    UNDONE_ALREADY = "undone_already"
    NOTHING_WRITTEN = "nothing_written"  # it was applied, and wrote no row


@dataclass(frozen=True)
class Looked:
    """How the documents of a plan are now, where the ledger has nothing to undo: `rows` = after + before + other."""

    nothing: Nothing
    after: int
    before: int
    other: int
    theirs: int  # rows that showed the change before this ledger's apply: somebody else's work

    @property
    def rows(self) -> int:
        return self.after + self.before + self.other

    @property
    def disagrees(self) -> bool:
        """Whether documents show the change though the ledger says that nothing of ours is left to undo."""
        return self.after > self.theirs

    def as_dict(self) -> dict[str, Any]:
        counts = {"rows": self.rows, "after": self.after, "before": self.before, "other": self.other}
        return {"nothing": self.nothing.value, **counts, "disagrees": self.disagrees}


@dataclass
class RevertReport:
    """What an undo did, or would do: counts per outcome, and the rows that it leaves, each with a word."""

    partitions: list[str] = field(default_factory=list[str])
    undoable: int = 0
    refused: list[str] = field(default_factory=list[str])
    refused_count: int = 0
    left: Counter[str] = field(default_factory=Counter[str])
    left_rows: list[tuple[str, str, str]] = field(default_factory=list[tuple[str, str, str]])  # key, word, reason
    outcomes: Outcomes = field(default_factory=Outcomes)
    looked: Looked | None = None
    damaged: dict[str, str] = field(default_factory=dict[str, str])
    """Partitions that are left, since a file of the ledger is damaged, with its name and what to do."""

    def leave(self, rows: Iterable[tuple[str, Left, str]]) -> None:
        """Note rows that are left: key, word, and the reason if there is more to say."""
        for key, word, reason in rows:
            self.left[word.value] += 1
            self.refused_count += 1
            if len(self.left_rows) < SHOWN:
                self.left_rows.append((key, word.value, reason))
                self.refused.append(key)

    @property
    def unexplained(self) -> int:
        """Documents that show the change though the ledger has nothing to undo."""
        looked = self.looked
        return looked.after - looked.theirs if looked is not None and looked.disagrees else 0

    def as_dict(self) -> dict[str, Any]:
        """What the terminal and the run's report say, with texts that are safe to show."""
        return {
            "partitions": self.partitions,
            "undoable": self.undoable,
            "refused": self.refused_count,
            "refused_sample": [safe_text(key) for key in self.refused],
            "left": {word.value: self.left[word.value] for word in Left if self.left[word.value]},
            "left_sample": [
                {"key": safe_text(key), "why": word, **({"reason": safe_text(reason)} if reason else {})}
                for key, word, reason in self.left_rows
            ],
            "outcomes": self.outcomes.as_dict(),
            "errors": {safe_text(key): safe_text(reason) for key, reason in self.outcomes.errors.items()},
            **({"damaged": self.damaged} if self.damaged else {}),
            **({"looked": self.looked.as_dict()} if self.looked is not None else {}),
        }


def left_rows(
    batch: pl.DataFrame, letters: str, errors: Mapping[int, str], store: Store
) -> list[tuple[str, Left, str]]:
    """Key, word and reason of each row of a batch that an undo did not write."""
    keys = batch["key"]
    known: dict[int, tuple[Left, str]] = {}
    for row, letter in enumerate(letters):
        reason = errors.get(row, "")
        if letter == Outcome.FAILED:
            known[row] = (Left.PLACE_TAKEN, "") if reason == TAKEN else (Left.FAILED, reason)
        elif letter == Outcome.CONFLICTED and reason:
            known[row] = (Left.BLOCKED, reason)
    asked = [row for row, letter in enumerate(letters) if letter == Outcome.CONFLICTED and row not in known]
    if asked:
        words = store.obstacles(batch[asked])
        known |= {row: (word, "") for row, word in zip(asked, words, strict=True)}
    return [(keys[row], *known[row]) for row in sorted(known)]


def look_at(ledger: Ledger, plan: Plan, store: Store, *, batch_size: int) -> Looked:
    """Count how the documents of a plan are, where the ledger has nothing to undo."""
    states: Counter[State] = Counter()
    for part in plan.parts:
        for _, batch in batches(plan_rows(ledger, plan, part.partition), batch_size):
            states.update(store.look(batch))
    after, before = states[State.AFTER], states[State.BEFORE]
    other = states.total() - after - before
    return Looked(_nothing(ledger, plan), after, before, other, _theirs(ledger, plan))


def _nothing(ledger: Ledger, plan: Plan) -> Nothing:
    attempts = ledger.attempts(plan.plan_id)
    if any(attempt.is_revert for attempt in attempts):
        return Nothing.UNDONE_ALREADY
    return Nothing.NOTHING_WRITTEN if attempts else Nothing.NEVER_APPLIED


def _theirs(ledger: Ledger, plan: Plan) -> int:
    """How many rows showed the change already when they were applied, and were not written by an earlier apply of ours."""
    count = 0
    for partition, groups in epochs(ledger, plan.plan_id).items():
        written = [attempt.outcome_letters(partition) for attempt in groups[-1].attempts]
        count += sum(
            letters[-1] == Outcome.ALREADY_APPLIED and Outcome.APPLIED not in letters
            for letters in zip(*written, strict=False)
        )
    return count
