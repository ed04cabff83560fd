"""Runs a job of the code location in this process, recorded as if it had been launched from the UI.

So the terminal's verify, plan and apply are seen, and can be re-executed, in the UI. Private imports of Dagster 1.13.27.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from dagster import DagsterInstance, ExecuteInProcessResult, JobDefinition, JobExecutionResult
from dagster._core.definitions.job_base import InMemoryJob
from dagster._core.execution.api import execute_run
from dagster._core.remote_origin import RemoteRepositoryOrigin
from dagster._core.workspace.load import location_origins_from_yaml_paths

from session_assets.graph.partition_checks import keep_connections

LOCATION = "session_assets"
RunResult = ExecuteInProcessResult | JobExecutionResult


def run_here(
    instance: DagsterInstance, job: JobDefinition, workspace: Path, *, tags: dict[str, str], config: dict[str, Any]
) -> tuple[str, JobExecutionResult]:
    """Execute a job now; returns the run's id and result. Does not raise when a step fails."""
    keep_connections(instance)
    origins = location_origins_from_yaml_paths([str(workspace)])
    origin = next(origin for origin in origins if origin.location_name == LOCATION)
    run = instance.create_run_for_job(
        job,
        tags=tags,
        run_config=config,
        remote_job_origin=RemoteRepositoryOrigin(origin, "__repository__").get_job_origin(job.name),
    )
    return run.run_id, execute_run(InMemoryJob(job), run, instance, raise_on_error=False)
