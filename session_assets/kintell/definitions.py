"""What the kintell slice gives to the code location and to the terminal."""

from pathlib import Path

import dagster as dg

from session_assets.graph.environment import Environment
from session_assets.graph.slice import Slice
from session_assets.graph.target import FileTarget
from session_assets.kintell import results, steps
from session_assets.kintell.assets import ASSETS, FILES_NAME, key, launch_config, open_imports
from session_assets.kintell.checks import CHECKS
from session_assets.kintell.files import FOLDER
from session_assets.kintell.health import HEALTH
from session_assets.kintell.model import SLICE, VARIABLE
from session_assets.kintell.sensors import SCHEDULES, SENSORS
from session_assets.stores.reachable import nats_stream, postgresql

_ALL = dg.AssetSelection.assets(
    *(key(name) for name in ("session_drops", "sessions", "rejected_rows", "missing_users", "session_events"))
)
_SUMMARY = dg.AssetSelection.assets(key("daily_summary"))

JOBS = [
    dg.define_asset_job(
        "kintell_import",
        selection=_ALL | _SUMMARY,
        description="Import a dropped file: sessions, rejected rows, missing users, events, the summary by day, and checks.",
    ),
    dg.define_asset_job(
        "kintell_verify",
        selection=dg.AssetSelection.checks_for_assets(key("sessions"), key("rejected_rows"), key("session_events")),
        description="Recount all imports from the tables.",
    ),
    *steps.JOBS,
]


def _left_to_do(environment: Environment, partition: str) -> bool:
    job = open_imports(environment).job_of(partition)
    return job is None or not job.finished


def _take(environment: Environment, partition: str, path: Path) -> None:
    open_imports(environment).take(partition, path)


TARGETS = (
    FileTarget(
        SLICE,
        VARIABLE,
        folder=FOLDER,
        partitions=FILES_NAME,
        import_file="kintell_import",
        dry_run="kintell_dry_run",
        verify="kintell_verify",
        revert="kintell_revert",
        publish="kintell_publish",
        take=_take,
        launch=launch_config,
        left_to_do=_left_to_do,
        checks=("checks_sessions", "checks_rejects", "checks_events"),
    ),
)

DEFINITIONS = dg.Definitions(
    assets=[*ASSETS, *results.ASSETS, HEALTH], asset_checks=CHECKS, jobs=JOBS, sensors=SENSORS, schedules=SCHEDULES
)
RECORD = Slice(
    name=SLICE,
    stores=(postgresql(VARIABLE), nats_stream("imports work, and their events wait in the outbox")),
    targets=TARGETS,
    loops=(),
    definitions=DEFINITIONS,
)
