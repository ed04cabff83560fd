"""One session alone: the manual section of the seed, as a run with its own plan, so that a day's facts stay whole."""

from typing import Literal

import dagster as dg

from session_assets.errors import UsageError
from session_assets.graph.check_report import check_reports
from session_assets.graph.collection import plan_summary
from session_assets.graph.collection_checks import report_verify
from session_assets.graph.environment import Environment
from session_assets.graph.loop import ApplyConfig, Loop, apply_loop
from session_assets.graph.partition_checks import keep_connections
from session_assets.selection import Selection
from session_assets.stores.locks import collection_lock
from session_assets.web import model
from session_assets.web.assets import LOCK, SESSIONS, open_store, open_web, source
from session_assets.web.repairs import repair_rows

NAME = f"{model.SLICE}/session"


class OneSession(dg.Config):
    """The session ids, and how far to go."""

    sessions: list[str]
    command: Literal["verify", "plan", "apply"] = "plan"
    batch_size: int = 5000


def _plan_first(environment: Environment, partitions: list[str] | None, run_id: str) -> None:
    raise UsageError("name the session: session-assets apply web --session ID")


LOOP = Loop(NAME, LOCK, open_store, _plan_first, source)


@dg.op
def repair_one_session(context: dg.OpExecutionContext, config: OneSession) -> None:
    """Verify, plan, or plan and apply single sessions."""
    keep_connections(context.instance)
    environment = Environment.load()
    web = open_web(environment)
    selection = Selection(sessions=tuple(config.sessions))
    if config.command != "verify":
        ledger = LOOP.ledger(environment)
        planned = web.plan_now(ledger, selection, repair_rows, context.run_id)
        if not planned.tally.reads:
            raise UsageError("no session has this id: look it up in the sessions collection, field session_id")
        with collection_lock(LOCK, planned.tally.partitions, "session-assets --session"):
            environment.report(context.run_id, "plan", plan_summary(NAME, planned))
        if config.command == "apply":
            apply_loop(
                LOOP,
                environment,
                None,
                ApplyConfig(plan_id=planned.plan.plan_id, batch_size=config.batch_size, force=True),
                context.run_id,
                context.log,
            )
    if config.command == "verify":
        tally, lists = web.inspect(selection, context.run_id)
        if not tally.reads:
            raise UsageError("no session has this id: look it up in the sessions collection, field session_id")
        report_verify(environment, context.run_id, tally)
        reports = [report.as_json(report.severity) for report in check_reports(SESSIONS.rules, tally, lists)]
        environment.report(context.run_id, "checks_sessions", {"checks": reports})


@dg.job(name="web_session", executor_def=dg.in_process_executor, description="Verify or repair single sessions.")
def web_session() -> None:
    repair_one_session()
