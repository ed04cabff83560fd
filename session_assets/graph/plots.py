"""Plots for people, as pictures inside Markdown metadata: SVG on a card of its own, so that they read the same in any theme."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from session_assets.graph.markdown import Markdown, image
from session_assets.masking import shown

WIDTH = 720
GOOD, BAD = "#2e7d5b", "#c0392b"
LINES = ("#2563a8", "#2e7d5b", "#b45309", "#8e3b8e", "#5f6b7a")
"""Colours that keep apart on white, also for people who do not tell red from green."""
_INK, _FAINT, _CARD = "#1f2328", "#c9ced6", "#ffffff"
_LETTER = 7.0  # px a letter takes; wide fonts need as much


@dataclass(frozen=True)
class Bar:
    """A bar of a share: its name, percent, and what it is a share of, in words."""

    label: str
    percent: float
    words: str


def picture(title: str, width: int, height: int, parts: Sequence[str]) -> Markdown:
    """Markdown with the picture; `title` is also read out where pictures are not shown."""
    svg = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}"'
        f' font-family="sans-serif" font-size="12" fill="{_INK}" role="img"><title>{_safe(title)}</title>'
        f'<rect x="0.5" y="0.5" width="{width - 1}" height="{height - 1}" rx="6" fill="{_CARD}" stroke="{_FAINT}"/>'
        f"{''.join(parts)}</svg>"
    )
    return image(title, "image/svg+xml", base64.b64encode(svg.encode()).decode())


def share_bars(title: str, bars: Sequence[Bar]) -> Markdown:
    """Horizontal bars on a scale of 0 to 100 percent, each with its name, percent and words."""
    left, right, top, row = 230, WIDTH - 190, 44, 22
    height = top + row * len(bars) + 30
    scale = (right - left) / 100
    grid = [
        f'<line x1="{left + at * scale:.1f}" y1="{top - 4}" x2="{left + at * scale:.1f}" y2="{height - 26}"'
        f' stroke="{_FAINT}"/>{_text(left + at * scale, height - 10, f"{at} %", "middle")}'
        for at in (0, 25, 50, 75, 100)
    ]
    rows = [
        _text(left - 8, top + place * row + 14, _cut(bar.label, left - 20), "end")
        + f'<rect x="{left}" y="{top + place * row + 3}" width="{max(bar.percent * scale, 1):.1f}" height="{row - 8}"'
        f' fill="{LINES[0]}"><title>{_safe(bar.label)}: {_safe(bar.words)}</title></rect>'
        + _text(
            right + 8, top + place * row + 14, _cut(f"{bar.percent:.2f} %   {bar.words}", WIDTH - right - 12), "start"
        )
        for place, bar in enumerate(bars)
    ]
    return picture(title, WIDTH, height, [_heading(title), *grid, *rows])


def share_lines(title: str, points: Sequence[str], lines: Sequence[tuple[str, Sequence[float | None]]]) -> Markdown:
    """Lines on a scale of 0 to 100 percent over some points in time; a gap where nothing was counted."""
    return _lines(title, points, lines, [(at, f"{at} %") for at in (0, 25, 50, 75, 100)])


def count_lines(title: str, points: Sequence[str], lines: Sequence[tuple[str, Sequence[float | None]]]) -> Markdown:
    """Lines on a scale of 0 to the highest count over some points in time; a gap where nothing was counted."""
    highest = max((value for _, values in lines for value in values if value is not None), default=0)
    step = max(-(-int(highest) // 4), 1)
    return _lines(title, points, lines, [(at * step, f"{at * step:,}") for at in range(5)])


def _lines(
    title: str,
    points: Sequence[str],
    lines: Sequence[tuple[str, Sequence[float | None]]],
    ticks: Sequence[tuple[int, str]],
) -> Markdown:
    left, right, top, base, height = 52, WIDTH - 190, 44, 220, 256
    step, highest = (right - left) / max(len(points) - 1, 1), ticks[-1][0]
    every = -(-len(points) // 8)

    def high(value: float) -> float:
        return base - (base - top) * value / highest

    grid = [
        f'<line x1="{left}" y1="{high(at):.1f}" x2="{right}" y2="{high(at):.1f}"'
        f' stroke="{_FAINT}"/>{_text(left - 8, high(at) + 4, words, "end")}'
        for at, words in ticks
    ]
    labels = [
        _text(left + place * step, base + 22, point, "middle")
        for place, point in enumerate(points)
        if place % every == 0
    ]
    drawn = []
    for number, (name, values) in enumerate(lines):
        colour = LINES[number % len(LINES)]
        spots = [(left + place * step, high(value)) for place, value in enumerate(values) if value is not None]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in spots)
        drawn.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        drawn += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>' for x, y in spots]
        drawn.append(
            f'<rect x="{right + 16}" y="{top + number * 20 - 4}" width="12" height="12" fill="{colour}"/>'
            + _text(right + 34, top + number * 20 + 6, _cut(name, WIDTH - right - 40), "start")
        )
    return picture(title, WIDTH, height, [_heading(title), *grid, *labels, *drawn])


def stacked_bars(title: str, bars: Sequence[tuple[str, int, int]], words: tuple[str, str]) -> Markdown:
    """Upright bars of two counts each, the first below (green), the second above (red). `words` name the counts."""
    left, base, height = 60, 190, 230
    highest = max((good + bad for _, good, bad in bars), default=0) or 1
    step, scale = (WIDTH - left - 12) / max(len(bars), 1), (base - 46) / highest
    longest = max((len(label) for label, _, _ in bars), default=0) * _LETTER + 12
    every = max(int(longest // step) + 1, 1)
    axis = (
        _text(left - 6, 50, f"{highest:,}", "end")
        + _text(left - 6, base, "0", "end")
        + f'<line x1="{left}" y1="{base}" x2="{WIDTH - 12}" y2="{base}" stroke="{_FAINT}"/>'
    )
    drawn = []
    for place, (label, good, bad) in enumerate(bars):
        x, width, tall, above = left + place * step, min(step * 0.8, 40), good * scale, bad * scale
        told = _safe(f"{label}: {good:,} {words[0]}, {bad:,} {words[1]}")
        drawn.append(
            f"<g><title>{told}</title>"
            f'<rect x="{x:.1f}" y="{base - tall:.1f}" width="{width:.1f}" height="{tall:.1f}" fill="{GOOD}"/>'
            f'<rect x="{x:.1f}" y="{base - tall - above:.1f}" width="{width:.1f}" height="{above:.1f}" fill="{BAD}"/>'
            + (_text(x + width / 2, base + 18, label, "middle") if place % every == 0 else "")
            + "</g>"
        )
    return picture(title, WIDTH, height, [_heading(title), axis, *drawn])


def _heading(title: str) -> str:
    return f'<text x="16" y="24" font-size="14" font-weight="600">{_safe(title)}</text>'


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{_safe(text)}</text>'


def _cut(text: str, width: float) -> str:
    """As much of a text as there is room for."""
    return shown(text, int(width / _LETTER))


def _safe(text: str) -> str:
    """A text of any origin within the picture."""
    return escape(shown(text))
