"""What the old script's log told, from the ledger: how many sessions need a GUID, what became of each batch, and the totals.

Source: seed S1, *Example Output*. Batches are those of the ledger, so they do not reach over two shards.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import islice
from typing import Any

import polars as pl

from session_assets.changes.apply import batches
from session_assets.changes.attempt import Attempt
from session_assets.changes.change_set import Plan
from session_assets.changes.ledger import Ledger, Recording
from session_assets.changes.outcomes import Outcome
from session_assets.identity.model import REASONS, USER_ID
from session_assets.masking import mask_user
from session_assets.stores.cosmos import decode

_LINES = 50
_CHECK = "user_ids_canonical"
_UPDATED = (Outcome.APPLIED, Outcome.ALREADY_APPLIED)
_SAID = {
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
        yield from _would(ledger, plan)


def _found(recording: Recording) -> Iterator[str]:
    classes, reasons = (_summed(recording.summary[name]) for name in ("classes", "reasons"))
    needing = {one.name: reasons[one.name] for one in REASONS if one.check == _CHECK and reasons[one.name]}
    total = sum(recording.summary["read"].values()) - classes["not_applicable"]
    yield f"Found {sum(needing.values()):,} sessions needing GUID updates out of {total:,} total"
    for one in REASONS:
        if one.name in needing and one.name != "email_resolved":
            yield f"  skipped {needing[one.name]:,}: {one.text} ({one.name})"


def _would(ledger: Ledger, plan: Plan) -> Iterator[str]:
    moves = (move for part in plan.parts for rows in ledger.rows(part) for move in _moves(rows))
    for key, users in islice(moves, _LINES):
        yield f"Would update session {key}: {users}"
    if plan.rows > _LINES:
        yield f"  … and {plan.rows - _LINES:,} more"


def _applied(ledger: Ledger, plan: Plan, body: dict[str, Any]) -> Iterator[str]:
    work = [
        (part.partition, attempt, number, rows)
        for part in plan.parts
        if (attempt := _newest(ledger, plan, part.partition)) is not None
        for number, rows in batches(lambda part=part: ledger.rows(part), attempt.batch_size)
    ]
    said = 0
    for place, (partition, attempt, number, rows) in enumerate(work):
        outcome = attempt.outcome(partition, number)
        letters = outcome.letters if outcome is not None else ""
        tell = said < _LINES
        if tell:
            yield f"Processing batch {place + 1}/{len(work)} ({rows.height:,} sessions, shard {partition})"
        for (key, users), letter in zip(_moves(rows), letters, strict=False):
            if letter in _UPDATED and said < _LINES:
                said += 1
                yield f"Updated session {key}: {users}"
            elif letter not in _UPDATED and said < 2 * _LINES:
                said += 1
                yield _SAID[Outcome(letter)].format(key)
        if tell:
            updated, failed = sum(letters.count(one) for one in _UPDATED), letters.count(Outcome.FAILED)
            yield f"Batch {place + 1} complete: {updated:,} updated, {failed:,} failed"
    if said >= _LINES:
        yield f"  … up to batch {len(work):,}"
    outcomes = body["outcomes"]
    yield "Backfill process complete"
    yield f"  - Total sessions processed: {sum(outcomes.values()):,}"
    yield f"  - Successfully updated: {outcomes['applied'] + outcomes['already_applied']:,}"
    yield f"  - Failed: {outcomes['failed']:,}"
    if outcomes["conflicted"]:
        yield f"  - Left for the next run: {outcomes['conflicted']:,}"
    spent = body.get("spent", {})
    if spent.get("throttled"):
        yield f"  - Throttled (429): {spent['throttled']:,.0f} requests, {spent['waited']:,.1f} s waited"


def _newest(ledger: Ledger, plan: Plan, partition: str) -> Attempt | None:
    attempts = (one for one in reversed(ledger.attempts(plan.plan_id)) if not one.is_revert)
    return next((one for one in attempts if partition in one.partitions), None)


def _moves(rows: pl.DataFrame) -> Iterator[tuple[str, str]]:
    for key, before, after in rows.select("key", "before", "after").iter_rows():
        users = " + ".join(mask_user(str(one[USER_ID])) for one in decode(before))
        yield key, f"{users} → {decode(after)[0][USER_ID]}"


def _summed(by_partition: dict[str, dict[str, int]]) -> Counter[str]:
    total: Counter[str] = Counter()
    for counts in by_partition.values():
        total.update(counts)
    return total
