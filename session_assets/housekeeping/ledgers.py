"""The purge of ledgers as a job: off until somebody says for how many days plans are kept."""

import os
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import dagster as dg
from pydantic import Field

from session_assets.changes.purge import OldPlan, Purge
from session_assets.errors import LockHeld, UsageError
from session_assets.graph.environment import Environment
from session_assets.graph.loop import Loop
from session_assets.graph.markdown import md, md_table
from session_assets.settings import number
from session_assets.storage import Storage, file_name
from session_assets.stores.locks import collection_lock

VARIABLE = "SESSION_ASSETS_KEEP_LEDGER_DAYS"
_LEAST_DAYS, _MOST_DAYS = 7, 36_500
_LISTED = 200
_DRY_RUNS = "kintell/dry_runs"


class LedgerPurgeConfig(dg.Config):
    """For how many days plans are kept; without it the environment says so. Start with `dry_run`."""

    keep_days: int | None = Field(default=None, ge=_LEAST_DAYS, le=_MOST_DAYS)
    dry_run: bool = True


@dataclass
class Gone:
    """What is gone, or in a dry run would be: plans by loop, folders of rows, and reports of dry runs of files."""

    plans: list[tuple[str, OldPlan]] = field(default_factory=list[tuple[str, OldPlan]])
    parts: int = 0
    dry_runs: int = 0
    left: list[str] = field(default_factory=list[str])
    """Why a ledger was left alone."""


def days_kept(env: Mapping[str, str] | None = None) -> float | None:
    """None where nothing is purged. Raises `UsageError` for less than a week."""
    env = os.environ if env is None else env
    if not env.get(VARIABLE):
        return None
    days = number(env, VARIABLE, 0)
    if days < _LEAST_DAYS:
        raise UsageError(f"{VARIABLE} must be at least {_LEAST_DAYS}. Correct it, or unset it to keep all ledgers.")
    return min(days, _MOST_DAYS)


def purge_storage(storage: Storage, loops: list[Loop], before: datetime, *, dry_run: bool) -> Gone:
    """Remove old plans of all loops, and reports of dry runs. A loop that somebody works on is left for the next time."""
    gone = Gone()
    known = {file_name(loop.name): loop for loop in loops}
    for name in storage.names("ledger"):
        if name not in known:
            gone.left.append(f"{name} belongs to no slice of this version")
            continue
        loop = known[name]
        purge = Purge(storage, loop.name, before)
        plans = purge.old_plans()
        parts = purge.old_parts(one.plan_id for one in plans)
        if not dry_run and (plans or parts):
            try:
                with ExitStack() as locks:
                    for target in purge.targets():
                        locks.enter_context(
                            collection_lock(f"{loop.collection} of {target}", purge.partitions(), f"purge {loop.name}")
                        )
                    plans, parts = purge.remove()
            except LockHeld as error:
                gone.left.append(f"{loop.name}: {error}")
                continue
        gone.plans += [(loop.name, one) for one in plans]
        gone.parts += len(parts)
    old = [f"{_DRY_RUNS}/{one}" for one in storage.names(_DRY_RUNS)]
    old = [one for one in old if storage.modified(one) < before.timestamp()]
    gone.dry_runs = len(old)
    for folder in () if dry_run else old:
        storage.remove(folder)
    return gone


@dg.op
def purge_old_plans(context: dg.OpExecutionContext, config: LedgerPurgeConfig) -> None:
    """Removes plans that nothing stands on, of all ledgers, and lists them."""
    from session_assets.slices import slices

    days = config.keep_days or days_kept()
    if days is None:
        context.log.info(f"all ledgers are kept: neither keep_days nor {VARIABLE} is set")
        return
    before = datetime.now(UTC) - timedelta(days=days)
    loops = [loop for slice_ in slices().values() for loop in slice_.loops]
    gone = purge_storage(Environment.load().storage, loops, before, dry_run=config.dry_run)
    verb = "would be removed" if config.dry_run else "were removed"
    context.log.info(
        f"{len(gone.plans):,} plans that were not touched since {before:%Y-%m-%d} {verb}, with {gone.parts:,} sets of rows, and"
        f" {gone.dry_runs:,} reports of dry runs"
    )
    for why in gone.left:
        context.log.warning(f"left alone: {why}")
    rows = [
        (loop, one.plan_id, f"{datetime.fromtimestamp(one.touched, UTC):%Y-%m-%d %H:%M}", f"{one.rows:,}")
        for loop, one in gone.plans[:_LISTED]
    ]
    context.add_output_metadata(
        {
            "plans": len(gone.plans),
            "sets_of_rows": gone.parts,
            "dry_runs": gone.dry_runs,
            "list": md(md_table(rows, ["ledger", "plan", "last touched (UTC)", "rows"])),
        }
    )


@dg.job(
    executor_def=dg.in_process_executor,
    description="Remove old plans that nothing stands on from the ledgers: these can then not be undone. Start with dry_run.",
)
def purge_ledgers() -> None:
    purge_old_plans()


@dg.schedule(
    job=purge_ledgers,
    cron_schedule="30 3 * * 0",
    default_status=dg.DefaultScheduleStatus.STOPPED,
    description=f"Purge ledgers each Sunday (UTC), where {VARIABLE} says for how many days plans are kept.",
)
def weekly_ledger_purge(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
    if days_kept() is None:
        return dg.SkipReason(f"{VARIABLE} is not set: all ledgers are kept")
    return dg.RunRequest(run_config={"ops": {"purge_old_plans": {"config": {"dry_run": False}}}})
