"""The checks of a partitioned collection: they recount from the source of truth, and account for every document and row."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import dagster as dg

from session_assets.changes.evidence import Figures, Lack
from session_assets.changes.session import recount
from session_assets.changes.tally import Tally
from session_assets.errors import DamagedFile
from session_assets.graph.check_report import CheckReport, check_reports, share_reports
from session_assets.graph.check_result import CheckResult, reported
from session_assets.graph.collection import Collection, log_progress
from session_assets.graph.environment import Environment
from session_assets.graph.health import health_of
from session_assets.graph.partition_checks import keep_connections, log_partition_results, newest_materializations
from session_assets.graph.step import asked_keys, is_whole

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
        results: dict[str, CheckResult] = {}
        for recording in collection.loop.ledger(environment).recordings():
            for partition in wanted & set(recording.partitions) - results.keys():
                read = recording.summary["read"].get(partition, 0)
                classes = recording.summary["classes"].get(partition, {})
                wrong = abs(read - sum(classes.values()))
                text = f"{read:,} documents read, {sum(classes.values()):,} classified"
                by_class = {f"class_{name}": count for name, count in classes.items()}
                results[partition] = _account(ACCOUNTED, read, wrong, text, by_class)
            if wanted <= results.keys():
                break
        yield _logged(context, spec.key, results, _summed(ACCOUNTED, results, "the newest plans"))

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
        blocking=True,
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
        told = [report for report in reports if specs[report.name].key in selected]
        for report in told:
            results, total = report.partition_results(), report.total.of_partition()
            yield log_partition_results(context, specs[report.name].key, results, total, targets=targets)
        environment.report(
            context.op_execution_context.run_id, "checks_sessions", reported(report.total for report in told)
        )
        if outcomes.key in selected:
            counted = _outcomes(collection, environment, partitions)
            yield _logged(context, outcomes.key, counted, _summed(OUTCOMES, counted, "the last applies"), targets)
        if finished.key in selected:
            ended = {one: _account(FINISHED, 1, int(one in failed), failed.get(one, "finished")) for one in asked}
            yield _logged(context, finished.key, ended, _summed(FINISHED, ended, "this run"), targets)

    return sessions_checks


def _verify(
    collection: Collection, context: dg.AssetCheckExecutionContext, environment: Environment, partitions: list[str]
) -> list[CheckReport]:
    pipeline, run_id = collection.open(environment), context.op_execution_context.run_id
    whole = is_whole(context)
    tally, lists = pipeline.inspect(pipeline.selection(partitions, whole=whole), run_id, log_progress(context.log))
    for partition in partitions:
        tally.reads.setdefault(partition, 0)
    about = None if whole else partitions
    tags = context.op_execution_context.run.tags
    lack = collection.lack(environment, pipeline, tally, run_id, tags, about, of_plan=False)
    reports = [
        *check_reports(collection.rules, tally, lists, lack),
        *share_reports(collection.shares, tally, lack),
    ]
    report_verify(environment, run_id, tally, lack)
    for name, metadata in pipeline.observed().items():
        context.op_execution_context.log_event(dg.AssetObservation(collection.key(name), metadata=metadata))
    if whole:
        context.op_execution_context.log_event(health_of(collection, environment, tally, reports))
    return reports


def report_verify(environment: Environment, run_id: str, tally: Tally, lack: Lack | None) -> None:
    """Keep what a recount found, for the terminal."""
    environment.report(
        run_id,
        "verify",
        {
            **tally.all_figures().as_dict(),
            "partitions": [partition for partition in tally.partitions if tally.reads[partition]],
            "classes": tally.total_classes(),
            "reasons": tally.total_reasons(),
            "lack": None if lack is None else lack.as_dict(),
        },
    )


def _outcomes(collection: Collection, environment: Environment, partitions: list[str]) -> dict[str, CheckResult]:
    """Rows of each partition's last apply against the outcomes in the ledger, both counted from the stored files."""
    ledger = collection.loop.ledger(environment)
    results = {partition: _account(OUTCOMES, 0, 0, "nothing to apply so far") for partition in partitions}
    for partition, (plan, attempt) in ledger.last_applies(partitions).items():
        try:
            rows, letters = recount(ledger, attempt, plan, partition)
            outcomes = attempt.summary(partition)["outcomes"]
        except DamagedFile as error:
            ledger.damaged[partition] = error
            continue
        wrong = max(abs(rows - letters), abs(rows - sum(outcomes.values()))) + outcomes["failed"]
        text = f"{rows:,} planned, {letters:,} with an outcome, {outcomes['failed']:,} failed"
        results[partition] = _account(OUTCOMES, rows, wrong, text, {**outcomes, "plan_id": plan.plan_id})
    return results | {key: _account(OUTCOMES, 0, 1, str(error)) for key, error in ledger.damaged.items()}


def _account(name: str, rows: int, wrong: int, text: str, metadata: Mapping[str, Any] | None = None) -> CheckResult:
    """The account of one partition: 0 of 0 rows passes, since the ledger was read."""
    return CheckResult(
        name,
        Figures(judged=rows),
        wrong,
        text,
        metadata=metadata or {},
        rightly="The ledger was read: it holds no row.",
    )


def _summed(name: str, results: Mapping[str, CheckResult], of: str) -> CheckResult:
    """The account of all partitions of a run."""
    wrong = [partition for partition, one in results.items() if one.count]
    rows = sum(one.figures.judged for one in results.values())
    text = f"{len(results):,} partitions, {rows:,} rows of {of}: {len(wrong):,} do not add up"
    if wrong:
        text = f"{text}, for example {wrong[0]}: {results[wrong[0]].text}"
    return replace(_account(name, rows, sum(one.count for one in results.values()), text), sample=wrong)


def _logged(
    context: dg.AssetCheckExecutionContext,
    key: dg.AssetCheckKey,
    results: Mapping[str, CheckResult],
    total: CheckResult,
    targets: Any = None,
) -> dg.AssetCheckResult:
    by_partition = {partition: one.of_partition() for partition, one in results.items()}
    return log_partition_results(context, key, by_partition, total.of_partition(), targets=targets)
