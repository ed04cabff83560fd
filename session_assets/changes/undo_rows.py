"""The rows of an undo: each row that was applied turned round, in a fixed order, so that a killed revert goes on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import polars as pl

from session_assets.changes.apply import Rows, batches, settled
from session_assets.changes.attempt import Attempt
from session_assets.changes.change_set import Plan, conform
from session_assets.changes.epochs import Applies
from session_assets.changes.ledger import Ledger
from session_assets.changes.outcomes import Outcome
from session_assets.changes.store import Store

_INVERSE = {"update": "replace", "replace": "replace", "insert": "delete", "delete": "insert"}
_UNDONE = (Outcome.APPLIED, Outcome.ALREADY_APPLIED)


def plan_rows(ledger: Ledger, plan: Plan, partition: str) -> Rows:
    """The planned rows of a partition."""
    part = plan.part(partition)
    return (lambda: ledger.rows(part)) if part else (lambda: ())


def undo_rows(
    ledger: Ledger, plan: Plan, partition: str, applies: Applies, store: Store, rest_of: Attempt | None = None
) -> Rows:
    """The rows that some applies wrote, turned round; of them those that the revert `rest_of` has left, if there is one."""
    planned = plan_rows(ledger, plan, partition)
    written = _written_rows(partition, applies, planned, store)

    def rows() -> Iterator[pl.DataFrame]:
        dependants, siblings = _dependants(written()), _dependants(planned())
        for batch in written():
            yield inverse(batch, store, dependants, siblings)

    if rest_of is None:
        return rows
    before = undo_rows(ledger, plan, partition, applies, store, _revert(ledger, rest_of, partition))
    left = set(left_keys(rest_of, partition, before))

    def rest() -> Iterator[pl.DataFrame]:
        for frame in rows():
            kept = frame.filter(pl.col("key").is_in(list(left)))
            if kept.height:
                yield kept.with_columns(
                    pl.col("requires").list.eval(pl.element().filter(pl.element().is_in(list(left))))
                )

    return rest


def left_keys(revert: Attempt, partition: str, rows: Rows) -> Iterator[str]:
    """The keys that a revert did not undo; `rows` are those that it worked on."""
    for number, batch in batches(rows, revert.batch_size):
        outcome = revert.outcome(partition, number)
        letters = outcome.letters if outcome is not None else Outcome.FAILED * batch.height
        yield from (key for key, letter in zip(batch["key"], letters, strict=True) if letter not in _UNDONE)


def _revert(ledger: Ledger, revert: Attempt, partition: str) -> Attempt | None:
    """The revert whose rest a revert has taken."""
    number = (revert.rest_of or {}).get(partition)
    return next((one for one in ledger.attempts(revert.plan_id) if one.number == number), None)


def _written_rows(partition: str, applies: Applies, planned: Rows, store: Store) -> Rows:
    """The rows of the batches that the applies wrote, as they were planned."""
    newest = applies.newest

    def rows() -> Iterator[pl.DataFrame]:
        earlier = [_letters(attempt, partition, planned, store) for attempt in applies.attempts[:-1]]
        place = 0
        for number, batch in batches(planned, newest.batch_size):
            letters = settled(newest, partition, number, batch, store).letters
            written = [
                row
                for row, letter in enumerate(letters)
                if letter == Outcome.APPLIED or any(one[place + row] == Outcome.APPLIED for one in earlier)
            ]
            place += batch.height
            if written:
                yield batch[written]

    return rows


def _letters(attempt: Attempt, partition: str, planned: Rows, store: Store) -> str:
    """What became of each row, in the fixed order of the rows."""
    return "".join(
        settled(attempt, partition, number, batch, store).letters
        for number, batch in batches(planned, attempt.batch_size)
    )


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
