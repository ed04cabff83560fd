"""What people see of an import: masked tables in Markdown, and a plot as a picture inside it."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from html import escape

import polars as pl

from session_assets.graph.tables import markdown
from session_assets.kintell.model import REASON

_ROWS = 20
_WIDTH, _HEIGHT, _LEFT, _BASE = 720, 220, 60, 180
_GOOD, _BAD = "#2e7d5b", "#c0392b"


def preview_rejects(rejected: pl.DataFrame) -> str:
    """The first rejected rows: where they stand, and why. E-mails are masked, values of the row are not shown."""
    return markdown(rejected.select("row", "line", "message").head(_ROWS).iter_rows(), ["row", "line", "reasons"])


def preview_reasons(counts: Mapping[str, int]) -> str:
    """Reasons by number of rows, each with what to do."""
    rows = [(name, f"{count:,}", REASON[name].text, REASON[name].next_step) for name, count in _sorted(counts)]
    return markdown(rows, ["reason", "rows", "words", "next step"])


def preview_users(missing: pl.DataFrame) -> str:
    """The missing users that most rows name, masked."""
    return markdown(missing.head(_ROWS).iter_rows(), missing.columns)


def preview_days(days: pl.DataFrame) -> str:
    return markdown(days.iter_rows(), days.columns)


def plot_days(days: pl.DataFrame) -> str:
    """Rows imported and rejected by day as Markdown with an SVG picture. In: `stores.kintell_recount.DAYS`."""
    if days.is_empty():
        return "no completed job in the last 30 days"
    ordered = days.sort("date")
    highest = max(int((ordered["total_success"] + ordered["total_failures"]).max() or 0), 1)  # pyright: ignore[reportArgumentType]
    step = (_WIDTH - _LEFT) / ordered.height
    bars = [
        _bar(_LEFT + place * step, step, str(row["date"]), row["total_success"], row["total_failures"], highest)
        for place, row in enumerate(ordered.iter_rows(named=True))
    ]
    axis = (
        f'<text x="{_LEFT - 6}" y="24" text-anchor="end">{highest:,}</text><text x="{_LEFT - 6}" y="{_BASE}" text-anchor="end">0'
        f'</text><line x1="{_LEFT}" y1="{_BASE}" x2="{_WIDTH}" y2="{_BASE}" stroke="#888"/>'
    )
    picture = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{_HEIGHT}" font-family="sans-serif" font-size="11">'
        f'<rect width="100%" height="100%" fill="white"/>{axis}{"".join(bars)}</svg>'
    )
    data = base64.b64encode(picture.encode()).decode()
    return f"Rows by day: imported (green) and rejected (red)\n\n![rows by day](data:image/svg+xml;base64,{data})"


def _bar(left: float, step: float, label: str, good: int, bad: int, highest: int) -> str:
    width = min(step * 0.8, 40)
    scale = (_BASE - 20) / highest
    tall, top = good * scale, bad * scale
    title = f"<title>{escape(label)}: {good:,} imported, {bad:,} rejected</title>"
    return (
        f'<g>{title}<rect x="{left:.1f}" y="{_BASE - tall:.1f}" width="{width:.1f}" height="{tall:.1f}" fill="{_GOOD}"/>'
        f'<rect x="{left:.1f}" y="{_BASE - tall - top:.1f}" width="{width:.1f}" height="{top:.1f}" fill="{_BAD}"/>'
        f'<text x="{left + width / 2:.1f}" y="{_BASE + 14}" text-anchor="middle">{escape(label[5:])}</text></g>'
    )


def _sorted(counts: Mapping[str, int]) -> list[tuple[str, int]]:
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))
