"""What happens by itself: each morning all sessions are verified and, once that is switched on, brought to the structure."""

import dagster as dg

from session_assets.contest.assets import SESSIONS
from session_assets.graph.automation import verify_schedule
from session_assets.graph.collection_jobs import standing_request


@dg.schedule(
    job_name="contest_apply",
    cron_schedule="15 5 * * *",
    default_status=dg.DefaultScheduleStatus.STOPPED,
    description="Bring new sessions to the structure each morning (UTC): plans, applies, and accounts for every document.",
)
def contest_daily_repair(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
    return standing_request(SESSIONS)


SCHEDULES = [verify_schedule(SESSIONS, "15 6 * * *"), contest_daily_repair]
