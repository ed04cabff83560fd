"""What the web slice gives to the code location and to the terminal."""

from collections.abc import Sequence

import dagster as dg

from session_assets.graph.environment import Environment
from session_assets.graph.loop import revert_job
from session_assets.graph.target import Target
from session_assets.web import cleanups, indexes, one_session
from session_assets.web.assets import ASSETS, DAYS, LOOP, key, open_web
from session_assets.web.checks import CHECKS
from session_assets.web.drop_assets import event_drops
from session_assets.web.model import SLICE, VARIABLE
from session_assets.web.sensors import DROP_JOB, SCHEDULES, SENSORS


def _standing(environment: Environment) -> list[str]:
    return open_web(environment).source.standing()["partition"].to_list()


def _order() -> Sequence[str]:
    return DAYS.get_partition_keys()


TARGETS = [
    Target(
        LOOP,
        VARIABLE,
        plan="web_plan",
        apply="web_apply",
        apply_pending="web_apply_pending",
        verify="web_verify",
        one_session="web_session",
        standing=_standing,
        order=_order,
    ),
    *cleanups.TARGETS,
]
LOOPS = [*(target.loop for target in TARGETS), one_session.LOOP]

_ACCOUNTS = dg.AssetSelection.checks(
    dg.AssetCheckKey(key("session_changes"), "documents_accounted"),
    dg.AssetCheckKey(key("sessions"), "outcomes_accounted"),
    dg.AssetCheckKey(key("sessions"), "partitions_finished"),
)
_PLAN = dg.AssetSelection.assets(key("session_facts"), key("session_changes"))
_SESSIONS = dg.AssetSelection.assets(key("sessions")).without_checks()

JOBS = [
    dg.define_asset_job(
        "web_verify",
        selection=dg.AssetSelection.checks_for_assets(key("sessions"), key("events"))
        - dg.AssetSelection.checks(
            dg.AssetCheckKey(key("sessions"), "outcomes_accounted"),
            dg.AssetCheckKey(key("sessions"), "partitions_finished"),
        ),
        description="Recount all sessions from their events (verify_sessions.py).",
    ),
    dg.define_asset_job("web_plan", selection=_PLAN, description="Preview the repair: the dry run."),
    dg.define_asset_job(
        "web_apply",
        selection=_PLAN.without_checks() | _SESSIONS | _ACCOUNTS,
        description="Plan and repair (fix_empty_sessions.py). Verify afterwards recounts.",
    ),
    dg.define_asset_job(
        "web_apply_pending",
        selection=_SESSIONS
        | dg.AssetSelection.checks(
            dg.AssetCheckKey(key("sessions"), "outcomes_accounted"),
            dg.AssetCheckKey(key("sessions"), "partitions_finished"),
        ),
        description="Apply the newest plan.",
    ),
    one_session.web_session,
    indexes.web_indexes,
    DROP_JOB,
    revert_job(SLICE, LOOPS),
    *cleanups.JOBS,
]

DEFINITIONS = dg.Definitions(
    assets=[event_drops, *ASSETS, *cleanups.ASSETS],
    asset_checks=CHECKS,
    jobs=JOBS,
    sensors=SENSORS,
    schedules=SCHEDULES,
)
