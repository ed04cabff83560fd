"""What the ledger of a home says, counted from its files."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from session_assets.changes.apply import batches
from session_assets.changes.ledger import Ledger
from session_assets.storage import Storage


def open_ledger(home: Path, loop: str = "web") -> Ledger:
    return Ledger(Storage(str(home / "storage"), home / "tmp"), loop)


def accounted(home: Path, loop: str, plan_id: str, *, reverts: bool = False) -> Counter[str]:
    """Outcome letters of all rows of a plan's applies (or reverts), every batch of which must have an outcome."""
    ledger = open_ledger(home, loop)
    plan = ledger.plan(plan_id)
    letters: Counter[str] = Counter()
    for attempt in ledger.attempts(plan_id):
        if attempt.is_revert is not reverts:
            continue
        for partition in attempt.partitions:
            assert attempt.is_finished(partition)
            part = plan.part(partition)
            rows = 0
            for number, batch in batches(lambda part=part: ledger.rows(part) if part else (), attempt.batch_size):
                outcome = attempt.outcome(partition, number)
                if reverts and outcome is None:
                    continue
                assert outcome is not None
                letters.update(outcome.letters)
                rows += batch.height
            assert reverts or rows == (part.rows if part else 0)
    return letters
