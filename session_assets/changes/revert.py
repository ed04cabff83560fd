"""Undoes what the latest unreverted attempts of a plan applied, where the document is still as the attempt left it.

An undo is a change set too: each applied row turned round, run through the same guarded, journaled apply. Before-images
are restored whole, so that field order and absent fields come back as they were.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

import polars as pl

from session_assets.changes.apply import Rows, apply_part, batches, settle, settled
from session_assets.changes.attempt import Attempt
from session_assets.changes.change_set import Plan, conform
from session_assets.changes.ledger import Ledger
from session_assets.changes.outcomes import Outcome, Outcomes
from session_assets.changes.store import State, Store

_INVERSE = {"update": "replace", "replace": "replace", "insert": "delete", "delete": "insert"}


@dataclass
class RevertReport:
    """What an undo did, or would do: counts per outcome, and the keys that cannot be undone."""

    partitions: list[str] = field(default_factory=list[str])
    undoable: int = 0
    refused: list[str] = field(default_factory=list[str])
    refused_count: int = 0
    outcomes: Outcomes = field(default_factory=Outcomes)


def to_undo(ledger: Ledger, plan: Plan) -> dict[str, Attempt]:
    """Per partition the latest apply that is not reverted and applied something (or was stopped).

    Where the store refused some rows of a revert, it may be called again: the rows that are undone already stay so.
    """
    result: dict[str, Attempt] = {}
    undone: set[tuple[str, int]] = set()
    for attempt in reversed(ledger.attempts(plan.plan_id)):
        for partition in attempt.partitions:
            if attempt.undoes is not None:
                if attempt.is_finished(partition) and not _failed(attempt, partition):
                    undone.add((partition, attempt.undoes[partition]))
            elif (
                partition not in result
                and (partition, attempt.number) not in undone
                and (not attempt.is_finished(partition) or _applied(attempt, partition))
            ):
                result[partition] = attempt
    return dict(sorted(result.items()))


def preview(ledger: Ledger, plan: Plan, store: Store) -> RevertReport:
    """The dry run: looks at every document that would be undone, writes nothing, not even to the ledger."""
    report = RevertReport()
    for partition, attempt in to_undo(ledger, plan).items():
        report.partitions.append(partition)
        refused: set[str] = set()
        for _, rows in batches(_inverse_rows(ledger, plan, partition, attempt, store), attempt.batch_size):
            columns = zip(rows["key"], rows["requires"].to_list(), store.look(rows), strict=True)
            for key, requires, state in columns:
                if state is State.OTHER or (state.is_open and not refused.isdisjoint(requires)):
                    refused.add(key)
                    report.refused = [*report.refused, key][:20]
                else:
                    report.undoable += 1
        report.refused_count += len(refused)
    return report


def revert(
    ledger: Ledger,
    plan: Plan,
    store: Store,
    *,
    run_id: str,
    batch_size: int = 5000,
    progress: Callable[[Outcomes], None] | None = None,
) -> RevertReport:
    """Undo; a killed revert goes on when it is called again."""
    report = RevertReport()
    targets = to_undo(ledger, plan)
    if not targets:
        return report
    for partition, attempt in targets.items():
        if not attempt.is_finished(partition):
            part = plan.part(partition)
            settle(attempt, partition, (lambda part=part: ledger.rows(part)) if part else (lambda: ()), store)
    undoes = {partition: attempt.number for partition, attempt in targets.items()}
    current = _unfinished(ledger, plan, undoes) or ledger.start_attempt(
        plan, targets, batch_size=batch_size, run_id=run_id, undoes=undoes
    )
    for partition, attempt in targets.items():
        rows = _inverse_rows(ledger, plan, partition, attempt, store)
        outcomes = apply_part(current, partition, rows, store, progress=progress)
        report.partitions.append(partition)
        report.outcomes.add(outcomes)
    counts = report.outcomes.as_dict()
    report.undoable = counts["applied"] + counts["already_applied"]
    report.refused_count = counts["conflicted"] + counts["failed"]
    report.refused = list(dict.fromkeys([*report.outcomes.conflicts, *report.outcomes.errors]))[:20]
    return report


def _unfinished(ledger: Ledger, plan: Plan, undoes: dict[str, int]) -> Attempt | None:
    """A revert of the same attempts that was stopped half-way."""
    for attempt in reversed(ledger.attempts(plan.plan_id)):
        if (
            attempt.undoes is not None
            and undoes.items() <= attempt.undoes.items()
            and not all(attempt.is_finished(partition) for partition in attempt.partitions)
        ):
            return attempt
    return None


def _failed(attempt: Attempt, partition: str) -> bool:
    return attempt.summary(partition)["outcomes"].get("failed", 0) > 0


def _applied(attempt: Attempt, partition: str) -> bool:
    summary = attempt.summary(partition)
    return bool(summary.get("abandoned")) or summary["outcomes"].get("applied", 0) > 0


def _inverse_rows(ledger: Ledger, plan: Plan, partition: str, attempt: Attempt, store: Store) -> Rows:
    """The rows that the attempt applied, turned round, in a fixed order."""
    part = plan.part(partition)

    def rows() -> Iterator[pl.DataFrame]:
        dependants, siblings = _dependants(applied()), _dependants(planned())
        for batch in applied():
            yield inverse(batch, store, dependants, siblings)

    def planned() -> Iterable[pl.DataFrame]:
        return ledger.rows(part) if part else ()

    def applied() -> Iterator[pl.DataFrame]:
        for number, batch in batches(planned, attempt.batch_size):
            letters = settled(attempt, partition, number, batch, store).letters
            written = [row for row, letter in enumerate(letters) if letter == Outcome.APPLIED]
            if written:
                yield batch[written]

    return rows


def _dependants(files: Iterable[pl.DataFrame]) -> dict[str, list[str]]:
    """Which keys required a key: they are undone before it."""
    result: dict[str, list[str]] = {}
    for file in files:
        for key, requires in file.filter(pl.col("requires").list.len() > 0).select("key", "requires").iter_rows():
            for required in requires:
                result.setdefault(required, []).append(key)
    return result


def inverse(
    rows: pl.DataFrame,
    store: Store,
    dependants: dict[str, list[str]] | None = None,
    siblings: dict[str, list[str]] | None = None,
) -> pl.DataFrame:
    """Change rows turned round: applying them after `rows` restores the documents exactly.

    A deleted document may stand again beside what it required, and beside all that required the same.
    """
    dependants, siblings = dependants or {}, siblings or {}
    beside = [
        sorted({*others, *requires, *(key for required in requires for key in siblings.get(required, []))})
        if op == "delete"
        else []
        for op, requires, others in rows.select("op", "requires", "beside").iter_rows()
    ]
    left = [
        store.image_after(before, after, removed or []) if op == "update" else after
        for op, before, after, removed in rows.select("op", "before", "after", "removed").iter_rows()
    ]
    turned = rows.select(
        "partition",
        "key",
        pl.col("op").cast(pl.String).replace_strict(_INVERSE).alias("op"),
        pl.Series("before", left, dtype=pl.Binary),
        pl.col("before").alias("after"),
        "reasons",
        pl.Series("requires", [dependants.get(key, []) for key in rows["key"]], dtype=pl.List(pl.String)),
        pl.Series("beside", beside, dtype=pl.List(pl.String)),
    )
    return conform(turned)
