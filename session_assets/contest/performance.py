"""Performance of users by topic and by difficulty, month by month, from the facts of sessions. Pure Polars."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date

import polars as pl

from session_assets.contest.rounding import two_decimals

NAMES = {"topics": "topic", "difficulties": "difficulty"}
"""Columns of the facts, and what one of their names is called."""
ALL = "all"
_SUMS = ("sessions", "attempted", "correct")


def schema_of(kind: str) -> pl.Schema:
    """Columns of `performance`."""
    return pl.Schema(
        {
            "month": pl.Date,  # its first day, UTC: the month that the session stands in
            "username": pl.String,
            NAMES[kind]: pl.String,
            "sessions": pl.Int64,  # in which it was attempted
            "attempted": pl.Int64,
            "correct": pl.Int64,
            "accuracy": pl.Float64,  # percent, two decimals
        }
    )


def performance(collected: Iterable[pl.DataFrame], month: str, kind: str) -> pl.DataFrame:
    """Frames of `COLLECTED` in, one row a user and topic (`kind` topics) or difficulty (`difficulties`) out.

    Quarantined sessions do not count: their attempts cannot be trusted. Attempts without a topic count for none.
    """
    name, schema = NAMES[kind], schema_of(kind)
    parts = [
        frame.filter(pl.col("held").list.len() == 0)
        .select("username", kind)
        .explode(kind, empty_as_null=True)
        .drop_nulls(kind)
        .unnest(kind)
        .group_by("username", pl.col("name").alias(name))
        .agg(sessions=pl.len().cast(pl.Int64), attempted=pl.col("attempted").sum(), correct=pl.col("correct").sum())
        for frame in collected
    ]
    if not parts:
        return pl.DataFrame(schema=schema)
    rows = pl.concat(parts).group_by("username", name).agg(pl.col(*_SUMS).sum()).sort("username", name)
    return rows.with_columns(_accuracy(), month=pl.lit(date.fromisoformat(month))).select(
        pl.col(column).cast(dtype) for column, dtype in schema.items()
    )


def across_users(rows: pl.DataFrame, kind: str) -> pl.DataFrame:
    """Rows of `performance` summed over users: `month`, the name, `sessions`, `attempted`, `correct`, `accuracy`."""
    sums = rows.group_by("month", NAMES[kind]).agg(pl.col(*_SUMS).sum())
    return sums.with_columns(_accuracy()).sort("month", "attempted", NAMES[kind], descending=[False, True, False])


def of_user(rows: pl.DataFrame, username: str, kind: str) -> pl.DataFrame:
    """Rows of `performance` of any months → the name, `sessions`, `attempted`, `correct`, `accuracy` of a user over all."""
    name = NAMES[kind]
    sums = rows.filter(pl.col("username") == username).group_by(name).agg(pl.col(*_SUMS).sum())
    return sums.with_columns(_accuracy()).sort("attempted", name, descending=[True, False])


def trend(totals: pl.DataFrame, kind: str, most: int) -> tuple[list[date], list[tuple[str, list[float | None]]]]:
    """Months, and the accuracy in each over all, and of the `most` names with the most attempts; none where not attempted.

    In: rows of `across_users` of any months.
    """
    name = NAMES[kind]
    months = totals["month"].unique().sort()
    overall = totals.group_by("month").agg(pl.col("attempted", "correct").sum()).with_columns(_accuracy())
    attempts = totals.group_by(name).agg(pl.col("attempted").sum()).sort("attempted", name, descending=[True, False])
    lines = [(f"{ALL} {kind}", overall)]
    lines += [(one, totals.filter(pl.col(name) == one)) for one in attempts[name].head(most)]
    return months.to_list(), [
        (label, months.to_frame().join(rows, on="month", how="left", maintain_order="left")["accuracy"].to_list())
        for label, rows in lines
    ]


def _accuracy() -> pl.Expr:
    return two_decimals(100 * pl.col("correct") / pl.col("attempted")).alias("accuracy")
