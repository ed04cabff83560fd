"""What the attempts of a session amount to: its analytics. Pure Polars, no I/O. Rules: seed S5 and its fact sheet."""

from __future__ import annotations

import polars as pl

from session_assets.contest.model import COUNTS, FACT_COLUMNS
from session_assets.contest.rounding import divided, two_decimals


def session_facts(attempts: pl.DataFrame, rows: pl.DataFrame) -> pl.DataFrame:
    """The analytics of each session: `row` and `FACT_COLUMNS`.

    In: `row`, `attempt`, `is_correct`, `ms`, `difficulty`, `topics` (null: counts for none); `rows` lists all sessions, in order.
    A problem counts in every one of its topics.
    """
    right, ms = pl.col("is_correct"), pl.col("ms")
    totals = attempts.group_by("row").agg(
        total_attempted=pl.len().cast(pl.Int64),
        total_correct=right.sum().cast(pl.Int64),
        total_time_ms=ms.sum(),
        correct_ms=ms.filter(right).sum(),
        fastest_correct_ms=ms.filter(right).min(),
        slowest_correct_ms=ms.filter(right).max(),
    )
    facts = rows.select("row").join(totals, on="row", how="left", maintain_order="left")
    sums = ("total_attempted", "total_correct", "total_time_ms", "correct_ms")
    facts = facts.with_columns(pl.col(name).fill_null(0) for name in sums)
    total, correct, time = (pl.col(name) for name in sums[:3])
    return (
        facts.with_columns(
            total_time_seconds=two_decimals(time, 1000),
            total_time_minutes=two_decimals(time, 60000),
            accuracy=_percent(correct, total),
            average_ms=_average(time, total),
            average_seconds=two_decimals(pl.when(total > 0).then(divided(time, 1000) / total).otherwise(0.0)),
            average_correct_ms=_average(pl.col("correct_ms"), correct),
            average_incorrect_ms=_average(time - pl.col("correct_ms"), total - correct),
        )
        .join(
            _counts(_by_topic(attempts), "topics"),
            on="row",
            how="left",
            maintain_order="left",
        )
        .join(_counts(attempts, "difficulty", "difficulties"), on="row", how="left", maintain_order="left")
        .with_columns(pl.col(name).fill_null([]) for name in ("topics", "difficulties"))
        .select("row", *(pl.col(name).cast(dtype) for name, dtype in FACT_COLUMNS.items()))
    )


def _percent(correct: pl.Expr, attempted: pl.Expr) -> pl.Expr:
    """100·correct/attempted to two decimals; 0 where nothing was attempted."""
    return two_decimals(pl.when(attempted > 0).then(100 * correct / attempted).otherwise(0.0))


def _average(total: pl.Expr, count: pl.Expr) -> pl.Expr:
    return two_decimals(pl.when(count > 0).then(total / count).otherwise(0.0))


def _by_topic(attempts: pl.DataFrame) -> pl.DataFrame:
    """A row for each topic of each attempt, once where the attempt names it twice."""
    topics = pl.col("topics")
    if not attempts.select((topics.list.n_unique() == topics.list.len()).all()).item():
        attempts = attempts.with_columns(topics.list.unique(maintain_order=True))
    return attempts.select("row", "is_correct", "topics").explode("topics", empty_as_null=True)


def _counts(attempts: pl.DataFrame, name: str, out: str | None = None) -> pl.DataFrame:
    """Attempts by one of their names, as `COUNTS` a session, the name that was attempted first first."""
    counted = (
        attempts.filter(pl.col(name).is_not_null())
        .group_by("row", name, maintain_order=True)
        .agg(attempted=pl.len().cast(pl.Int64), correct=pl.col("is_correct").sum().cast(pl.Int64))
        .with_columns(accuracy=_percent(pl.col("correct"), pl.col("attempted")))
    )
    one = pl.struct(pl.col(name).alias("name"), "attempted", "correct", "accuracy")
    return counted.group_by("row").agg(one.alias(out or name).cast(COUNTS.inner))
