"""The two sensors that tell people: of checks, and of runs. What was told stands in their cursors (see `desk`)."""

from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg

from session_assets.alerts.channels import send
from session_assets.alerts.desk import Desk
from session_assets.alerts.news import is_alarming, key_of_run, of_check, of_run
from session_assets.alerts.overdue import tell_overdue
from session_assets.alerts.settings import SMTP, WEBHOOK, AlertSettings
from session_assets.errors import UsageError
from session_assets.graph.check_states import CheckState, check_states, fingerprint, keys_of
from session_assets.graph.verified import last_verify, of_these_stores, of_today, recounts_of_slices, verified_within
from session_assets.masking import safe_lines, safe_text

_FIRST_LOOK = timedelta(days=1)
_OVERLAP = timedelta(minutes=1)  # runs whose end is written a little later than its time says
_RUNS = 1000  # of a tick
_SEEN = 3000  # run ids that are remembered


def _settings() -> AlertSettings | dg.SkipReason:
    try:
        settings = AlertSettings.from_env()
    except UsageError as error:
        return dg.SkipReason(safe_lines(error))
    if not settings.channels:
        return dg.SkipReason(f"nobody is told: neither {WEBHOOK} nor {SMTP} is set")
    return settings


def _delivered(context: dg.SensorEvaluationContext, desk: Desk, settings: AlertSettings) -> dg.SensorResult:
    sent, wrong = desk.deliver(lambda channel, one: send(channel, settings, one), settings.channels)
    for text in wrong:
        context.log.warning(text)
    told = f"{sent} messages were sent" if sent else "nothing new"
    return dg.SensorResult(skip_reason=dg.SkipReason("; ".join([told, *wrong])), cursor=desk.dump())


@dg.sensor(
    minimum_interval_seconds=30,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Tells of checks that fail and of collections that nobody verifies, once, and of recovery: docs/alerts.md.",
)
def failed_checks_alert(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
    """A check whose run is under way, or about which nothing is known, is as it was."""
    settings = _settings()
    if isinstance(settings, dg.SkipReason):
        return settings
    try:
        allowed = verified_within()
    except UsageError as error:
        return dg.SkipReason(safe_lines(error))
    desk = Desk.load(context.cursor)
    assert context.repository_def is not None
    graph: Any = context.repository_def.asset_graph
    keys = keys_of(graph.get_all_asset_keys(), graph)
    recounts = recounts_of_slices(context.repository_def)
    now = f"{fingerprint(context.instance, keys)} {of_today()} {settings.severity} {' '.join(recounts)}"
    if desk.more.get("seen") != now:
        states = of_these_stores(check_states(context.instance, keys))
        verified = {name: last_verify(states, checks) for name, checks in recounts.items()}
        _tell_checks(desk, settings, states)
        desk.more["seen"] = None if any(one.under_way for one in states) else now
        desk.more["verified"] = {name: last.isoformat() if last else None for name, last in verified.items()}
    last = {name: datetime.fromisoformat(text) if text else None for name, text in desk.more["verified"].items()}
    tell_overdue(desk, settings, last, allowed, datetime.now(UTC))
    return _delivered(context, desk, settings)


def _tell_checks(desk: Desk, settings: AlertSettings, states: list[CheckState]) -> None:
    for state in states:
        if is_alarming(state, settings):
            desk.failing(of_check(state, settings, recovered=False), settings.channels)
        elif state.passed is not None:
            since = desk.open.get(of_check(state, settings, recovered=True).key)
            desk.recovered(of_check(state, settings, recovered=True, since=since), settings.channels)


@dg.sensor(
    minimum_interval_seconds=30,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Tells of runs that fail, once until the same work goes through, and of that: see docs/alerts.md.",
)
def failed_runs_alert(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
    """Runs that ended since the last tick, in the order of their ends."""
    settings = _settings()
    if isinstance(settings, dg.SkipReason):
        return settings
    desk = Desk.load(context.cursor)
    now = datetime.now(UTC)
    since = datetime.fromisoformat(desk.more.get("since", (now - _FIRST_LOOK).isoformat()))
    seen: list[str] = desk.more.get("seen", [])
    ended = dg.RunsFilter(
        statuses=[dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE], updated_after=since - _OVERLAP
    )
    records = context.instance.get_run_records(ended, limit=_RUNS, order_by="update_timestamp", ascending=True)
    for record in sorted(records, key=lambda one: one.end_time or 0.0):
        run = record.dagster_run
        since = max(since, record.update_timestamp.astimezone(UTC))
        if run.run_id in seen:
            continue
        seen.append(run.run_id)
        key = safe_text(key_of_run(run))
        if run.is_success and key not in desk.open:
            continue
        at = datetime.fromtimestamp(record.end_time or now.timestamp(), UTC)
        news = of_run(context.instance, run, at, settings, desk.open.get(key))
        if news is not None:
            (desk.recovered if run.is_success else desk.failing)(news, settings.channels)
    desk.more = {"since": since.isoformat(), "seen": seen[-_SEEN:]}
    return _delivered(context, desk, settings)


SENSORS = [failed_checks_alert, failed_runs_alert]
