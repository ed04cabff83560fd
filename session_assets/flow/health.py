"""The whole migration at a glance, as the last verify found it: to be looked at first."""

from __future__ import annotations

import dagster as dg
import polars as pl

from session_assets.flow import model
from session_assets.flow.assets import OWNERS, key
from session_assets.graph.markdown import Markdown, md, md_table
from session_assets.graph.plots import Bar, share_bars
from session_assets.graph.tables import column_schema
from session_assets.stores.flow_changes import inventory
from session_assets.stores.flow_work import Work

HEALTH = dg.AssetSpec(
    key("session_health"),
    deps=[key(name) for name in ("session_flow_map", "backfilled_tables", "schema")],
    group_name=model.SLICE,
    owners=OWNERS,
    kinds={"postgresql"},
    description="The migration at a glance, as the last verify found it: how many rows of each table have a session id and a"
    " flow id, and which steps were done. Observed by each verify.",
    metadata={"dagster/column_schema": column_schema(model.INVENTORY)},
)
_ROLES = ["old", "flow"]
_STEPS = 10


def health(work: Work) -> dg.AssetObservation:
    """Counts of the tables as they stand, and the record of steps."""
    found = inventory(work)
    steps = [
        (one.kind, one.state, f"{one.started_at:%Y-%m-%d %H:%M}", one.id, one.note) for one in work.steps.all()[:_STEPS]
    ]
    rows = found.unique("table", maintain_order=True)["rows"].sum()
    return dg.AssetObservation(
        HEALTH.key,
        metadata={
            "dagster/row_count": int(rows),
            "ids_by_table": md(_plot(found)),
            "steps": md(md_table(steps, ["step", "state", "began", "id", "note"])),
        },
    )


def _plot(found: pl.DataFrame) -> Markdown:
    """A bar for each old column and each flow column: the share of rows that have a value."""
    bars = [
        Bar(f"{one['table']}.{one['column']}", 100 * one["non_null"] / max(one["rows"], 1), _words(one))
        for one in found.filter(pl.col("role").is_in(_ROLES)).iter_rows(named=True)
    ]
    return share_bars("Rows that have a session id or a flow id", bars)


def _words(one: dict[str, int]) -> str:
    return f"{one['non_null']:,} of {one['rows']:,}"
