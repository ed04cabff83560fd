"""The purge as a job, and a schedule that a person may switch on."""

from datetime import UTC, datetime, timedelta

import dagster as dg
from pydantic import Field

from session_assets.graph.environment import Environment
from session_assets.housekeeping.ledgers import purge_ledgers, weekly_ledger_purge
from session_assets.housekeeping.purge import purge

_LEAST_DAYS, _DAYS, _MOST_DAYS = 7, 90, 36_500


class PurgeConfig(dg.Config):
    """How much is kept. Start with `dry_run`."""

    keep_days: int = Field(default=_DAYS, ge=_LEAST_DAYS, le=_MOST_DAYS)
    dry_run: bool = True


@dg.op
def purge_old_runs(context: dg.OpExecutionContext, config: PurgeConfig) -> None:
    """Removes reports, lists and log lines of runs that ended long ago."""
    before = datetime.now(UTC) - timedelta(days=config.keep_days)
    gone = purge(Environment.load().storage, before, dry_run=config.dry_run)
    verb = "would be removed" if config.dry_run else "were removed"
    context.log.info(
        f"of runs that ended before {before:%Y-%m-%d}: {gone.log_lines:,} log lines, {gone.reports:,} reports and {gone.lists:,}"
        f" lists of findings {verb}; ledgers are a matter of purge_ledgers"
    )
    context.add_output_metadata({"log_lines": gone.log_lines, "reports": gone.reports, "lists": gone.lists})


@dg.job(
    executor_def=dg.in_process_executor,
    description="Remove reports, lists and log lines of old runs. Ledgers and materializations stay. Start with dry_run.",
)
def purge_old() -> None:
    purge_old_runs()


@dg.schedule(
    job=purge_old,
    cron_schedule="0 3 * * 0",
    default_status=dg.DefaultScheduleStatus.STOPPED,
    description="Purge each Sunday (UTC) what runs left behind more than 90 days ago.",
)
def weekly_purge(context: dg.ScheduleEvaluationContext) -> dg.RunRequest:
    return dg.RunRequest(run_config={"ops": {"purge_old_runs": {"config": {"dry_run": False}}}})


DEFINITIONS = dg.Definitions(jobs=[purge_old, purge_ledgers], schedules=[weekly_purge, weekly_ledger_purge])
