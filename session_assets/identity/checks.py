"""Checks of user sessions: they follow from `model.REASONS` and the shares of the collection; and that no session is gone."""

from collections.abc import Iterator
from dataclasses import replace

import dagster as dg

from session_assets.graph.check_report import Rule, check_reports
from session_assets.graph.check_result import reported
from session_assets.graph.collection_checks import collection_checks
from session_assets.graph.environment import Environment
from session_assets.graph.partition_checks import log_partition_results
from session_assets.graph.step import asked_keys, is_whole
from session_assets.identity.assets import USER_SESSIONS, open_identity
from session_assets.identity.conservation import LOST, conservation
from session_assets.identity.model import SESSIONS, SHARDS

REPORT = "checks_conservation"
_CHECK = "sessions_conserved"
_RULES = {
    _CHECK: [
        Rule(
            LOST,
            "a session of the last applied plan exists no longer",
            False,
            "Where the application did not delete it, its before-image is in the ledger: see docs/identity.md.",
        )
    ]
}
_SPEC = dg.AssetCheckSpec(
    _CHECK,
    asset=USER_SESSIONS.key(SESSIONS),
    partitions_def=USER_SESSIONS.partitions,
    description="Every session of the last applied plan exists.",
)


@dg.multi_asset_check(name="identity_conservation", specs=[_SPEC], pool=USER_SESSIONS.pool)
def sessions_conserved(context: dg.AssetCheckExecutionContext) -> Iterator[dg.AssetCheckResult]:
    """Compares the ids of the ledger with those in the container."""
    environment, run_id = Environment.load(), context.op_execution_context.run_id
    identity = open_identity(environment)
    asked = asked_keys(context)
    with environment.storage.scratch() as scratch:
        ledger = USER_SESSIONS.loop.ledger(environment)
        looked_at = SHARDS if is_whole(context) else asked  # a shard that holds nothing any more is the worst of all
        tally = conservation(ledger, identity.source, looked_at, scratch)
        lists = identity.publish_lists("checks", run_id, tally)
    for partition in asked:
        tally.reads.setdefault(partition, 0)
    for partition in set(tally.reads) - {*asked, *tally.reasons}:
        tally.drop(partition)
    (report,) = check_reports(_RULES, tally, lists)
    total = report.total if report.total.figures.read else replace(report.total, rightly="No plan was applied so far.")
    environment.report(run_id, REPORT, reported([total]))
    yield log_partition_results(context, _SPEC.key, report.partition_results(), total.of_partition())


CHECKS = [*collection_checks(USER_SESSIONS), sessions_conserved]
