"""Checks of events: what no session document claims. Those of sessions follow from `model.REASONS`."""

from collections.abc import Iterator

import dagster as dg

from session_assets.graph.check_report import Rule, check_reports
from session_assets.graph.check_result import reported
from session_assets.graph.collection_checks import collection_checks
from session_assets.graph.environment import Environment
from session_assets.graph.evidence import Evidence
from session_assets.web import model
from session_assets.web.assets import SESSIONS, key, open_web
from session_assets.web.model import Fix

EVENTS = key("events")
EVENT_RULES: dict[str, list[Rule]] = {
    "events_have_session": [
        Rule("orphan_event", "events of a session that has no document", False, model.NEXT_STEP[Fix.LISTED])
    ],
    "events_have_session_id": [
        Rule("null_session_id", "events with neither a session nor an id for one", False, model.NEXT_STEP[Fix.LISTED]),
        Rule(
            model.UNREADABLE_EVENT,
            "events whose session_id is neither a text nor an ObjectId, so that nobody can tell their session",
            False,
            model.NEXT_STEP[Fix.LISTED],
            unreadable=True,
        ),
    ],
}


@dg.multi_asset_check(
    name="web_events_checks",
    specs=[
        dg.AssetCheckSpec(name, asset=EVENTS, description="; ".join(rule.text for rule in rules))
        for name, rules in EVENT_RULES.items()
    ],
    can_subset=True,
    pool="web_mongodb",
)
def events_checks(context: dg.AssetCheckExecutionContext) -> Iterator[dg.AssetCheckResult]:
    """Asks the whole of both collections which events no session document claims."""
    environment = Environment.load()
    web = open_web(environment)
    with environment.storage.scratch() as scratch:
        tally, lists = web.loose_events(scratch, context.op_execution_context.run_id)
    op = context.op_execution_context
    evidence = Evidence(environment, model.SLICE, model.VARIABLE, SESSIONS.loop.known(environment))
    lack = evidence.lack_of(web.holdings(), op.run.tags, types=web.types)
    reports = check_reports(EVENT_RULES, tally, lists, lack, unit="events")
    environment.report(op.run_id, "checks_events", reported(report.total for report in reports))
    yield from (report.total.result(EVENTS) for report in reports)


CHECKS = [*collection_checks(SESSIONS), events_checks]
