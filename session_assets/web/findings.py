"""What a person reads of each wrong document: how it stands, and how it should."""

from __future__ import annotations

import polars as pl

from session_assets.changes.tally import FINDINGS


def findings(classified: pl.DataFrame) -> pl.DataFrame:
    """One row a document and reason, notes included: columns of `FINDINGS`."""
    stored = pl.format(
        "event_count={} pages={} first={} last={}",
        pl.col("event_count").cast(pl.Int64, strict=False).cast(pl.String).fill_null("missing"),
        pl.col("pages").list.len().cast(pl.String).fill_null("missing"),
        _text("first_event_at"),
        _text("last_event_at"),
    )
    expected = pl.format(
        "event_count={} pages={} first={} last={} users={}",
        pl.col("fact_event_count").fill_null(0),
        pl.col("fact_pages").list.len().fill_null(0),
        _text("fact_first"),
        _text("fact_last"),
        pl.col("fact_users").list.len().fill_null(0),
    )
    return (
        classified.select(
            "partition",
            "key",
            "class",
            pl.coalesce("session_id", "key").alias("id"),
            pl.concat_list("reasons", "notes").alias("reason"),
            stored.alias("stored"),
            expected.alias("expected"),
        )
        .filter(pl.col("reason").list.len() > 0)
        .explode("reason")
        .select(FINDINGS.names())
    )


def _text(name: str) -> pl.Expr:
    return pl.col(name).dt.to_string("%Y-%m-%dT%H:%M:%S%.3fZ").fill_null("missing")


def loose_findings(events: pl.DataFrame, reason: str) -> pl.DataFrame:
    """Events (`_id`, `session_id`) that no session document claims, as `FINDINGS`; they stand in no partition."""
    return events.select(
        partition=pl.lit("all"),
        key="_id",
        id=pl.coalesce("session_id", "_id"),
        **{"class": pl.lit("listed")},
        reason=pl.lit(reason),
        stored=pl.lit(None, dtype=pl.String),
        expected=pl.lit(None, dtype=pl.String),
    )
