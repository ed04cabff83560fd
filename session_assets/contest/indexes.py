"""Indexes that the analytics need: a check that they exist, and the explicit step that creates them."""

from collections.abc import Iterator

import dagster as dg

from session_assets.changes.evidence import Figures
from session_assets.contest.assets import SESSIONS, key
from session_assets.contest.model import DATABASE, VARIABLE
from session_assets.graph.check_result import WARN, CheckResult, reported
from session_assets.graph.environment import Environment
from session_assets.graph.partition_checks import keep_connections
from session_assets.stores.mongo import database
from session_assets.stores.mongo_contest_indexes import NEEDED, create_contest_indexes, missing_contest_indexes

REPORT = "checks_indexes"
NEXT_STEP = (
    "Without them look-ups read whole collections. `session-assets index contest` (or the job contest_indexes) creates"
    " them."
)
_SPEC = dg.AssetCheckSpec(
    "indexes_exist",
    asset=key("problems"),
    description="The indexes exist that look-ups of problems, users, single sessions and months need.",
)


@dg.multi_asset_check(name="contest_indexes_exist", specs=[_SPEC], pool=SESSIONS.pool)
def indexes_check(context: dg.AssetCheckExecutionContext) -> Iterator[dg.AssetCheckResult]:
    """Looks which indexes are missing."""
    missing = missing_contest_indexes(database(VARIABLE, DATABASE), VARIABLE)
    text = f"{len(missing)} of {len(NEEDED)} indexes are missing: {', '.join(missing)}"
    result = CheckResult(
        _SPEC.name,
        Figures(judged=len(NEEDED)),
        len(missing),
        text if missing else f"all {len(NEEDED)} indexes are there",
        WARN,
        NEXT_STEP,
        missing,
    )
    Environment.load().report(context.op_execution_context.run_id, REPORT, reported([result]))
    yield result.result(_SPEC.key.asset_key)


@dg.op
def create_indexes_of_contest(context: dg.OpExecutionContext) -> None:
    """Create the indexes that are needed."""
    keep_connections(context.instance)
    names = create_contest_indexes(database(VARIABLE, DATABASE), VARIABLE)
    Environment.load().report(context.run_id, "index", {"indexes": names})
    context.log.info(f"indexes: {', '.join(names)}")


@dg.job(
    name="contest_indexes",
    executor_def=dg.in_process_executor,
    description="Create the indexes that look-ups of problems, users, single sessions and months need.",
)
def contest_indexes() -> None:
    create_indexes_of_contest()


CHECKS = [indexes_check]
JOBS = [contest_indexes]
