"""The health of a whole collection, as its last verify found it: one asset without partitions, to look at first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import dagster as dg
import polars as pl

from session_assets.changes.tally import Tally
from session_assets.graph.check_report import CheckReport
from session_assets.graph.environment import Environment
from session_assets.graph.markdown import Markdown, md, md_table
from session_assets.graph.plots import stacked_bars
from session_assets.graph.tables import column_schema

if TYPE_CHECKING:
    from session_assets.graph.collection import Collection

NAME = "session_health"
CLASSES = ("unchanged", "planned", "listed", "unsettled", "not_applicable")
HEALTH = pl.Schema({"partition": pl.String, "documents": pl.Int64} | dict.fromkeys(CLASSES, pl.Int64))
"""A row for each partition that holds documents; the classes add up to `documents`."""
_SHOWN = 60  # partitions of a plot


def health_spec(collection: Collection) -> dg.AssetSpec:
    """The asset; what it says is told by `health_of`."""
    return dg.AssetSpec(
        collection.key(NAME),
        deps=[collection.key(collection.name)],
        group_name=collection.slice_,
        owners=collection.owners,
        kinds={"parquet"},
        description="The whole collection at a glance, as its last verify found it: documents by class, failing checks, and what"
        " is repairable by partition, before and now. Observed by each verify of everything.",
        metadata={"dagster/column_schema": column_schema(HEALTH)},
    )


def health_of(
    collection: Collection, environment: Environment, tally: Tally, reports: Sequence[CheckReport]
) -> dg.AssetObservation:
    """What a verify of the whole collection has to tell; its counts by partition replace those of the verify before."""
    name = (
        f"{collection.slice_}/health/{collection.loop.known(environment).id}.parquet"  # another target has its own past
    )
    storage = environment.storage
    before = storage.read_parquet(name) if storage.exists(name) else None
    now = by_partition(tally)
    storage.write_parquet(name, now)
    classes = {one: int(now[one].sum()) for one in CLASSES}
    failing = [
        (
            one.name,
            one.total.worst.value,
            f"{one.count:,}",
            "; ".join(rule.text for rule in collection.rules.get(one.name, ())),
        )
        for one in reports
        if not one.total.passed
    ]
    metadata: dict[str, Any] = {
        "dagster/row_count": sum(tally.reads.values()),
        **tally.all_figures().as_dict(),
        **classes,
        "failing_checks": md(md_table(failing, ["check", "severity", "count", "what"])),
        "defects": md(_plot(before, now)),
        "by_partition": dg.MetadataValue.path(str(storage.path(name))),
    }
    return dg.AssetObservation(collection.key(NAME), metadata=metadata)


def by_partition(tally: Tally) -> pl.DataFrame:
    """Rows of `HEALTH`."""
    rows: list[Mapping[str, Any]] = [
        {"partition": one, "documents": read, **{name: tally.classes[one].get(name, 0) for name in CLASSES}}
        for one, read in sorted(tally.reads.items())
        if read
    ]
    return pl.DataFrame(rows, schema=HEALTH)


def _plot(before: pl.DataFrame | None, now: pl.DataFrame) -> Markdown:
    """Repairable documents by partition: those that are gone since the verify before below, those that are there above."""
    earlier = pl.DataFrame(schema=HEALTH) if before is None else before
    both = (
        now.select("partition", now="planned")
        .join(earlier.select("partition", before="planned"), on="partition", how="full", coalesce=True)
        .fill_null(0)
        .filter((pl.col("now") > 0) | (pl.col("before") > 0))
        .sort("partition")
        .tail(_SHOWN)
    )
    bars = [(one["partition"], max(one["before"] - one["now"], 0), one["now"]) for one in both.iter_rows(named=True)]
    words = ("gone since the verify before (green)", "repairable now (red)")
    return stacked_bars(f"Defects by partition: {words[0]}, {words[1]}", bars, words)
