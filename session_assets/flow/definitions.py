"""What the flow slice gives to the code location and to the terminal."""

import dagster as dg

from session_assets.flow import code_assets, code_model, metrics_assets, steps, stored_assets, twin_assets
from session_assets.flow.assets import ASSETS, key
from session_assets.flow.checks import CHECKS, STEPS
from session_assets.flow.health import HEALTH
from session_assets.flow.model import SLICE, VARIABLE
from session_assets.flow.twin_record import STEP
from session_assets.graph.automation import daily, daily_verify
from session_assets.graph.slice import Slice
from session_assets.graph.target import StepTarget
from session_assets.stores.reachable import folder, postgresql

_BESIDE = (code_assets, stored_assets, metrics_assets)
"""Parts that are not of the database."""
_CHECKED = dg.AssetSelection.checks_for_assets(
    *(key(name) for name in ("session_flow_map", "backfilled_tables", "schema"))
)


def _with_checks(name: str) -> dg.AssetSelection:
    return dg.AssetSelection.assets(key(name)) - dg.AssetSelection.all_asset_checks() | _CHECKED


JOBS = [
    dg.define_asset_job(
        "flow_plan",
        selection=dg.AssetSelection.assets(
            *(key(name) for name in ("session_inventory", "twin", "session_flow_map", "changes"))
        )
        - dg.AssetSelection.all_asset_checks()
        | dg.AssetSelection.checks_for_assets(key("twin")),
        description="The dry run: inventory, the road tried on a twin, map of sessions to flows, every change. Writes nothing to"
        " the database.",
    ),
    dg.define_asset_job(
        "flow_apply",
        selection=_with_checks("backfilled_tables"),
        description="Expand and backfill beside live traffic, then count again. Goes on where a killed run stopped.",
    ),
    dg.define_asset_job("flow_verify", selection=_CHECKED, description="Recount the migration from the tables."),
    dg.define_asset_job(
        "flow_rehearsal",
        selection=dg.AssetSelection.assets(key("backup_rehearsal")),
        description="Back the database up, restore the backup into a scratch database, and compare.",
    ),
    dg.define_asset_job(
        "flow_contract",
        selection=_with_checks("schema"),
        description="Drop the old columns, where all gates are open and `contract: true` is given. Their values are archived.",
    ),
    *steps.JOBS,
    *(job for part in _BESIDE for job in part.JOBS),
]
_MAIN = StepTarget(
    SLICE, VARIABLE, plan="flow_plan", apply="flow_apply", verify="flow_verify", revert="flow_revert",
    checks=(STEP, *STEPS), apply_op="flow__backfilled_tables", options=("waive_twin",),
)  # fmt: skip
TARGETS = (
    _MAIN,
    StepTarget(f"{SLICE}/rehearsal", VARIABLE, apply="flow_rehearsal", checks=(STEP,)),
    StepTarget(
        f"{SLICE}/contract",
        VARIABLE,
        plan="flow_gates",
        apply="flow_contract",
        checks=STEPS,
        plan_op="look_at_gates",
        apply_op="flow__schema",
        apply_config={"contract": True},
        options=("waive_staging", "waive_twin", "deployed"),
    ),
    *(target for part in _BESIDE for target in part.TARGETS),
)
SCHEDULES = [
    daily_verify(SLICE, VARIABLE, "45 6 * * *", "tables of the migration"),
    daily_verify("flow_files", stored_assets.VARIABLE, "50 6 * * *", "stored validation files"),
    daily(
        "flow_daily_metrics",
        "flow_metrics",
        VARIABLE,
        "55 6 * * *",
        "Measure the migration against its thresholds each morning (UTC): reads only.",
    ),
]

DEFINITIONS = dg.Definitions(
    assets=[*ASSETS, twin_assets.twin, HEALTH, *(asset for part in _BESIDE for asset in part.ASSETS)],
    asset_checks=[*CHECKS, *(check for part in _BESIDE for check in part.CHECKS)],
    jobs=JOBS,
    schedules=SCHEDULES,
)
RECORD = Slice(
    name=SLICE,
    stores=(
        postgresql(VARIABLE),
        folder(stored_assets.VARIABLE, "stored validation files are not looked at"),
        folder(code_model.VARIABLE, "references in the code are not looked at"),
    ),
    targets=TARGETS,
    loops=tuple(stored_assets.LOOPS),
    definitions=DEFINITIONS,
)
