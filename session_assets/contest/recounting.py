"""Holds the facts of sessions against the recount of MongoDB, document by document, beside live traffic."""

from __future__ import annotations

import polars as pl

from session_assets.changes.tally import FINDINGS, Tally
from session_assets.contest.pipeline import Contest
from session_assets.contest.recount import REASON, disagreements
from session_assets.selection import Progress, Selection
from session_assets.stores.mongo_contest_recounts import ContestRecounts


def recount(
    contest: Contest, recounts: ContestRecounts, selection: Selection, run_id: str, progress: Progress | None = None
) -> tuple[Tally, dict[str, str]]:
    """Documents whose facts the recount does not confirm, and the full list. Quarantined ones have no facts to confirm.

    A document that changed between the two looks says nothing: it is left to the next run.
    """
    with contest.storage.scratch() as scratch:
        tally = Tally(scratch)
        for frame in contest.buckets(selection, scratch, progress):
            tally.read(frame)
            facts = frame.filter(pl.col("held").list.len() == 0)
            if facts.is_empty():
                continue
            found = disagreements(facts, pl.concat(recounts.of(facts["key"])))
            if found.height:
                still = recounts.unchanged(facts.join(found, on="key", how="semi").select("key", "document"))
                tally.find(_findings(facts, found.join(still, on="key", how="semi")))
        return tally, contest.publish_lists("recounts", run_id, tally)


def _findings(facts: pl.DataFrame, found: pl.DataFrame) -> pl.DataFrame:
    """Columns of `FINDINGS`, one row a document: `stored` says the facts, `expected` the recount."""

    def said(column: str) -> pl.Expr:
        return pl.format("{}: {}", "figure", pl.col(column).fill_null("none")).str.join("; ").alias(column)

    figures = found.group_by("key").agg(said("facts"), said("recount"))
    return (
        facts.select("partition", "key", id=pl.coalesce("session_id", "key"))
        .join(figures, on="key")
        .with_columns(pl.lit("listed").alias("class"), reason=pl.lit(REASON))
        .rename({"facts": "stored", "recount": "expected"})
        .select(FINDINGS.names())
    )
