"""What happens by itself, once switched on: each morning all sessions are verified, or brought to the structure."""

import dagster as dg

from session_assets.contest.assets import SESSIONS
from session_assets.graph.collection_jobs import standing_request


@dg.schedule(
    job_name="contest_verify",
    cron_schedule="15 6 * * *",
    default_status=dg.DefaultScheduleStatus.STOPPED,
    description="Verify all sessions each morning (UTC).",
)
def contest_daily_verify(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
    return standing_request(SESSIONS)


@dg.schedule(
    job_name="contest_apply",
    cron_schedule="15 5 * * *",
    default_status=dg.DefaultScheduleStatus.STOPPED,
    description="Bring new sessions to the structure each morning (UTC): plans, applies, and accounts for every document.",
)
def contest_daily_repair(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
    return standing_request(SESSIONS)


SCHEDULES = [contest_daily_verify, contest_daily_repair]
