"""What people see of an import: masked tables in Markdown, and a plot as a picture inside it."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from session_assets.graph.markdown import Markdown, escaped, md_table, prose
from session_assets.graph.plots import stacked_bars
from session_assets.kintell.model import REASON

_ROWS = 20


def preview_rejects(rejected: pl.DataFrame) -> Markdown:
    """The first rejected rows: where they stand, and why. E-mails are masked, values of the row are not shown."""
    return md_table(rejected.select("row", "line", "message").head(_ROWS).iter_rows(), ["row", "line", "reasons"])


def preview_reasons(counts: Mapping[str, int]) -> Markdown:
    """Reasons by number of rows, each with what to do."""
    rows = [(name, f"{count:,}", REASON[name].text, prose(REASON[name].next_step)) for name, count in _sorted(counts)]
    return md_table(rows, ["reason", "rows", "words", "next step"])


def preview_users(missing: pl.DataFrame) -> Markdown:
    """The missing users that most rows name, masked."""
    return md_table(missing.head(_ROWS).iter_rows(), missing.columns)


def preview_days(days: pl.DataFrame) -> Markdown:
    return md_table(days.iter_rows(), days.columns)


def plot_days(days: pl.DataFrame) -> Markdown:
    """Rows imported and rejected by day as Markdown with a picture. In: `stores.kintell_recount.DAYS`."""
    if days.is_empty():
        return escaped("no completed job in the last 30 days")
    ordered = days.sort("date").select("date", "total_success", "total_failures")
    bars = [(str(day)[5:], good, bad) for day, good, bad in ordered.iter_rows()]
    return stacked_bars("Rows by day: imported (green) and rejected (red)", bars, ("imported", "rejected"))


def _sorted(counts: Mapping[str, int]) -> list[tuple[str, int]]:
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))
