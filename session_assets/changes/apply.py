"""Applies the rows of one partition of a plan, batch by batch, so that it may be killed anywhere.

look → intent (journaled) → guarded write → outcome (journaled). A row counts as applied only when its intent is in the
ledger and its document shows it; a document that showed `after` before we wrote was somebody else's work, and stays so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait

import polars as pl

from session_assets.changes.attempt import Attempt, BatchOutcome
from session_assets.changes.outcomes import OUTCOME_NAMES, Outcome, Outcomes
from session_assets.changes.store import State, Store
from session_assets.failpoints import failpoint
from session_assets.masking import safe_text

Rows = Callable[[], Iterable[pl.DataFrame]]
"""Gives the rows of a part, a file at a time, in the same order each time it is called."""

STOPPED = "not written: the attempt was stopped before this row, and then reverted"
UNSENT = "not written: the connection to the store was lost each time"
_WRITES = 3


def apply_part(
    attempt: Attempt,
    partition: str,
    rows: Rows,
    store: Store,
    *,
    workers: int = 2,
    progress: Callable[[Outcomes], None] | None = None,
) -> Outcomes:
    """Apply one partition of a plan, or go on with it. Raises what the store raises when it cannot be reached."""
    total = Outcomes()
    seen = _Seen(rows)
    for phase in (_independent(seen.rows, attempt.batch_size), _dependent(seen.rows_again, attempt.batch_size)):
        with ThreadPoolExecutor(workers) as pool:
            running: set[Future[Outcomes]] = set()
            try:
                for number, batch in phase:
                    running.add(pool.submit(_apply_batch, attempt, partition, number, batch, rows, store))
                    if len(running) > workers:
                        running = _collect(running, total, progress)
                while running:
                    running = _collect(running, total, progress)
            finally:
                for future in running:
                    future.cancel()
    failpoint("apply.before_finish")
    if not attempt.is_finished(partition):
        attempt.finish(partition, {"outcomes": total.as_dict(), "errors": total.errors, "conflicts": total.conflicts})
    return total


class _Seen:
    """Rows read for the second phase only where the first has seen some that wait for others."""

    def __init__(self, rows: Rows) -> None:
        self._rows = rows
        self._waiting = False

    def rows(self) -> Iterator[pl.DataFrame]:
        for file in self._rows():
            self._waiting = self._waiting or bool(file["requires"].list.len().sum())
            yield file

    def rows_again(self) -> Iterable[pl.DataFrame]:
        return self._rows() if self._waiting else ()


def batches(rows: Rows, batch_size: int) -> Iterator[tuple[int, pl.DataFrame]]:
    """All batches of a part with their numbers: first those that require nothing, then those that do."""
    yield from _independent(rows, batch_size)
    yield from _dependent(rows, batch_size)


def settle(attempt: Attempt, partition: str, rows: Rows, store: Store) -> None:
    """Close a stopped attempt without writing: tell by looking which rows of its last batches were written."""
    for number, batch in batches(rows, attempt.batch_size):
        if attempt.outcome(partition, number) is None:
            attempt.write_outcome(partition, number, settled(attempt, partition, number, batch, store))
    attempt.finish(partition, {"outcomes": {}, "errors": {}, "conflicts": [], "abandoned": True})


def settled(attempt: Attempt, partition: str, number: int, batch: pl.DataFrame, store: Store) -> BatchOutcome:
    """What became of a batch: from the ledger, else told by looking what a stopped attempt wrote."""
    known = attempt.outcome(partition, number)
    if known is not None:
        return known
    states = attempt.intent(partition, number)
    if states is None:
        letters = Outcome.FAILED * batch.height
    else:
        letters = "".join(
            _settled(State(intended), now) for intended, now in zip(states, store.look(batch), strict=True)
        )
    return BatchOutcome(letters, {row: STOPPED for row, letter in enumerate(letters) if letter == Outcome.FAILED})


def _settled(intended: State, now: State) -> Outcome:
    if intended is State.AFTER:
        return Outcome.ALREADY_APPLIED
    if intended.is_open and now in (State.AFTER, State.HALF):
        return Outcome.APPLIED  # half-way: what there is of it is ours, and an undo takes it back
    return Outcome.FAILED if now is State.BEFORE else Outcome.CONFLICTED


def _independent(rows: Rows, size: int) -> Iterator[tuple[int, pl.DataFrame]]:
    yield from _numbered(rows, size, pl.col("requires").list.len() == 0, 0)


def _dependent(rows: Rows, size: int) -> Iterator[tuple[int, pl.DataFrame]]:
    yield from _numbered(rows, size, pl.col("requires").list.len() > 0, 500_000)


def _numbered(rows: Rows, size: int, which: pl.Expr, first: int) -> Iterator[tuple[int, pl.DataFrame]]:
    number = first
    for file in rows():
        for batch in file.filter(which).iter_slices(size):
            if batch.height:
                yield number, batch
                number += 1


def _collect(
    running: set[Future[Outcomes]], total: Outcomes, progress: Callable[[Outcomes], None] | None
) -> set[Future[Outcomes]]:
    done, rest = wait(running, return_when=FIRST_COMPLETED)
    for future in done:
        outcomes = future.result()
        total.add(outcomes)
        if progress is not None:
            progress(outcomes)
    return rest


def _apply_batch(
    attempt: Attempt, partition: str, number: int, batch: pl.DataFrame, rows: Rows, store: Store
) -> Outcomes:
    outcome = attempt.outcome(partition, number)
    if outcome is None:
        outcome = _work(attempt, partition, number, batch, rows, store)
        failpoint("apply.after_write")
        attempt.write_outcome(partition, number, outcome)
        failpoint("apply.after_outcome")
    return _summarize(batch, outcome)


def _work(attempt: Attempt, partition: str, number: int, batch: pl.DataFrame, rows: Rows, store: Store) -> BatchOutcome:
    now = store.look(batch)
    failpoint("apply.after_look")
    journaled = attempt.intent(partition, number)
    if journaled is None:
        intended = now
        attempt.write_intent(partition, number, "".join(intended))
        failpoint("apply.after_intent")
    else:  # a killed attempt: what we intended and now shows was written by us
        intended = [State(letter) for letter in journaled]
    letters: list[Outcome] = [Outcome.CONFLICTED] * batch.height
    errors: dict[int, str] = {}
    to_write: list[int] = []
    blocked = _blocked(batch, rows, store)
    for row, (then, state) in enumerate(zip(intended, now, strict=True)):
        if then is State.AFTER:
            letters[row] = Outcome.ALREADY_APPLIED
        elif state is State.AFTER and then.is_open:
            letters[row] = Outcome.APPLIED
        elif state.is_open and row in blocked:
            errors[row] = blocked[row]
        elif state.is_open and then.is_open:
            to_write.append(row)
    if to_write:
        written = _write(store, batch, to_write, errors)
        for row, letter in written.items():
            letters[row] = letter
    return BatchOutcome("".join(letters), errors)


def _write(store: Store, batch: pl.DataFrame, to_write: list[int], errors: dict[int, str]) -> dict[int, Outcome]:
    """Write rows guarded; those of which the store is not sure are looked at, and written again where nothing came of it."""
    letters: dict[int, Outcome] = {}
    for _ in range(_WRITES):
        chosen = batch if len(to_write) == batch.height else batch[to_write]
        result = store.write(chosen)
        letters |= {to_write[row]: Outcome.APPLIED for row in result.done}
        letters |= {to_write[row]: Outcome.CONFLICTED for row in result.missed}
        letters |= {to_write[row]: Outcome.FAILED for row in result.errors}
        errors |= {to_write[row]: reason for row, reason in result.errors.items()}
        again: list[int] = []
        unknown = sorted(result.unknown)
        for row, state in zip(unknown, store.look(chosen[unknown]) if unknown else (), strict=True):
            if state.is_open:
                again.append(to_write[row])
            else:
                letters[to_write[row]] = Outcome.APPLIED if state is State.AFTER else Outcome.CONFLICTED
        to_write = again
        if not to_write:
            return letters
    errors |= dict.fromkeys(to_write, UNSENT)
    return letters | dict.fromkeys(to_write, Outcome.FAILED)


def _blocked(batch: pl.DataFrame, rows: Rows, store: Store) -> dict[int, str]:
    """Rows whose required documents do not show their change, read back now."""
    needed = set(batch["requires"].explode().drop_nulls().to_list())
    if not needed:
        return {}
    shown: set[str] = set()
    for file in rows():
        required = file.filter(pl.col("key").is_in(list(needed)))
        if required.height:
            states = store.look(required)
            shown.update(key for key, state in zip(required["key"], states, strict=True) if state is State.AFTER)
    return {
        row: safe_text("not written: " + ", ".join(sorted(set(requires) - shown)) + " does not show its change")
        for row, requires in enumerate(batch["requires"].to_list())
        if not set(requires) <= shown
    }


def _summarize(batch: pl.DataFrame, outcome: BatchOutcome) -> Outcomes:
    result = Outcomes()
    for letter in Outcome:
        count = outcome.letters.count(letter)
        if count:
            result.counts[OUTCOME_NAMES[letter]] += count
    keys = batch["key"]
    for row, reason in list(outcome.errors.items())[:20]:
        result.errors[keys[row]] = reason
    if Outcome.CONFLICTED in outcome.letters:
        positions = [row for row, letter in enumerate(outcome.letters) if letter == Outcome.CONFLICTED][:20]
        result.conflicts = [keys[row] for row in positions]
    return result
