"""The checks of a partitioned collection: they recount from the source of truth, and account for every document and row."""

from collections.abc import Iterator
from typing import Any

import dagster as dg

from session_assets.changes.session import recount
from session_assets.graph.check_report import CheckReport, check_reports, share_reports
from session_assets.graph.collection import Collection, log_progress
from session_assets.graph.environment import Environment
from session_assets.graph.health import health_of
from session_assets.graph.partition_checks import (
    PartitionResult,
    keep_connections,
    log_partition_results,
    newest_materializations,
)
from session_assets.graph.step import asked_keys, is_whole
from session_assets.masking import safe_text

ACCOUNTED, OUTCOMES, FINISHED = "documents_accounted", "outcomes_accounted", "partitions_finished"


def collection_checks(collection: Collection) -> list[dg.AssetChecksDefinition]:
    """Blocking accounts of the plan and the apply, and one check for each of the collection's rules."""
    return [_documents_accounted(collection), _sessions_checks(collection)]


def _documents_accounted(collection: Collection) -> dg.AssetChecksDefinition:
    spec = dg.AssetCheckSpec(
        ACCOUNTED,
        asset=collection.key("session_changes"),
        partitions_def=collection.partitions,
        blocking=True,
        description="Every document read is in exactly one class: unchanged, planned, listed, unsettled, not applicable.",
    )

    @dg.multi_asset_check(name=f"{collection.slice_}_{ACCOUNTED}", specs=[spec], pool=collection.pool)
    def documents_accounted(context: dg.AssetCheckExecutionContext) -> Iterator[dg.AssetCheckResult]:
        """Recounts the classes of the newest plan from what its recording says was read."""
        environment = Environment.load()
        wanted = set(asked_keys(context)) - environment.failures(context.op_execution_context.run_id).keys()
        results: dict[str, PartitionResult] = {}
        for recording in collection.loop.ledger(environment).recordings():
            for partition in wanted & set(recording.partitions) - results.keys():
                read = recording.summary["read"].get(partition, 0)
                classes = recording.summary["classes"].get(partition, {})
                text = f"{read:,} documents read, {sum(classes.values()):,} classified"
                results[partition] = PartitionResult(
                    read == sum(classes.values()), description=text, metadata={"documents": read, **classes}
                )
            if wanted <= results.keys():
                break
        yield log_partition_results(context, spec.key, results)

    return documents_accounted


def _sessions_checks(collection: Collection) -> dg.AssetChecksDefinition:
    asset = collection.key(collection.name)
    specs = {
        name: dg.AssetCheckSpec(
            name,
            asset=asset,
            partitions_def=collection.partitions,
            description="; ".join(rule.text for rule in rules),
        )
        for name, rules in collection.rules.items()
    } | {
        share.check: dg.AssetCheckSpec(
            share.check, asset=asset, partitions_def=collection.partitions, description=share.text
        )
        for share in collection.shares
    }
    outcomes = dg.AssetCheckSpec(
        OUTCOMES,
        asset=asset,
        partitions_def=collection.partitions,
        description="Every planned row of the last apply is applied, already applied, conflicted or failed; none failed.",
    )
    finished = dg.AssetCheckSpec(
        FINISHED,
        asset=asset,
        partitions_def=collection.partitions,
        blocking=True,
        description="No partition of this run was set aside because of an error.",
    )

    @dg.multi_asset_check(
        name=f"{collection.slice_}_{collection.name}_checks",
        specs=[*specs.values(), outcomes, finished],
        can_subset=True,
        pool=collection.pool,
    )
    def sessions_checks(context: dg.AssetCheckExecutionContext) -> Iterator[dg.AssetCheckResult]:
        """Recounts the sessions of the run's partitions."""
        keep_connections(context.instance)
        environment = Environment.load()
        failed = environment.failures(context.op_execution_context.run_id)
        asked = asked_keys(context)
        partitions = [partition for partition in asked if partition not in failed]
        selected = context.selected_asset_check_keys
        targets = newest_materializations(context.instance, asset, asked)
        asked_for = any(spec.key in selected for spec in specs.values())
        reports = _verify(collection, context, environment, partitions) if asked_for else []
        json: list[dict[str, Any]] = []
        for report in reports:
            spec = specs[report.name]
            if spec.key in selected:
                result = log_partition_results(
                    context,
                    spec.key,
                    report.partitions,
                    targets=targets,
                    metadata=report.metadata,
                    description=report.description,
                )
                json.append(report.as_json(result.severity.value))
                yield result
        environment.report(context.op_execution_context.run_id, "checks_sessions", {"checks": json})
        if outcomes.key in selected:
            counted = _outcomes(collection, environment, partitions)
            yield log_partition_results(context, outcomes.key, counted, targets=targets)
        if finished.key in selected:
            results = {
                partition: PartitionResult(
                    partition not in failed, description=safe_text(failed.get(partition, "")) or None
                )
                for partition in asked
            }
            yield log_partition_results(context, finished.key, results, targets=targets)

    return sessions_checks


def _verify(
    collection: Collection, context: dg.AssetCheckExecutionContext, environment: Environment, partitions: list[str]
) -> list[CheckReport]:
    pipeline, run_id = collection.open(environment), context.op_execution_context.run_id
    selection = pipeline.selection(partitions, whole=is_whole(context))
    tally, lists = pipeline.inspect(selection, run_id, log_progress(context.log))
    for partition in partitions:
        tally.reads.setdefault(partition, 0)
    report_verify(environment, run_id, tally)
    reports = [*check_reports(collection.rules, tally, lists), *share_reports(collection.shares, tally)]
    if is_whole(context):
        context.op_execution_context.log_event(health_of(collection, environment, tally, reports))
    return reports


def report_verify(environment: Environment, run_id: str, tally: Any) -> None:
    """Keep what a recount found, for the terminal."""
    environment.report(
        run_id,
        "verify",
        {
            "read": sum(tally.reads.values()),
            "partitions": tally.partitions,
            "classes": tally.total_classes(),
            "reasons": tally.total_reasons(),
        },
    )


def _outcomes(collection: Collection, environment: Environment, partitions: list[str]) -> dict[str, PartitionResult]:
    """Rows of each partition's last apply against the outcomes in the ledger, both counted from the stored files."""
    ledger = collection.loop.ledger(environment)
    results = {partition: PartitionResult(True, description="nothing to apply so far") for partition in partitions}
    for partition, (plan, attempt) in ledger.last_applies(partitions).items():
        rows, letters = recount(ledger, attempt, plan, partition)
        outcomes = attempt.summary(partition)["outcomes"]
        good = rows == letters == sum(outcomes.values()) and not outcomes["failed"]
        results[partition] = PartitionResult(
            good,
            description=f"{rows:,} planned, {letters:,} with an outcome, {outcomes['failed']:,} failed",
            metadata={"planned": rows, **outcomes, "plan_id": plan.plan_id},
        )
    return results
