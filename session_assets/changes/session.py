"""From a ledger to a changed collection: choose what is pending, resume or begin an attempt, go through its partitions.

A partition that fails is set aside and named; the others finish.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from threading import Lock
from typing import Any

from session_assets.changes.apply import apply_part
from session_assets.changes.attempt import Attempt
from session_assets.changes.attempts import blamed
from session_assets.changes.change_set import Plan
from session_assets.changes.epochs import counted_together, epochs
from session_assets.changes.ledger import Ledger
from session_assets.changes.outcomes import Outcomes
from session_assets.changes.store import Store
from session_assets.errors import DamagedFile, PlanRefused, SessionAssetsError, StoreUnavailable
from session_assets.failpoints import failpoint

_PARTITIONS_AT_ONCE = 3
Progress = Callable[[int, int], None]
"""Called with the rows done and the rows in all."""


@dataclass
class ApplyReport:
    """What an apply did, per partition."""

    plan_ids: list[str] = field(default_factory=list[str])
    planned: dict[str, int] = field(default_factory=dict[str, int])
    outcomes: dict[str, Outcomes] = field(default_factory=dict[str, Outcomes])
    finished: dict[str, Outcomes] = field(default_factory=dict[str, Outcomes])
    """Partitions that an attempt had finished when it was stopped, and with which this apply went on."""
    failed: dict[str, str] = field(default_factory=dict[str, str])  # partitions set aside, with the error
    spent: dict[str, float] = field(default_factory=dict[str, float])  # what the store counted meanwhile

    def totals(self) -> Outcomes:
        total = Outcomes()
        for outcomes in (*self.finished.values(), *self.outcomes.values()):
            total.add(outcomes)
        return total


def chosen(ledger: Ledger, partitions: Iterable[str] | None, plan_id: str | None) -> dict[str, list[str]]:
    """plan_id → partitions to apply: of the plan that is named, else what is pending."""
    if plan_id is None:
        return ledger.pending(partitions)
    wanted = None if partitions is None else set(partitions)
    plan = ledger.plan(plan_id)
    return {plan_id: [part.partition for part in plan.parts if wanted is None or part.partition in wanted]}


def refuse_large(ledger: Ledger, plans: Iterable[str], share: float) -> None:
    """Raise `PlanRefused` where a plan changes more than this share of the documents that it read."""
    if share >= 1:
        return
    wanted = set(plans)
    for recording in ledger.recordings():
        if recording.plan_id not in wanted:
            continue
        wanted.discard(recording.plan_id)  # the newest recording counts
        read = sum(recording.summary["read"].values())
        planned = ledger.plan(recording.plan_id).rows
        if read and planned / read > share:
            raise PlanRefused(
                f"plan {recording.plan_id} changes {planned} of {read} documents, more than"
                f" SESSION_ASSETS_MAX_CHANGE_SHARE={share:g} allows. Look at it, then apply it with --force."
            )


def refuse_other_mapping(ledger: Ledger, plans: Iterable[str], mapping: str) -> None:
    """Raise `PlanRefused` where a plan was not made under the mapping file that is set now: its field names would be others."""
    under = {(recording.plan_id, recording.summary.get("mapping", "")) for recording in ledger.recordings()}
    for plan_id in plans:
        if (plan_id, mapping) not in under:
            raise PlanRefused(
                f"plan {plan_id} of {ledger.loop} was made under another mapping file than the one that is set now, so it could"
                f" write the wrong fields. Nothing was written. `session-assets plan {ledger.loop}` makes a plan under the"
                " mapping of now; or set the mapping file that the plan was made under."
            )


def apply_plans(
    ledger: Ledger,
    todo: dict[str, list[str]],
    store: Store,
    *,
    run_id: str,
    batch_size: int,
    progress: Progress | None = None,
) -> ApplyReport:
    """Apply the partitions of each plan. Raises `StoreUnavailable` at once; a later run goes on."""
    report = ApplyReport(plan_ids=list(todo))
    plans = {plan_id: ledger.plan(plan_id) for plan_id in todo}
    total = sum(part.rows for plan in plans.values() for part in plan.parts if part.partition in todo[plan.plan_id])
    done, lock = 0, Lock()

    def tell(outcomes: Outcomes) -> None:
        nonlocal done
        with lock:
            done += sum(outcomes.counts.values())
            if progress is not None:
                progress(done, total)

    def work(plan: Plan, attempt: Attempt, partition: str) -> Outcomes:
        failpoint(f"apply.partition.{partition}")
        part = plan.part(partition)
        if part is not None:
            ledger.parts.require(part)
        attempt.require(partition)
        return apply_part(attempt, partition, lambda: ledger.rows(part) if part else (), store, progress=tell)

    intact = {plan_id: _intact(ledger, plans[plan_id], partitions, report) for plan_id, partitions in todo.items()}
    work_on = [
        (plans[plan_id], attempt, keys)
        for plan_id, partitions in intact.items()
        for attempt, keys in _attempts(ledger, plans[plan_id], partitions, run_id, batch_size)
    ]
    with ThreadPoolExecutor(_PARTITIONS_AT_ONCE) as pool:
        futures = {
            partition: pool.submit(work, plan, attempt, partition)
            for plan, attempt, keys in work_on
            for partition in keys
        }
        try:
            for partition, future in futures.items():
                _collect(partition, future, report)
        except BaseException:  # nothing more is begun; what is under way ends first
            for future in futures.values():
                future.cancel()
            raise
    for plan_id, partitions in todo.items():
        parts = {part.partition: part.rows for part in plans[plan_id].parts}
        report.planned |= {partition: parts.get(partition, 0) for partition in partitions}
    for plan, attempt, _ in work_on:
        _count_together(ledger, plan, attempt, report)
    failpoint("apply.before_report")
    return report


def _intact(ledger: Ledger, plan: Plan, partitions: Iterable[str], report: ApplyReport) -> list[str]:
    """The partitions to work on: an attempt that nobody can read may have been at work in the others, which are set aside."""
    result: list[str] = []
    since, (_, broken) = ledger.recorded_at(plan.plan_id), ledger.all_attempts(plan.plan_id)
    for partition in partitions:
        error = blamed(broken, partition, since)
        if error is None:
            result.append(partition)
        else:
            report.failed[partition] = str(error)
    return result


def _count_together(ledger: Ledger, plan: Plan, attempt: Attempt, report: ApplyReport) -> None:
    """Count what earlier attempts did since the plan was last recorded or reverted: to people all of it is one apply."""
    groups = epochs(ledger, plan.plan_id)
    for partition in attempt.partitions:
        outcomes = report.outcomes.get(partition)
        if outcomes is None:
            if partition in report.planned or not attempt.is_counted(partition):
                continue  # it failed now, or is another run's
            outcomes = _told(attempt.summary(partition))
            part = plan.part(partition)
            report.finished[partition] = outcomes
            report.planned[partition] = part.rows if part else 0
        try:
            counted_together(groups[partition][-1], attempt, partition, outcomes)
        except DamagedFile as error:
            report.failed[partition] = str(error)


def _told(summary: dict[str, Any]) -> Outcomes:
    """The outcomes of a partition, as the attempt that finished it wrote them down."""
    return Outcomes(Counter(summary["outcomes"]), dict(summary["errors"]), list(summary["conflicts"]))


def _collect(partition: str, future: Future[Outcomes], report: ApplyReport) -> None:
    try:
        report.outcomes[partition] = future.result()
    except StoreUnavailable:
        raise
    except DamagedFile as error:
        report.failed[partition] = str(error)
    except Exception as error:
        report.failed[partition] = f"{type(error).__name__}: {error}"


def raise_for(failed: dict[str, str], what: str) -> None:
    """Raise one error that names the partitions that were set aside."""
    if failed:
        listed = "; ".join(f"{partition}: {reason.rstrip('.')}" for partition, reason in sorted(failed.items())[:5])
        raise SessionAssetsError(
            f"{what} failed for {len(failed)} partition(s), all others are done. {listed}."
            " Correct the cause, then run these partitions again (*failed and missing* in the UI)."
        )


def _attempts(
    ledger: Ledger, plan: Plan, partitions: list[str], run_id: str, batch_size: int
) -> list[tuple[Attempt, list[str]]]:
    """Stopped attempts to go on with, and a new one for the rest."""
    result: list[tuple[Attempt, list[str]]] = []
    rest = sorted(partitions)
    planned_at = ledger.recorded_at(plan.plan_id)
    for attempt in reversed(ledger.attempts(plan.plan_id)):
        if attempt.at_ns < planned_at:
            break  # planned again since: every document is looked at again
        covered = [key for key in rest if key in attempt.partitions]
        unfinished = [key for key in covered if not attempt.is_revert and not attempt.is_finished(key)]
        if unfinished:
            result.append((attempt, unfinished))
        newer = set(unfinished)
        rest = [key for key in rest if key not in newer]
        if attempt.is_revert:
            break
    if rest:
        result.append((ledger.start_attempt(plan, rest, batch_size=batch_size, run_id=run_id), rest))
    return result


def recount(ledger: Ledger, attempt: Attempt, plan: Plan, partition: str) -> tuple[int, int]:
    """Rows of a partition as stored in the plan, and outcome letters as stored in the ledger."""
    part = plan.part(partition)
    rows = sum(frame.height for frame in ledger.rows(part)) if part else 0
    return rows, attempt.letters(partition)
