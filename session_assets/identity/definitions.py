"""What the identity slice gives to the code location and to the terminal."""

import dagster as dg

from session_assets.graph.automation import repair_sensor
from session_assets.graph.collection_jobs import collection_jobs, collection_target
from session_assets.graph.loop import revert_job
from session_assets.graph.single_sessions import single_sessions_job, single_sessions_loop
from session_assets.graph.slice import Slice
from session_assets.identity.assets import ASSETS, STORE, TABLES, USER_SESSIONS
from session_assets.identity.checks import CHECKS, REPORT
from session_assets.identity.model import SLICE
from session_assets.identity.schedules import SCHEDULES
from session_assets.identity.story import story

SINGLE = single_sessions_loop(USER_SESSIONS)
TARGETS = (collection_target(USER_SESSIONS, one_session="identity_session", checks=[REPORT], story=story),)
LOOPS = (*(target.loop for target in TARGETS), SINGLE)

LOOP_JOBS = collection_jobs(USER_SESSIONS)
JOBS = [
    *LOOP_JOBS,
    single_sessions_job(USER_SESSIONS, SINGLE),
    dg.define_asset_job(
        "identity_summaries",
        selection=dg.AssetSelection.assets(*TABLES),
        description="The GUID of each e-mail, and the sessions of each user in the last 30 days.",
    ),
    revert_job(SLICE, LOOPS),
]

DEFINITIONS = dg.Definitions(
    assets=ASSETS,
    asset_checks=CHECKS,
    jobs=JOBS,
    schedules=SCHEDULES,
    sensors=[repair_sensor(USER_SESSIONS, LOOP_JOBS)],
)
RECORD = Slice(name=SLICE, stores=(STORE,), targets=TARGETS, loops=LOOPS, definitions=DEFINITIONS)
