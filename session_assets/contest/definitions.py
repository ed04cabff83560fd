"""What the contest slice gives to the code location and to the terminal."""

import dagster as dg

from session_assets.contest import indexes, performance_assets, recount_checks
from session_assets.contest.assets import ASSETS, SESSIONS
from session_assets.contest.checks import CHECKS
from session_assets.contest.model import DATABASE, SLICE, VARIABLE
from session_assets.contest.schedules import SCHEDULES
from session_assets.graph.automation import repair_sensor
from session_assets.graph.collection_jobs import collection_jobs, collection_target
from session_assets.graph.loop import revert_job
from session_assets.graph.single_sessions import single_sessions_job, single_sessions_loop
from session_assets.graph.slice import Slice
from session_assets.stores.reachable import mongodb

SINGLE = single_sessions_loop(SESSIONS)
TARGETS = (
    collection_target(
        SESSIONS,
        one_session="contest_session",
        knows_users=True,
        checks=(recount_checks.REPORT, indexes.REPORT),
    ),
)
LOOPS = (*(target.loop for target in TARGETS), SINGLE)

LOOP_JOBS = collection_jobs(SESSIONS, verified=["sessions", "problems"])
JOBS = [
    *LOOP_JOBS,
    single_sessions_job(SESSIONS, SINGLE),
    *indexes.JOBS,
    *performance_assets.JOBS,
    revert_job(SLICE, LOOPS),
]

DEFINITIONS = dg.Definitions(
    assets=[*ASSETS, *performance_assets.ASSETS],
    asset_checks=[*CHECKS, *recount_checks.CHECKS, *indexes.CHECKS],
    jobs=JOBS,
    schedules=SCHEDULES,
    sensors=[repair_sensor(SESSIONS, LOOP_JOBS)],
)
RECORD = Slice(name=SLICE, stores=(mongodb(VARIABLE, DATABASE),), targets=TARGETS, loops=LOOPS, definitions=DEFINITIONS)
