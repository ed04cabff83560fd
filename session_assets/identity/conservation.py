"""Whether every session that was ever to be moved still exists: asked of the ledger and of the ids in the container alone."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import polars as pl

from session_assets.changes.ledger import Ledger
from session_assets.changes.tally import FINDINGS, Tally
from session_assets.identity.source import IdentitySource
from session_assets.selection import Selection

LOST = "session_gone"


def conservation(ledger: Ledger, source: IdentitySource, partitions: Iterable[str], scratch: Path) -> Tally:
    """The sessions of the newest plan of each shard that was applied, those that are gone as findings. Raises `DamagedFile`."""
    tally = Tally(scratch)
    wanted = sorted(partitions)
    planned = {
        partition: pl.concat(rows.select("partition", "key") for rows in ledger.rows(part))
        for partition, (plan, _) in ledger.last_applies(wanted).items()
        if (part := plan.part(partition)) is not None
    }
    for error in ledger.damaged.values():
        raise error
    for partition, keys in planned.items():
        tally.reads[partition] = keys.height
    if not planned:
        return tally
    left = pl.concat(planned.values())
    for ids in source.ids(Selection(frozenset(planned))):
        left = left.join(ids, on="key", how="anti")
    gone = left.with_columns(
        pl.lit(LOST).alias("reason"),
        pl.lit("listed").alias("class"),
        id="key",
        stored=pl.lit(None, dtype=pl.String),
        expected=pl.lit(None, dtype=pl.String),
    )
    tally.find(gone.select(FINDINGS.names()))
    return tally
