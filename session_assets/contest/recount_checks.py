"""The check that facts and an aggregation of MongoDB, which share no code, come to the same figures."""

from collections.abc import Iterator

import dagster as dg

from session_assets.contest.assets import MONTHS, SESSIONS, open_contest
from session_assets.contest.model import DATABASE, VARIABLE
from session_assets.contest.recount import REASON
from session_assets.contest.recounting import recount
from session_assets.graph.check_report import Rule, check_reports
from session_assets.graph.check_result import reported
from session_assets.graph.collection import log_progress
from session_assets.graph.environment import Environment
from session_assets.graph.partition_checks import keep_connections, log_partition_results
from session_assets.graph.step import asked_keys, is_whole
from session_assets.stores.mongo import database
from session_assets.stores.mongo_contest_recounts import ContestRecounts

REPORT = "checks_recount"
RULES = {
    "recount_agrees": [
        Rule(
            REASON,
            "MongoDB counts the attempts otherwise than the facts do",
            True,
            "Do not apply plans of these documents: the full list has both figures of each. Report it as a defect.",
        )
    ]
}
_SPEC = dg.AssetCheckSpec(
    "recount_agrees",
    asset=SESSIONS.key("sessions"),
    partitions_def=MONTHS,
    description="Every figure of the facts is the same by an aggregation of MongoDB that shares no code with them.",
)


@dg.multi_asset_check(name="contest_recount", specs=[_SPEC], pool=SESSIONS.pool)
def recount_check(context: dg.AssetCheckExecutionContext) -> Iterator[dg.AssetCheckResult]:
    """Recounts the sessions of the run's partitions twice."""
    keep_connections(context.instance)
    environment, run_id = Environment.load(), context.op_execution_context.run_id
    failed = environment.failures(run_id)
    partitions = [partition for partition in asked_keys(context) if partition not in failed]
    contest = open_contest(environment)
    recounts = ContestRecounts(database(VARIABLE, DATABASE), VARIABLE)
    selection = contest.selection(partitions, whole=is_whole(context))
    tally, lists = recount(contest, recounts, selection, run_id, log_progress(context.log))
    for partition in partitions:
        tally.reads.setdefault(partition, 0)
    [report] = check_reports(RULES, tally, lists)
    environment.report(run_id, REPORT, reported([report.total]))
    yield log_partition_results(context, _SPEC.key, report.partition_results(), report.total.of_partition())


CHECKS = [recount_check]
