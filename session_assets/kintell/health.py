"""The whole of Kintell at a glance, as the last verify of all imports found it: to be looked at first."""

from __future__ import annotations

from collections.abc import Mapping

import dagster as dg
import polars as pl

from session_assets.graph.markdown import Markdown, escaped, md, md_table, paragraphs
from session_assets.graph.plots import count_lines, stacked_bars
from session_assets.graph.tables import column_schema
from session_assets.kintell import model
from session_assets.kintell.assets import OWNERS, key, sessions
from session_assets.kintell.preview import plot_days
from session_assets.stores.kintell_recount import SESSION_DAYS, days, session_count, session_days
from session_assets.stores.postgres import Database

HEALTH = dg.AssetSpec(
    key("session_health"),
    deps=[sessions, key("rejected_rows")],
    group_name=model.SLICE,
    owners=OWNERS,
    kinds={"postgresql"},
    description="All sessions at a glance, as the last verify found them: sessions by date, rows imported and rejected by day,"
    " rejected rows by reason with those that were repaired since. Observed by each verify of all imports.",
    metadata={"dagster/column_schema": column_schema(SESSION_DAYS)},
)


def health(database: Database, rejected: Mapping[str, tuple[int, int]]) -> dg.AssetObservation:
    """`rejected`: rows by reason, those that are open and those that were repaired. Source: the runbook's queries."""
    dates = session_days(database)
    return dg.AssetObservation(
        HEALTH.key,
        metadata={
            "dagster/row_count": session_count(database),
            "rejected_rows": sum(still for still, _ in rejected.values()),
            "sessions_by_date": md(_plot_dates(dates)),
            "imports_by_day": md(plot_days(days(database))),
            "rejects_by_reason": md(_plot_reasons(rejected)),
            "dates": md(md_table(dates.iter_rows(), dates.columns)),
        },
    )


def _plot_dates(dates: pl.DataFrame) -> Markdown:
    """Sessions of each of the last days that have some, by type."""
    if dates.is_empty():
        return escaped("no session")
    ordered = dates.sort("date")
    points = [f"{day:%m-%d}" for day in ordered["date"]]
    lines = [(name, ordered[name].to_list()) for name in ("language", "mentorship")]
    return count_lines("Sessions by date", points, lines)


def _plot_reasons(rejected: Mapping[str, tuple[int, int]]) -> Markdown:
    """A bar for each reason; the table beside it has the words."""
    if not rejected:
        return escaped("no row was rejected")
    ordered = sorted(rejected.items(), key=lambda one: (-sum(one[1]), one[0]))
    bars = [(str(place), done, still) for place, (_, (still, done)) in enumerate(ordered, 1)]
    words = ("repaired since (green)", "open (red)")
    rows = [(place, name, f"{still:,}", f"{done:,}") for place, (name, (still, done)) in enumerate(ordered, 1)]
    plot = stacked_bars(f"Rejected rows by reason: {words[0]}, {words[1]}", bars, words)
    return paragraphs([plot, md_table(rows, ["bar", "reason", "open", "repaired since"])])
