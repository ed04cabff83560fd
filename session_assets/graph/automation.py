"""What a collection does by itself: it is verified each day, and repaired where somebody allowed it.

A repair plans and applies what rules can repair in single documents, as `apply` of the slice does, within
SESSION_ASSETS_MAX_CHANGE_SHARE. Folds of duplicates and deletes of orphans have plans of their own, which only a person starts.
"""

import json
import os
import time
from collections.abc import Callable, Iterable
from datetime import timedelta
from typing import Any, Literal

import dagster as dg

from session_assets.errors import SessionAssetsError, UsageError
from session_assets.graph.check_states import LONGEST, CheckState, check_states, keys_of
from session_assets.graph.collection import Collection
from session_assets.graph.collection_jobs import standing_request
from session_assets.graph.verified import of_these_stores
from session_assets.masking import safe_lines

REPAIR_TAG = "session_assets/repair"
"""Of runs that the repair asked for; the value says what set it off."""
DAILY = dg.FreshnessPolicy.time_window(fail_window=timedelta(hours=50), warn_window=timedelta(hours=26))
"""Of tables that a schedule makes each day."""
Mode = Literal["manual", "automatic"]


def repair_variable(slice_: str) -> str:
    return f"SESSION_ASSETS_REPAIR_{slice_.upper()}"


def repair_mode(slice_: str) -> Mode:
    """`manual` where nothing is said. Raises `UsageError` for anything but the two words."""
    text = (os.environ.get(repair_variable(slice_)) or "manual").lower()
    if text not in ("manual", "automatic"):
        raise UsageError(f"{repair_variable(slice_)} must be manual or automatic. Correct it and try again.")
    return text


def verify_schedule(collection: Collection, cron: str) -> dg.ScheduleDefinition:
    """The daily recount of all documents."""
    return daily_verify(collection.slice_, collection.variable, cron, "sessions", lambda: standing_request(collection))


def daily_verify(
    name: str,
    variable: str,
    cron: str,
    what: str,
    request: Callable[[], dg.RunRequest | dg.SkipReason] = dg.RunRequest,
) -> dg.ScheduleDefinition:
    """The daily run of the job `NAME_verify`."""
    text = f"Verify all {what} each morning (UTC): reads only."
    return daily(f"{name}_daily_verify", f"{name}_verify", variable, cron, text, request)


def daily(
    name: str,
    job: str,
    variable: str,
    cron: str,
    text: str,
    request: Callable[[], dg.RunRequest | dg.SkipReason] = dg.RunRequest,
) -> dg.ScheduleDefinition:
    """The daily run of a job, on by default; skipped where its store is not configured."""

    @dg.schedule(
        name=name,
        job_name=job,
        cron_schedule=cron,
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description=text,
    )
    def scheduled(_: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        return request() if os.environ.get(variable) else dg.SkipReason(f"{variable} is not set")

    return scheduled


def repair_sensor(collection: Collection, jobs: Iterable[Any]) -> dg.SensorDefinition:
    """Repairs after a verify that failed, and verifies that; once for each verify, so that it never runs in circles."""
    slice_ = collection.slice_

    @dg.sensor(
        name=f"{slice_}_repair_sensor",
        jobs=[job for job in jobs if job.name in (f"{slice_}_apply", f"{slice_}_verify")],
        minimum_interval_seconds=30,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=f"With {repair_variable(slice_)}=automatic: a failing check that rules can repair → plan → apply → verify.",
    )
    def repair(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
        try:
            if not os.environ.get(collection.variable) or repair_mode(slice_) == "manual":
                return dg.SkipReason(f"{repair_variable(slice_)} is not automatic, or {collection.variable} is not set")
            return _Repair(context, collection).tick()
        except SessionAssetsError as error:
            return dg.SkipReason(safe_lines(error))

    return repair


class _Repair:
    """One tick. The cursor holds the verify that was answered last, and the apply that is to be verified."""

    def __init__(self, context: dg.SensorEvaluationContext, collection: Collection) -> None:
        self._context, self._collection = context, collection
        self._kept: dict[str, Any] = json.loads(context.cursor) if context.cursor else {}

    def tick(self) -> dg.SensorResult | dg.SkipReason:
        if "apply" in self._kept:
            return self._after_apply(self._kept["apply"])
        states = self._states()
        if blind := [one.key.name for one in states if one.no_evidence]:
            return dg.SkipReason(f"no evidence: {', '.join(blind)} could not judge enough, so nothing is repaired")
        failing = [one for one in states if self._is_repairable(one)]
        newest = max(failing, key=lambda one: str(one.seen), default=None)
        if newest is None or newest.run_id is None or newest.run_id == self._kept.get("answered"):
            return dg.SkipReason("no check that rules can repair fails since the last repair")
        run = self._context.instance.get_run_by_id(newest.run_id)
        if run is not None and REPAIR_TAG in run.tags:  # what a repair left is for the next verify, or a person
            return dg.SkipReason("what fails is what the last repair left")
        self._kept = {"answered": newest.run_id, "apply": newest.run_id}
        return self._request("apply", newest.run_id)

    def _after_apply(self, cause: str) -> dg.SensorResult | dg.SkipReason:
        """The verify of a repair that went through; one that failed is told by the alert of failed runs.

        A run that was killed, with its machine for example, may be said to run for ever: it has some hours.
        """
        wanted = dg.RunsFilter(job_name=f"{self._collection.slice_}_apply", tags={REPAIR_TAG: cause})
        found = self._context.instance.get_run_records(wanted, limit=1)
        run = found[0].dagster_run if found else None
        if run is not None and not run.is_finished and time.time() - found[0].create_timestamp.timestamp() < LONGEST:
            return dg.SkipReason(f"run {run.run_id} repairs")
        self._kept.pop("apply")
        if run is not None and run.is_success:
            return self._request("verify", cause)
        return dg.SensorResult(skip_reason=dg.SkipReason("the repair failed"), cursor=json.dumps(self._kept))

    def _request(self, what: str, cause: str) -> dg.SensorResult:
        request = standing_request(self._collection)
        run = dg.RunRequest(
            run_key=f"{what} {cause}",
            job_name=f"{self._collection.slice_}_{what}",
            tags={**request.tags, REPAIR_TAG: cause},
        )
        return dg.SensorResult(run_requests=[run], cursor=json.dumps(self._kept))

    def _states(self) -> list[CheckState]:
        assert self._context.repository_def is not None
        key = self._collection.key(self._collection.name)
        graph: Any = self._context.repository_def.asset_graph
        wanted = {one: split for one, split in keys_of([key], graph).items() if one.name in self._collection.rules}
        return of_these_stores(check_states(self._context.instance, wanted))

    def _is_repairable(self, state: CheckState) -> bool:
        rules = self._collection.rules[state.key.name]
        by_rule = any(rule.repairable and not rule.needs_person for rule in rules)
        is_wrong = state.passed is False and state.severity == dg.AssetCheckSeverity.ERROR
        return is_wrong and by_rule
