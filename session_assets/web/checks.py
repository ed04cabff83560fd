"""The verify report as asset checks. They recount from events; nothing that facts or apply stored is read.

Sections 1 to 6 of the seed's report, and what it missed: see `model.REASONS`.
"""

from collections.abc import Iterator
from typing import Any

import dagster as dg

from session_assets.changes.session import recount
from session_assets.graph.check_report import CheckReport, Rule, check_reports
from session_assets.graph.environment import Environment
from session_assets.graph.partition_checks import (
    PartitionResult,
    keep_connections,
    log_partition_results,
    newest_materializations,
)
from session_assets.graph.step import LogProgress, asked_keys, is_whole
from session_assets.masking import safe_text
from session_assets.web import model
from session_assets.web.assets import DAYS, LOOP, key, open_web
from session_assets.web.model import Fix

SESSIONS, CHANGES, EVENTS = key("sessions"), key("session_changes"), key("events")

RULES: dict[str, list[Rule]] = {
    check: [
        Rule(reason.name, reason.text, reason.fix in (Fix.REPAIR, Fix.FOLD), model.next_step(reason))
        for reason in model.REASONS
        if reason.check == check
    ]
    for check in model.CHECKS
}
EVENT_RULES: dict[str, list[Rule]] = {
    "events_have_session": [
        Rule("orphan_event", "events of a session that has no document", False, model.NEXT_STEP[Fix.LISTED])
    ],
    "events_have_session_id": [
        Rule("null_session_id", "events with neither a session nor an id for one", False, model.NEXT_STEP[Fix.LISTED])
    ],
}

_SPECS = {
    name: dg.AssetCheckSpec(
        name, asset=SESSIONS, partitions_def=DAYS, description="; ".join(rule.text for rule in rules)
    )
    for name, rules in RULES.items()
}
OUTCOMES = dg.AssetCheckSpec(
    "outcomes_accounted",
    asset=SESSIONS,
    partitions_def=DAYS,
    description="Every planned row of the last apply is applied, already applied, conflicted or failed; none failed.",
)
FINISHED = dg.AssetCheckSpec(
    "partitions_finished",
    asset=SESSIONS,
    partitions_def=DAYS,
    blocking=True,
    description="No partition of this run was set aside because of an error.",
)
ACCOUNTED = dg.AssetCheckSpec(
    "documents_accounted",
    asset=CHANGES,
    partitions_def=DAYS,
    blocking=True,
    description="Every document read is in exactly one class: unchanged, planned, listed, unsettled, not applicable.",
)


@dg.multi_asset_check(name="web_documents_accounted", specs=[ACCOUNTED], pool="web_mongodb")
def documents_accounted(context: dg.AssetCheckExecutionContext) -> Iterator[dg.AssetCheckResult]:
    """Recounts the classes of the newest plan from what its recording says was read."""
    environment = Environment.load()
    wanted = set(asked_keys(context)) - environment.failures(context.op_execution_context.run_id).keys()
    results: dict[str, PartitionResult] = {}
    for recording in LOOP.ledger(environment).recordings():
        for partition in wanted & set(recording.partitions) - results.keys():
            read = recording.summary["read"].get(partition, 0)
            classes = recording.summary["classes"].get(partition, {})
            text = f"{read:,} documents read, {sum(classes.values()):,} classified"
            results[partition] = PartitionResult(
                read == sum(classes.values()), description=text, metadata={"documents": read, **classes}
            )
        if wanted <= results.keys():
            break
    yield log_partition_results(context, ACCOUNTED.key, results)


@dg.multi_asset_check(
    name="web_sessions_checks", specs=[*_SPECS.values(), OUTCOMES, FINISHED], can_subset=True, pool="web_mongodb"
)
def sessions_checks(context: dg.AssetCheckExecutionContext) -> Iterator[dg.AssetCheckResult]:
    """Recounts sessions of the run's partitions from all their events."""
    keep_connections(context.instance)
    environment = Environment.load()
    failed = environment.failures(context.op_execution_context.run_id)
    asked = asked_keys(context)
    partitions = [partition for partition in asked if partition not in failed]
    selected = context.selected_asset_check_keys
    targets = newest_materializations(context.instance, SESSIONS, asked)
    reports = _verify(context, environment, partitions) if any(spec.key in selected for spec in _SPECS.values()) else []
    json: list[dict[str, Any]] = []
    for report in reports:
        spec = _SPECS[report.name]
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
    if OUTCOMES.key in selected:
        yield log_partition_results(context, OUTCOMES.key, _outcomes(environment, partitions), targets=targets)
    if FINISHED.key in selected:
        finished = {
            partition: PartitionResult(
                partition not in failed, description=safe_text(failed.get(partition, "")) or None
            )
            for partition in asked
        }
        yield log_partition_results(context, FINISHED.key, finished, targets=targets)


def _verify(
    context: dg.AssetCheckExecutionContext, environment: Environment, partitions: list[str]
) -> list[CheckReport]:
    web = open_web(environment)
    progress = {name: LogProgress(context.log.info, f"{name} read") for name in ("sessions", "events")}
    tally, lists = web.inspect(
        web.selection(partitions, whole=is_whole(context)),
        context.op_execution_context.run_id,
        lambda what, done, total: progress[what](min(done, total), total),
    )
    for partition in partitions:
        tally.reads.setdefault(partition, 0)
    environment.report(
        context.op_execution_context.run_id,
        "verify",
        {
            "read": sum(tally.reads.values()),
            "partitions": tally.partitions,
            "classes": tally.total_classes(),
            "reasons": tally.total_reasons(),
        },
    )
    return check_reports(RULES, tally, lists)


def _outcomes(environment: Environment, partitions: list[str]) -> dict[str, PartitionResult]:
    """Rows of each partition's last apply against the outcomes in the ledger, both counted from the stored files."""
    ledger = LOOP.ledger(environment)
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


@dg.multi_asset_check(
    name="web_events_checks",
    specs=[dg.AssetCheckSpec(name, asset=EVENTS, description=rules[0].text) for name, rules in EVENT_RULES.items()],
    can_subset=True,
    pool="web_mongodb",
)
def events_checks(context: dg.AssetCheckExecutionContext) -> Iterator[dg.AssetCheckResult]:
    """Asks the whole of both collections which events no session document claims."""
    environment = Environment.load()
    web = open_web(environment)
    with environment.storage.scratch() as scratch:
        tally, lists = web.loose_events(scratch, context.op_execution_context.run_id)
    json = []
    for report in check_reports(EVENT_RULES, tally, lists):
        result = dg.AssetCheckResult(
            asset_key=EVENTS,
            check_name=report.name,
            passed=report.count == 0,
            severity=dg.AssetCheckSeverity.WARN,
            description=report.description.replace("documents", "events"),
            metadata=report.metadata,
        )
        json.append(report.as_json(dg.AssetCheckSeverity.WARN.value))
        yield result
    environment.report(context.op_execution_context.run_id, "checks_events", {"checks": json})


CHECKS = [documents_accounted, sessions_checks, events_checks]
