"""Check results per partition, from one step that looks at many partitions at once.

Dagster stores the `AssetCheckResult` of a range run without a partition, and each partition then shows *skipped*. Here
one `AssetCheckEvaluation` a partition is logged instead, pointing at the newest materialization of that partition
(without the pointer the status counts as out of date); the summary is left for the step to yield. The run must carry
partition tags: without them Dagster cannot store the summary of a check on a partitioned asset.

What we borrow from Dagster's private modules (1.13.27) lives in this one file.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from dagster import (
    AssetCheckEvaluation,
    AssetCheckExecutionContext,
    AssetCheckKey,
    AssetCheckResult,
    AssetCheckSeverity,
    AssetExecutionContext,
    AssetKey,
    AssetRecordsFilter,
    DagsterEventType,
    DagsterInstance,
)
from dagster._core.definitions.asset_checks.asset_check_evaluation import (
    AssetCheckEvaluationTargetMaterializationData as Target,
)

from session_assets.graph.markdown import Markdown
from session_assets.stores.dagster_database import watch_connections

_IDS_PER_QUERY = 1000
_POOL_RECYCLE_SECONDS = 3600
_POOL_OVERFLOW = 5


@dataclass(frozen=True)
class PartitionResult:
    """What one check found in one partition."""

    passed: bool
    severity: AssetCheckSeverity = AssetCheckSeverity.ERROR
    description: Markdown | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)


def log_partition_results(
    context: AssetExecutionContext | AssetCheckExecutionContext,
    check_key: AssetCheckKey,
    results: Mapping[str, PartitionResult],
    total: PartitionResult,
    *,
    targets: Mapping[str, Target] | None = None,
) -> AssetCheckResult:
    """Log one evaluation for each partition of `results`; returns `total` as the summary, which the step must yield.

    A partition that is left out shows *skipped* where the run targets it (*execution failed* where the run fails).
    `targets` comes from `newest_materializations`: look it up once where several checks share an asset, and only after
    the asset's own events are logged. `total` is what the check says of all that the run is about: a run in which no partition
    holds a document has no results, and still does not pass.

    In a run of one partition Dagster stores the yielded result with its partition and target, so nothing is logged.
    A failed summary of a blocking check fails the step, and so stops everything downstream for all partitions.
    """
    op = context.op_execution_context
    failed = [partition for partition, result in results.items() if not result.passed]
    summary = AssetCheckResult(
        asset_key=check_key.asset_key,
        check_name=check_key.name,
        passed=total.passed,
        severity=total.severity,
        description=total.description,
        metadata={**total.metadata, "partitions": len(results), "partitions_with_findings": len(failed)},
    )
    if op.has_partition_key and set(results) == {op.partition_key}:
        return summary
    if targets is None:
        targets = newest_materializations(op.instance, check_key.asset_key, results)
    for partition, result in results.items():
        evaluation = AssetCheckEvaluation(
            asset_key=check_key.asset_key,
            check_name=check_key.name,
            passed=result.passed,
            severity=result.severity,
            description=result.description,
            metadata=result.metadata,
            partition=partition,
            target_materialization_data=targets.get(partition),
        )
        op.log_event(evaluation)  # pyright: ignore[reportArgumentType] - handled, but left out of its type
    return summary


def newest_materializations(
    instance: DagsterInstance, asset_key: AssetKey, partitions: Iterable[str]
) -> dict[str, Target]:
    """The newest materialization of each partition that has one: two queries for up to 1,000 partitions."""
    wanted = set(partitions)
    if not wanted:
        return {}
    by_partition = instance.event_log_storage.get_latest_storage_id_by_partition(
        asset_key, DagsterEventType.ASSET_MATERIALIZATION, wanted
    )
    ids = sorted(by_partition.values())
    found: dict[str, Target] = {}
    for start in range(0, len(ids), _IDS_PER_QUERY):
        some = ids[start : start + _IDS_PER_QUERY]
        records = AssetRecordsFilter(asset_key=asset_key, storage_ids=some)
        for record in instance.fetch_materializations(records, limit=len(some)).records:
            if record.partition_key is not None:
                found[record.partition_key] = Target(
                    storage_id=record.storage_id, run_id=record.run_id, timestamp=record.timestamp
                )
    return found


def keep_connections(instance: DagsterInstance) -> None:
    """Let this process reuse its database connections; Dagster opens one per event, five sixths of an event's cost."""
    watch_connections()
    for storage in (instance.event_log_storage, instance.run_storage):
        storage.optimize_for_webserver(
            statement_timeout=0, pool_recycle=_POOL_RECYCLE_SECONDS, max_overflow=_POOL_OVERFLOW
        )
