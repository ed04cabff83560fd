"""What the old script's log told, from the ledger: how many sessions need a GUID, what became of each batch, and the totals.

Source: seed S1, *Example Output*. Batches are told as the script had them: those of the
ledger end with each shard.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import count, islice
from typing import Any

import polars as pl

from session_assets.changes.apply import batches
from session_assets.changes.attempt import Attempt
from session_assets.changes.change_set import Plan
from session_assets.changes.ledger import Ledger
from session_assets.changes.outcomes import Outcome
from session_assets.changes.recordings import Recording
from session_assets.identity.model import REASONS, USER_ID
from session_assets.masking import mask_user
from session_assets.stores.cosmos import decode

_LINES = 100
_BATCHES = 20
_CHECK = "user_ids_canonical"
_SAID = {
    Outcome.ALREADY_APPLIED: "Session {} stood under its GUID already",
    Outcome.CONFLICTED: "Left session {} as it is: somebody else changed it",
    Outcome.FAILED: "Failed to update session {}",
}


def story(ledger: Ledger, body: dict[str, Any]) -> Iterator[str]:
    """Lines for a plan or an apply; `body` is the object of `--json`. E-mails are masked."""
    plan_id = body.get("plan_id")
    if not plan_id:
        return
    plan = ledger.plan(plan_id)
    recording = next((one for one in ledger.recordings() if one.plan_id == plan_id), None)
    if recording is not None:
        yield from _found(recording)
    if "outcomes" in body:
        yield from _applied(ledger, plan, body)
    else:
        yield from _would(ledger, plan, {} if recording is None else recording.summary["lists"])


def _found(recording: Recording) -> Iterator[str]:
    classes, reasons = (_summed(recording.summary[name]) for name in ("classes", "reasons"))
    needing = {one.name: reasons[one.name] for one in REASONS if one.check == _CHECK and reasons[one.name]}
    total = sum(recording.summary["read"].values()) - classes["not_applicable"]
    yield f"Found {sum(needing.values()):,} sessions needing GUID updates out of {total:,} total"
    for one in REASONS:
        if one.name in needing and one.name != "email_resolved":
            yield f"  skipped {needing[one.name]:,}: {one.text} ({one.name})"


def _would(ledger: Ledger, plan: Plan, lists: dict[str, str]) -> Iterator[str]:
    moves = (move for part in plan.parts for rows in ledger.rows(part) for move in _moves(rows))
    for key, before, after in islice(moves, _LINES):
        yield f"Would update session {key}: {_users(before, after)}"
    if plan.rows > _LINES:
        yield f"  … and {plan.rows - _LINES:,} more, all of them in {lists.get('email_resolved', 'the preview of the UI')}"


def _applied(ledger: Ledger, plan: Plan, body: dict[str, Any]) -> Iterator[str]:
    size, rows = _written(ledger, plan)
    total, left = -(-plan.rows // size), _LINES
    for number in count(1):
        batch = list(islice(rows, size))
        if not batch:
            break
        if number > _BATCHES:
            continue
        yield f"Processing batch {number}/{total} ({len(batch):,} sessions)"
        for key, before, after, letter in batch[:left]:
            updated = f"Updated session {key}: {_users(before, after)}"
            yield updated if letter is Outcome.APPLIED else _SAID[letter].format(key)
        left -= min(left, len(batch))
        letters = Counter(letter for *_, letter in batch)
        yield f"Batch {number} complete: {letters[Outcome.APPLIED]:,} updated, {letters[Outcome.FAILED]:,} failed"
    if total > _BATCHES:
        yield f"  … and {total - _BATCHES:,} more batches"
    outcomes = body["outcomes"]
    yield "Backfill process complete"
    yield f"  - Total sessions processed: {sum(outcomes.values()):,}"
    yield f"  - Successfully updated: {outcomes['applied']:,}"
    yield f"  - Failed: {outcomes['failed']:,}"
    if outcomes["already_applied"]:
        yield f"  - Under their GUID already: {outcomes['already_applied']:,}"
    if outcomes["conflicted"]:
        yield f"  - Left for the next run: {outcomes['conflicted']:,}"
    spent = body.get("spent", {})
    if spent.get("throttled"):
        yield f"  - Throttled (429): {spent['throttled']:,.0f} requests, {spent['waited']:,.1f} s waited"


def _written(ledger: Ledger, plan: Plan) -> tuple[int, Iterator[tuple[str, bytes, bytes, Outcome]]]:
    """The batch size of the newest apply, and each row with what became of it."""
    work = [(part, attempt) for part in plan.parts if (attempt := _newest(ledger, plan, part.partition)) is not None]

    def rows() -> Iterator[tuple[str, bytes, bytes, Outcome]]:
        for part, attempt in work:
            for number, some in batches(lambda part=part: ledger.rows(part), attempt.batch_size):
                outcome = attempt.outcome(part.partition, number)
                for move, letter in zip(_moves(some), outcome.letters if outcome else "", strict=False):
                    yield *move, Outcome(letter)

    return max((attempt.batch_size for _, attempt in work), default=1), rows()


def _newest(ledger: Ledger, plan: Plan, partition: str) -> Attempt | None:
    attempts = (one for one in reversed(ledger.attempts(plan.plan_id)) if not one.is_revert)
    return next((one for one in attempts if partition in one.partitions), None)


def _moves(rows: pl.DataFrame) -> Iterator[tuple[str, bytes, bytes]]:
    yield from rows.select("key", "before", "after").iter_rows()


def _users(before: bytes, after: bytes) -> str:
    users = " + ".join(mask_user(str(one[USER_ID])) for one in decode(before))
    return f"{users} → {decode(after)[0][USER_ID]}"


def _summed(by_partition: dict[str, dict[str, int]]) -> Counter[str]:
    total: Counter[str] = Counter()
    for counts in by_partition.values():
        total.update(counts)
    return total
