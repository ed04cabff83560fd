"""What was planted against what `verify` found, before and after the repair: a table, and what is wrong with it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import click
import polars as pl
from rich.console import Console
from rich.table import Table

from session_assets.cli.runner import Result
from session_assets.masking import safe_text

GONE_AFTER = ("repair", "fold")
"""Kinds of defects that a repair leaves none of."""


@dataclass(frozen=True)
class Defect:
    """One kind of defect: how often it was planted, found before and after, and what is wrong with that, if anything."""

    name: str
    kind: str
    planted: int
    before: int
    after: int
    faults: tuple[str, ...]


Found = Mapping[str, list[str]]
"""Reason → ids, one for each document or event."""


def found(verified: Result) -> dict[str, list[str]]:
    """The ids of each reason, from the full lists that the checks name."""
    lists = {reason: path for check in verified.body["checks"] for reason, path in check["full_list"].items()}
    return {
        reason: sorted(pl.concat(pl.read_parquet(file, columns=["id"]) for file in Path(path).iterdir())["id"])
        for reason, path in lists.items()
    }


def compare(planted: Found, kind_of: Callable[[str], str], before: Found, after: Found) -> list[Defect]:
    """Each kind of defect, planted or found: exact ids before; afterwards none where repairable, the same ones else."""
    result: list[Defect] = []
    for name in dict.fromkeys([*planted, *before, *after]):
        kind, ids = kind_of(name), planted.get(name, [])
        left = [] if kind in GONE_AFTER else ids
        times = (("before", ids, before.get(name, [])), ("after", left, after.get(name, [])))
        faults = tuple(text for when, wanted, got in times if (text := _difference(when, wanted, got)))
        counts = len(ids), len(before.get(name, [])), len(after.get(name, []))
        result.append(Defect(name, kind, *counts, faults))
    return result


def _difference(when: str, wanted: list[str], got: list[str]) -> str:
    missed, extra = Counter(wanted) - Counter(got), Counter(got) - Counter(wanted)
    parts = [
        f"{sum(some.values()):,} {what} (such as {safe_text(min(some))})"
        for what, some in (("missed", missed), ("not expected", extra))
        if some
    ]
    return f"{when} the repair {' and '.join(parts)}" if parts else ""


def show(defects: list[Defect], legend: str) -> list[str]:
    """Print the table; returns what is wrong."""
    table = Table("defect", "planted", "found\nbefore", "found\nafter", "kind", "")
    for column in table.columns[1:4]:
        column.justify = "right"
    for one in defects:
        figures = (f"{one.planted:,}", f"{one.before:,}", f"{one.after:,}")
        style, mark = ("red", "wrong") if one.faults else ("green", "exact")
        table.add_row(one.name, *figures, one.kind, mark, style=style)
    Console().print(table)
    click.echo(legend)
    return [f"{defect.name}: {fault}" for defect in defects for fault in defect.faults]
