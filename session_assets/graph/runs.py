"""Runs a job of the code location in this process, recorded as if it had been launched from the UI.

So the terminal's verify, plan and apply are seen, and can be re-executed, in the UI. Private imports of Dagster 1.13.27.
"""

from __future__ import annotations

import sys
from contextlib import redirect_stderr, suppress
from pathlib import Path
from typing import Any, TextIO, cast

from dagster import (
    DagsterInstance,
    DagsterRunStatus,
    ExecuteInProcessResult,
    JobDefinition,
    JobExecutionResult,
    RunsFilter,
)
from dagster._core.definitions.job_base import InMemoryJob
from dagster._core.execution.api import execute_run
from dagster._core.remote_origin import RemoteRepositoryOrigin
from dagster._core.workspace.load import location_origins_from_yaml_paths
from sqlalchemy.exc import DBAPIError

from session_assets.errors import LockHeld
from session_assets.graph.partition_checks import keep_connections
from session_assets.stores.dagster_database import dagster_database
from session_assets.stores.locks import collection_lock

LOCATION = "session_assets"
RunResult = ExecuteInProcessResult | JobExecutionResult
_TAG = "session_assets/terminal"  # the run's own id: a run that the UI re-executes copies the tag of another
_LOCK = "session_assets.runs"
_DUMP = "Exception while writing logger call to event log"
_UNFINISHED = [
    DagsterRunStatus.NOT_STARTED,
    DagsterRunStatus.STARTING,
    DagsterRunStatus.STARTED,
    DagsterRunStatus.CANCELING,
]


def run_here(
    instance: DagsterInstance, job: JobDefinition, workspace: Path, *, tags: dict[str, str], config: dict[str, Any]
) -> tuple[str, JobExecutionResult]:
    """Execute a job now; returns the run's id and result. Does not raise if a step fails.

    Raises `StoreUnavailable` if the Dagster database is lost: nobody can say then how the run ended. The next command ends it.
    """
    with dagster_database(), redirect_stderr(cast(TextIO, _Quiet(sys.stderr))):
        return _run(instance, job, workspace, tags=tags, config=config)


def _run(
    instance: DagsterInstance, job: JobDefinition, workspace: Path, *, tags: dict[str, str], config: dict[str, Any]
) -> tuple[str, JobExecutionResult]:
    keep_connections(instance)
    end_killed_runs(instance)
    open_pools(instance, job)
    origins = location_origins_from_yaml_paths([str(workspace)])
    origin = next(origin for origin in origins if origin.location_name == LOCATION)
    run = instance.create_run_for_job(
        job,
        tags=tags,
        run_config=config,
        remote_job_origin=RemoteRepositoryOrigin(origin, "__repository__").get_job_origin(job.name),
    )
    with collection_lock(_LOCK, [run.run_id], f"run {run.run_id}"):
        instance.add_run_tags(run.run_id, {_TAG: run.run_id})
        return run.run_id, execute_run(InMemoryJob(job), run, instance, raise_on_error=False)


class _Quiet:
    """Standard error without what Dagster writes to it past all loggers: a statement with all parameters."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        return len(text) if text.startswith(_DUMP) else self._stream.write(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def open_pools(instance: DagsterInstance, job: JobDefinition) -> None:
    """Enter the job's pools with their limit. Dagster does so at first use, where on PostgreSQL two runs at once fail."""
    storage = instance.event_log_storage
    if storage.get_pool_config().default_pool_limit is None:
        return
    known = {pool.name for pool in storage.get_pool_limits()}
    for pool in {pool for node in job.all_node_defs for pool in node.pools} - known:
        with suppress(DBAPIError):  # somebody else was quicker
            storage.initialize_concurrency_limit_to_default(pool)


def end_killed_runs(instance: DagsterInstance) -> None:
    """End runs of the terminal whose process is gone: nobody watches over them, and they hold slots of pools for ever."""
    for run in instance.get_runs(RunsFilter(statuses=_UNFINISHED)):
        if run.tags.get(_TAG) != run.run_id:
            continue
        try:
            with collection_lock(_LOCK, [run.run_id], "the end of a killed run"):
                current = instance.get_run_by_id(run.run_id)
                if current is not None and not current.is_finished:
                    instance.report_run_failed(current, "The process of this run was killed. Run the command again.")
                instance.event_log_storage.free_concurrency_slots_for_run(run.run_id)
        except LockHeld:
            continue
