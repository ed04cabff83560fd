"""What happens by itself: all sessions are verified each day; once switched on, they are moved to GUIDs, and summarized."""

import dagster as dg

from session_assets.graph.automation import verify_schedule
from session_assets.graph.collection_jobs import standing_request
from session_assets.identity.assets import USER_SESSIONS


@dg.schedule(
    job_name="identity_apply",
    cron_schedule="45 4 * * *",
    default_status=dg.DefaultScheduleStatus.STOPPED,
    description="Bring sessions to canonical GUIDs each morning (UTC): plans, applies, and accounts for every document.",
)
def identity_daily_repair(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
    return standing_request(USER_SESSIONS)


@dg.schedule(
    job_name="identity_summaries",
    cron_schedule="30 5 * * *",
    default_status=dg.DefaultScheduleStatus.STOPPED,
    description="Summarize the sessions of each user each morning (UTC).",
)
def identity_daily_summaries(context: dg.ScheduleEvaluationContext) -> dg.RunRequest:
    return dg.RunRequest()


SCHEDULES = [verify_schedule(USER_SESSIONS, "0 6 * * *"), identity_daily_repair, identity_daily_summaries]
