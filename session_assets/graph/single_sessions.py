"""Single sessions, or those of single users, as a run with its own plan, so that the facts of a partition stay whole."""

from typing import Literal

import dagster as dg

from session_assets.changes.evidence import Lack
from session_assets.changes.session import raise_for
from session_assets.changes.tally import Tally
from session_assets.errors import UsageError
from session_assets.graph.check_report import check_reports
from session_assets.graph.check_result import reported
from session_assets.graph.collection import Collection
from session_assets.graph.collection_checks import report_verify
from session_assets.graph.environment import Environment
from session_assets.graph.evidence import Evidence
from session_assets.graph.loop import ApplyConfig, Loop, apply_loop
from session_assets.graph.partition_checks import keep_connections
from session_assets.graph.planned import Judged
from session_assets.masking import safe_text
from session_assets.selection import Selection


class ChosenSessions(dg.Config):
    """Which sessions, and how far to go; or which plan of such sessions to apply.

    Names of users are personal, so `users_request` names the stored list of them.
    """

    sessions: list[str] = []  # noqa: RUF012 - a Dagster config is a model
    users_request: str | None = None
    command: Literal["verify", "plan", "apply"] = "plan"
    plan_id: str | None = None
    batch_size: int = 0


def request_users(environment: Environment, slice_: str, usernames: list[str], request: str) -> None:
    """Keep the names of users for a run."""
    environment.storage.write_json(_request(slice_, request), usernames)


def single_name(slice_: str) -> str:
    """The name of the loop of plans of single sessions."""
    return f"{slice_}/session"


def single_sessions_loop(collection: Collection) -> Loop:
    """The loop of plans of single sessions."""
    slice_ = collection.slice_

    def plan_first(environment: Environment, partitions: list[str] | None, run_id: str) -> None:
        raise UsageError(f"name the session: session-assets apply {slice_} --session ID")

    return collection.loop_named(single_name(slice_), plan_first)


def single_sessions_job(collection: Collection, loop: Loop) -> dg.JobDefinition:
    """Verify, plan, or plan and apply single sessions."""
    slice_ = collection.slice_

    @dg.op(name=f"repair_{slice_}_sessions")
    def repair(context: dg.OpExecutionContext, config: ChosenSessions) -> None:
        keep_connections(context.instance)
        environment = Environment.load()
        if config.plan_id is not None:
            _apply(loop, environment, config.plan_id, config.batch_size, context)
            return
        pipeline = collection.open(environment)
        selection = _selection(environment, slice_, config)
        _refuse_unknown(selection, pipeline.unknown(selection))
        evidence = Evidence(environment, slice_, collection.variable, loop.known(environment))

        def lack_of(tally: Tally) -> Lack | None:
            return evidence.lack_of(pipeline.holdings(), context.run.tags, tally.all_figures(), pipeline.types)

        if config.command == "verify":
            tally, lists = pipeline.inspect(selection, context.run_id)
            lack = lack_of(tally)
            report_verify(environment, context.run_id, tally, lack)
            reports = check_reports(collection.rules, tally, lists, lack)
            environment.report(context.run_id, "checks_sessions", reported(report.total for report in reports))
            return
        ledger = loop.ledger(environment)
        judged = Judged(environment, context.run_id, loop.name, lack_of)
        planned = pipeline.plan_now(
            ledger,
            selection,
            collection.rows_of,
            context.run_id,
            locked=lambda partitions: loop.lock(ledger, partitions, f"plan {loop.name}"),
            judge=judged,
        )
        judged.tell(planned)
        if config.command == "apply":
            _apply(loop, environment, planned.plan.plan_id, config.batch_size, context)

    @dg.job(
        name=f"{slice_}_session",
        executor_def=dg.in_process_executor,
        description="Verify or repair single sessions.",
    )
    def job() -> None:
        repair()

    return job


def _apply(loop: Loop, environment: Environment, plan_id: str, batch_size: int, context: dg.OpExecutionContext) -> None:
    options = ApplyConfig(plan_id=plan_id, batch_size=batch_size, force=True)
    report = apply_loop(loop, environment, None, options, context.run_id, context.log)
    raise_for(report.failed, f"apply {loop.name}")


def _selection(environment: Environment, slice_: str, config: ChosenSessions) -> Selection:
    users: list[str] = []
    if config.users_request is not None:
        users = environment.storage.read_json(_request(slice_, config.users_request))
    if not config.sessions and not users:
        raise UsageError("name sessions, or users.")
    return Selection(sessions=tuple(config.sessions), usernames=tuple(users))


def _refuse_unknown(selection: Selection, unknown: list[str]) -> None:
    """Nothing is done where one is mistyped. The message goes to the log of the run: users are counted, not named."""
    if not unknown:
        return
    if selection.sessions:
        raise UsageError(
            f"no session has the id {', '.join(map(safe_text, unknown))}: nothing was done. Look it up in the"
            " collection."
        )
    raise UsageError(
        f"{len(unknown)} of {len(selection.usernames)} users have no session: nothing was done. Look them up in the"
        " collection."
    )


def _request(slice_: str, request: str) -> str:
    return f"{slice_}/requests/{request}.json"
