"""The flow migration beside the database, in the demo: stored files are moved, code is searched, metrics are measured."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from session_assets.cli.demo.steps import StepFailed, applied, step
from session_assets.cli.runner import Runner
from session_assets.embedded.flow_app_sample import plant_app
from session_assets.masking import safe_lines


def run(runner: Runner) -> list[str]:
    """Plant, and look at it with each part; returns what is wrong."""
    with step("stored files, code, figures", "plant"):
        planted = plant_app(Path(os.environ["FLOW_VALIDATION_ROOT"]).parent)
    plan, outcomes = applied(runner, runner.target("flow/files"))
    reasons, done = plan["reasons"], outcomes["applied"]
    code = _checks(runner, "code references", "flow_code", "checks_code")["no_active_references"]
    metrics = _checks(runner, "metrics", "flow_metrics", "checks_metrics")
    failing = [name for name, one in metrics.items() if not one["passed"]]
    rows = [
        ("files to move", planted.moved, reasons.get("to_move", 0)),
        ("truncated files", planted.quarantined, reasons.get("truncated", 0)),
        ("files applied", planted.moved + planted.quarantined, done),
        ("code", planted.references, code["description"].partition(". ")[0]),
        ("metrics out of bounds", ", ".join(planted.out_of_bounds), ", ".join(failing)),
    ]
    table = Table("beside the database", "planted", "found", "")
    faults = []
    for what, wanted, found in rows:
        is_right = wanted == found
        style, mark = ("green", "exact") if is_right else ("red", "wrong")
        table.add_row(what, str(wanted), str(found), mark, style=style)
        faults += [] if is_right else [f"{what}: planted {wanted}, found {found}"]
    Console().print(table)
    return faults


def _checks(runner: Runner, what: str, job: str, report: str) -> dict[str, dict[str, Any]]:
    with step(what, "run"):
        run_id, error, code = runner.execute(job, {}, {})
        found = runner.environment.reported(run_id, report)
        if found is None:  # a check that fails as ERROR, as it does here, fails the run
            raise StepFailed(f"{what}: {safe_lines(error or 'nothing was reported')}", code or 1)
    return {one["name"]: one for one in found["checks"]}
