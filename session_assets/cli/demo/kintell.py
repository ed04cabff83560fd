"""Kintell imports in the demo: a file with known violations, dry run → import → repaired rejects → verify."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from session_assets.cli import files
from session_assets.cli.demo.steps import StepFailed, step, worked
from session_assets.cli.runner import Result, Runner
from session_assets.drops.error_file import ERROR_ROW
from session_assets.embedded.kintell_sample import PlantedFile, new_database, plant_file
from session_assets.embedded.state import write_private
from session_assets.kintell.model import COLUMNS, SLICE, VARIABLE
from session_assets.masking import safe_lines

DATABASE = "kintell_demo"
LOOK = (
    ("/assets/kintell/session_health", "sessions by date, imports by day, rejected rows by reason, as plots"),
    ("/asset-groups/kintell", "a dropped file → sessions, rejects, missing users, events, the summary by day"),
    ("/assets/kintell/rejected_rows", "why rows were rejected, and the error file to correct"),
)

__all__ = ["DATABASE", "LOOK", "SLICE", "VARIABLE", "run"]


def run(runner: Runner) -> tuple[list[str], list[str]]:
    """Drop a file, import it, repair what was rejected, and show the table; returns what is wrong, and the jobs."""
    target = next(one for one in runner.file_targets() if one.name == SLICE)
    drops = runner.environment.settings.drops / target.folder
    with step("sample file", "plant") as note:
        new_database(os.environ[VARIABLE])
        planted = plant_file(drops / "sessions.csv")
        note(f"{planted.rows:,} rows, {planted.rejected:,} of them spoiled, {planted.repeated:,} repeated")
    with step("plan kintell", "run") as note:
        plan = worked("plan kintell", files.work(runner, target, "plan", (), {}))
        note(
            f"{plan.body['read']:,} rows read, {plan.body['classes']['rejected']:,} would be rejected; nothing is written"
        )
    with step("apply kintell", "run") as note:
        first = _only(worked("apply kintell", files.work(runner, target, "apply", (), {})))
        note(_said(first))
    with step("import of the repaired rejects", "run") as note:
        fixed = _repair(Path(first["error_file"]), planted, drops.parent / "fixed.csv")
        second, error, code = files.import_file(runner, target, fixed, create_users=True)
        if error:
            raise StepFailed(f"import of the repaired rejects: {safe_lines(error)}", code)
        note(_said(second))
    with step("verify kintell", "run"):
        verified = worked("verify kintell", files.work(runner, target, "verify", (), {}))
    found = _rows(planted, plan.body["reasons"], first["reasons"], second["reasons"])
    _show(found)
    faults = [
        f"{name}: planted {wanted}, {', '.join(map(str, got))}"
        for name, wanted, *got in found
        if not _right(wanted, got)
    ]
    return [*faults, *_account(planted, first, second, verified)], [first["job_id"], second["job_id"]]


def _repair(errors: Path, planted: PlantedFile, target: Path) -> Path:
    """The error file with every value as it should have been."""
    with errors.open(encoding="utf-8", newline="") as file:
        rows = [planted.repaired[int(row[ERROR_ROW])] for row in csv.DictReader(file)]
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, [*COLUMNS], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_private(target, text.getvalue())
    return target


Found = list[tuple[str, int, int, int, int]]
"""By reason: planted, found by the dry run, rejected by the import, rejected again after the repair."""


def _rows(planted: PlantedFile, dry: Mapping[str, int], first: Mapping[str, int], second: Mapping[str, int]) -> Found:
    names = dict.fromkeys([*planted.reasons, *dry, *first, *second])
    return [(name, planted.reasons[name], dry.get(name, 0), first.get(name, 0), second.get(name, 0)) for name in names]


def _right(wanted: int, got: list[int]) -> bool:
    return got == [wanted, wanted, 0]


def _account(planted: PlantedFile, first: dict[str, Any], second: dict[str, Any], verified: Result) -> list[str]:
    """What is wrong with the totals."""
    figures = {
        "rows of the file": (planted.rows, first["rows"]),
        "sessions inserted": (planted.accepted, first["inserted"]),
        "repeated rows skipped": (planted.repeated, first["skipped"]),
        "sessions inserted after the repair": (planted.rejected, second["inserted"]),
        "checks that fail as ERROR": (
            0,
            sum(not one["passed"] and one["severity"] == "ERROR" for one in verified.body["checks"]),
        ),
        "events that wait": (0, sum(one["events"] - one["published"] for one in (first, second))),
    }
    return [f"{what}: {got:,}, planted {wanted:,}" for what, (wanted, got) in figures.items() if wanted != got]


def _only(applied: Result) -> dict[str, Any]:
    (report,) = applied.body["files"]
    return report


def _said(report: dict[str, Any]) -> str:
    counts = ", ".join(f"{report[name]:,} {name}" for name in ("inserted", "skipped", "rejected"))
    return f"job {report['job_id']}: {counts}"


def _show(found: Found) -> None:
    table = Table("reason", "planted", "dry run", "rejected", "after repair", "")
    for column in table.columns[1:5]:
        column.justify = "right"
    for name, wanted, *got in found:
        style, mark = ("green", "exact") if _right(wanted, got) else ("red", "wrong")
        table.add_row(name, f"{wanted:,}", *(f"{one:,}" for one in got), mark, style=style)
    Console().print(table)
    click.echo("after repair: the error file corrected and imported, missing users created")
