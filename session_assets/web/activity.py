"""Activity per user and day, from the facts of the sessions that stand in that day. Pure Polars."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date

import polars as pl

ACTIVITY = pl.Schema(
    {
        "user_id": pl.String,  # ObjectId as 24 hex, or str; null for sessions without a user, or with several
        "day": pl.Date,  # UTC day that the session stands in
        "sessions": pl.Int64,
        "events": pl.Int64,
        "pages": pl.Int64,  # distinct pages within each session, summed
        "duration_seconds": pl.Float64,  # from first to last event of each session, summed
    }
)


def user_activity(collected: Iterable[pl.DataFrame], day: str) -> pl.DataFrame:
    """Frames with the facts of sessions (`FACT_COLUMNS`) in, columns of `ACTIVITY` out, one row a user."""
    sums = {
        "sessions": pl.col("sessions").sum(),
        "events": pl.col("events").sum(),
        "pages": pl.col("pages").sum(),
        "duration_seconds": pl.col("duration_seconds").sum(),
    }
    parts = []
    for frame in collected:
        facts = (
            frame.filter(pl.col("fact_event_count") > 0)
            .unique("session_id")
            .select(
                user_id=pl.when(pl.col("fact_users").list.len() == 1).then(pl.col("fact_users").list.first()),
                sessions=pl.lit(1, dtype=pl.Int64),
                events="fact_event_count",
                pages=pl.col("fact_pages").list.len().cast(pl.Int64),
                duration_seconds=(pl.col("fact_last") - pl.col("fact_first")).dt.total_milliseconds() / 1000,
            )
        )
        parts.append(facts.group_by("user_id").agg(**sums))
    if not parts:
        return pl.DataFrame(schema=ACTIVITY)
    total = pl.concat(parts).group_by("user_id").agg(**sums).sort("user_id")
    return total.with_columns(day=pl.lit(date.fromisoformat(day))).select(ACTIVITY.names()).cast(dict(ACTIVITY))
