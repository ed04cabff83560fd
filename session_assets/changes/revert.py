"""Undoes what the latest unreverted applies of a plan wrote, where the document is still as they left it.

An undo is a change set too: each applied row turned round, run through the same guarded, journaled apply. Before-images
are restored whole, so that field order and absent fields come back as they were.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace

from session_assets.changes.apply import Rows, apply_part, batches, settle
from session_assets.changes.attempt import Attempt
from session_assets.changes.attempts import blamed
from session_assets.changes.change_set import Plan
from session_assets.changes.epochs import Applies, epochs
from session_assets.changes.ledger import Ledger
from session_assets.changes.outcomes import Outcome, Outcomes
from session_assets.changes.store import State, Store
from session_assets.changes.undo_report import Looked, RevertReport, left_rows, look_at
from session_assets.changes.undo_rows import plan_rows, undo_rows
from session_assets.errors import DamagedFile

_LOOKED_AT_ONCE = 5000


@dataclass(frozen=True)
class _Undo:
    """What is undone in one partition: some applies, or what the revert `rest_of` has left of them."""

    applies: Applies
    rest_of: Attempt | None

    def rows(self, ledger: Ledger, plan: Plan, partition: str, store: Store) -> Rows:
        return undo_rows(ledger, plan, partition, self.applies, store, self.rest_of)


@dataclass(frozen=True)
class _Found:
    """What is undone in each partition, the partitions that a damaged file forbids to undo, and what the store shows."""

    undos: dict[str, _Undo]
    damaged: dict[str, str]
    looked: Looked | None = None


def to_undo(ledger: Ledger, plan: Plan) -> tuple[dict[str, Applies], dict[str, str]]:
    """Per partition the latest applies that are not reverted and wrote something (or were stopped); and what is damaged.

    A revert that left rows may be repeated: the rows that are undone already stay so. A partition of which a file is damaged
    is in the second result, with what to do; the others can be undone all the same.
    """
    found = _undos(ledger, plan)
    return {partition: undo.applies for partition, undo in found.undos.items()}, found.damaged


def _found(ledger: Ledger, plan: Plan, store: Store, batch_size: int) -> _Found:
    """What is to undo; if that is nothing by the ledger, also what the store shows.

    A revert of version 0.1 may have looked at another database than the one that was repaired. So if the store still shows the
    change, such reverts do not count.
    """
    found = _undos(ledger, plan)
    if found.undos or found.damaged:
        return found
    looked = look_at(ledger, plan, store, batch_size=batch_size)
    again = _undos(ledger, plan, with_old=False) if looked.disagrees else found
    return replace(again, looked=looked)


def _undos(ledger: Ledger, plan: Plan, *, with_old: bool = True) -> _Found:
    """`with_old`: reverts count that name no target, as those of version 0.1."""
    attempts, broken = ledger.all_attempts(plan.plan_id)
    reverts = [one for one in attempts if one.is_revert and (with_old or one.target is not None)]
    found = _Found({}, {})
    groups = epochs(ledger, plan.plan_id)
    for partition in sorted({*groups, *(part.partition for part in plan.parts)}):
        try:
            if (error := blamed(broken, partition)) is not None:
                raise error
            undo = _undo(ledger, plan, partition, groups.get(partition, []), reverts)
        except DamagedFile as error:
            found.damaged[partition] = str(error)
        else:
            if undo is not None:
                found.undos[partition] = undo
    return found


def _undo(ledger: Ledger, plan: Plan, partition: str, groups: list[Applies], reverts: list[Attempt]) -> _Undo | None:
    """What is undone in a partition. Raises `DamagedFile` before anything of it is written."""
    finished = [one for one in reverts if partition in one.partitions and one.is_finished(partition)]
    undone = {number for one in finished if not _left(one, partition) for number in one.undone(partition)}
    for group in reversed(groups):
        open_ = [one for one in group.attempts if one.number not in undone and _wrote(one, partition)]
        if open_:
            numbers = {one.number for one in open_}
            before = [one for one in finished if one.undone(partition) == numbers]
            _require(ledger, plan, partition, open_, [one for one in reverts if partition in one.partitions])
            return _Undo(Applies(tuple(open_)), before[-1] if before else None)
    return None


def _require(ledger: Ledger, plan: Plan, partition: str, applies: list[Attempt], reverts: list[Attempt]) -> None:
    """Raise `DamagedFile` if a file is damaged that says which rows were written, or what reverts did with them since."""
    part = plan.part(partition)
    if part is not None:
        ledger.parts.require(part)
    for attempt in applies:
        attempt.require(partition, part.rows if part else 0)
    for attempt in reverts:
        if attempt.at_ns > applies[0].at_ns:
            attempt.require(partition)


def preview(ledger: Ledger, plan: Plan, store: Store) -> RevertReport:
    """The dry run: looks at every document that would be undone, writes nothing, not even to the ledger."""
    report = RevertReport()
    found = _found(ledger, plan, store, _LOOKED_AT_ONCE)
    report.damaged = found.damaged
    for partition, undo in found.undos.items():
        report.partitions.append(partition)
        refused: set[str] = set()
        rows = undo.rows(ledger, plan, partition, store)
        for _, batch in batches(rows, undo.applies.newest.batch_size):
            letters, errors = "", dict[int, str]()
            columns = zip(batch["key"], batch["requires"].to_list(), store.look(batch), strict=True)
            for row, (key, requires, state) in enumerate(columns):
                waits_for = refused.intersection(requires) if state.is_open else set[str]()
                if waits_for:
                    errors[row] = f"{', '.join(sorted(waits_for))} has to be undone first"
                is_left = state is State.OTHER or bool(waits_for)
                letters += Outcome.CONFLICTED if is_left else Outcome.APPLIED
                if is_left:
                    refused.add(key)
                else:
                    report.undoable += 1
            report.leave(left_rows(batch, letters, errors, store))
    if not found.undos:
        report.looked = found.looked
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
    """Undo; a killed revert goes on when it is called again. Partitions of which a file is damaged are left, and named."""
    found = _found(ledger, plan, store, batch_size)
    report, targets = RevertReport(damaged=found.damaged), found.undos
    if not targets:
        report.looked = found.looked
        return report
    for partition, undo in targets.items():
        for attempt in undo.applies.attempts:
            if not attempt.is_finished(partition):
                settle(attempt, partition, plan_rows(ledger, plan, partition), store)
    current = _unfinished(ledger, plan, targets)
    if current is None:
        current = _start(ledger, plan, targets, batch_size, run_id)
    for partition in current.partitions:
        if partition in found.damaged:
            continue
        undo = targets.get(partition)
        if undo is None:  # finished before this revert was stopped
            outcomes = Outcomes(Counter(current.summary(partition)["outcomes"]))
        else:
            undo = _as_begun(ledger, current, partition, undo)
            rows = undo.rows(ledger, plan, partition, store)
            outcomes = apply_part(current, partition, rows, store, progress=progress)
            if outcomes.counts["conflicted"] or outcomes.counts["failed"]:
                _leave(current, partition, rows, store, report)
        report.partitions.append(partition)
        report.outcomes.add(outcomes)
    counts = report.outcomes.as_dict()
    report.undoable = counts["applied"] + counts["already_applied"]
    return report


def _start(ledger: Ledger, plan: Plan, targets: dict[str, _Undo], batch_size: int, run_id: str) -> Attempt:
    return ledger.start_attempt(
        plan,
        targets,
        batch_size=batch_size,
        run_id=run_id,
        undoes={partition: undo.applies.newest.number for partition, undo in targets.items()},
        undoes_too={partition: undo.applies.earlier for partition, undo in targets.items() if undo.applies.earlier},
        rest_of={partition: undo.rest_of.number for partition, undo in targets.items() if undo.rest_of is not None},
    )


def _leave(current: Attempt, partition: str, rows: Rows, store: Store, report: RevertReport) -> None:
    """Name the rows that a revert left, from its outcomes in the ledger, with what stops them now."""
    for number, batch in batches(rows, current.batch_size):
        outcome = current.outcome(partition, number)
        if outcome is not None:
            report.leave(left_rows(batch, outcome.letters, outcome.errors, store))


def _unfinished(ledger: Ledger, plan: Plan, targets: dict[str, _Undo]) -> Attempt | None:
    """A revert of the same applies that was stopped half-way."""
    undoes = {partition: undo.applies.newest.number for partition, undo in targets.items()}
    for attempt in reversed(ledger.attempts(plan.plan_id)):
        if (
            attempt.undoes is not None
            and undoes.items() <= attempt.undoes.items()
            and not all(attempt.is_finished(partition) for partition in attempt.partitions)
        ):
            return attempt
    return None


def _as_begun(ledger: Ledger, current: Attempt, partition: str, undo: _Undo) -> _Undo:
    """What the revert undoes in a partition: its rows must be those that it began with."""
    numbers, rest_of = current.undone(partition), (current.rest_of or {}).get(partition)
    attempts = {one.number: one for one in ledger.attempts(current.plan_id)}
    applies = Applies(tuple(one for one in undo.applies.attempts if one.number in numbers))
    return _Undo(applies, None if rest_of is None else attempts[rest_of])


def _left(revert: Attempt, partition: str) -> bool:
    """Whether a finished revert has left rows of a partition."""
    outcomes = revert.summary(partition)["outcomes"]
    return outcomes.get("failed", 0) + outcomes.get("conflicted", 0) > 0


def _wrote(attempt: Attempt, partition: str) -> bool:
    """Whether an apply wrote rows, or was stopped before it said so."""
    if not attempt.is_finished(partition):
        return True
    summary = attempt.summary(partition)
    return bool(summary.get("abandoned")) or summary["outcomes"].get("applied", 0) > 0
