"""What the web slice gives to the code location and to the terminal."""

import dagster as dg

from session_assets.graph.automation import repair_sensor
from session_assets.graph.collection_jobs import collection_jobs, collection_target
from session_assets.graph.loop import revert_job
from session_assets.graph.single_sessions import single_sessions_job, single_sessions_loop
from session_assets.graph.slice import Slice
from session_assets.stores.reachable import mongodb
from session_assets.web import cleanups, indexes
from session_assets.web.assets import ASSETS, SESSIONS
from session_assets.web.checks import CHECKS
from session_assets.web.drop_assets import event_drops
from session_assets.web.model import DATABASE, SLICE, VARIABLE
from session_assets.web.sensors import DROP_JOB, SCHEDULES, SENSORS

SINGLE = single_sessions_loop(SESSIONS)
TARGETS = (
    collection_target(SESSIONS, one_session="web_session", checks=("checks_events",)),
    *cleanups.TARGETS,
)
LOOPS = (*(target.loop for target in TARGETS), SINGLE)

LOOP_JOBS = collection_jobs(SESSIONS, verified=["events"])
JOBS = [
    *LOOP_JOBS,
    single_sessions_job(SESSIONS, SINGLE),
    indexes.web_indexes,
    DROP_JOB,
    revert_job(SLICE, LOOPS),
    *cleanups.JOBS,
]

DEFINITIONS = dg.Definitions(
    assets=[event_drops, *ASSETS, *cleanups.ASSETS],
    asset_checks=CHECKS,
    jobs=JOBS,
    sensors=[*SENSORS, repair_sensor(SESSIONS, LOOP_JOBS)],
    schedules=SCHEDULES,
)
RECORD = Slice(name=SLICE, stores=(mongodb(VARIABLE, DATABASE),), targets=TARGETS, loops=LOOPS, definitions=DEFINITIONS)
