"""What there is to tell: checks that fail or pass again, and runs. Each piece of news has a key, which is told once."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from dagster import AssetCheckSeverity, DagsterEventType, DagsterInstance, DagsterRun

from session_assets.alerts.message import Message, message
from session_assets.alerts.settings import AlertSettings
from session_assets.graph.causes import cause
from session_assets.graph.check_states import CheckState

_EXPECTED = {"Paused", "LockHeld"}
"""Errors of runs that nobody has to mend: somebody asked for it, or somebody else does the work."""


def is_alarming(state: CheckState, settings: AlertSettings) -> bool:
    """Whether a check fails, as badly as is told."""
    return state.passed is False and (state.severity == AssetCheckSeverity.ERROR or settings.severity == "warn")


def of_check(state: CheckState, settings: AlertSettings, *, recovered: bool, since: str | None = None) -> Message:
    """A check that fails or passes again. `since`: when it was told that it fails."""
    asset = "/".join(state.key.asset_key.path)
    link = f"{settings.ui}/assets/{asset}?view=checks&checkDetail={state.key.name}" if settings.ui else None
    now = state.seen or datetime.now(UTC)
    if recovered:
        title = f"{state.slice_}: {state.key.name} recovered"
        now_it = (
            "passes again" if state.passed else f"has only findings for a person to decide now ({state.count:,}, WARN)"
        )
        text = f"The check {state.name} {now_it}. It was told as failing at {since}."
        return message(f"check {state.name}", True, now, title, text, link)
    word = "finding" if state.count == 1 else "findings"
    title = f"{state.slice_}: {state.key.name} fails, {state.count:,} {word}"
    step = "" if state.next_step else f"\nNext step: session-assets verify {state.slice_} tells more."
    text = f"The check {state.name} fails as {state.severity.value}.\n{state.description}{step}"
    return message(f"check {state.name}", False, now, title, text, link)


def key_of_run(run: DagsterRun) -> str:
    """Runs of the same work: the job, of a file or another single partition, or the assets that were chosen."""
    partition = run.tags.get("dagster/partition")
    assets = sorted(key.to_user_string() for key in run.asset_selection or ())
    work = run.job_name if not run.job_name.startswith("__") else f"materialization of {', '.join(assets[:5])}"
    return f"run {work}" + (f" of {partition}" if partition else "")


def of_run(
    instance: DagsterInstance, run: DagsterRun, at: datetime, settings: AlertSettings, since: str | None = None
) -> Message | None:
    """A run that failed, or one that went through after such; None for failures that nobody has to mend."""
    key = key_of_run(run)
    work = key.removeprefix("run ")
    link = f"{settings.ui}/runs/{run.run_id}" if settings.ui else None
    if run.is_success:
        text = f"Run {run.run_id} of {work} went through. A failure was told at {since}."
        return message(key, True, at, f"{work} recovered", text, link)
    name, why = _why(instance, run.run_id)
    if name in _EXPECTED:
        return None
    slice_ = work.removeprefix("materialization of ").replace("/", "_").split("_")[0]
    text = (
        f"Run {run.run_id} of {work} (slice {slice_}) failed: {why[:700]}\nNext step: mend what it says, then re-execute the run"
        " or repeat the command. Nothing is lost: it goes on where it stopped."
    )
    return message(key, False, at, f"{work} failed", text, link)


def _why(instance: DagsterInstance, run_id: str) -> tuple[str, str]:
    for kind in (DagsterEventType.STEP_FAILURE, DagsterEventType.RUN_FAILURE):
        for entry in instance.all_logs(run_id, of_type=kind):
            data: Any = entry.dagster_event.event_specific_data if entry.dagster_event else None
            error = getattr(data, "error", None)
            if error is not None:
                return cause(error)
            if kind == DagsterEventType.RUN_FAILURE:
                return "", entry.user_message or entry.message
    return "", "no step says why; its log in the UI may"
