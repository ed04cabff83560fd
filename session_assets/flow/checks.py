"""Checks of the migration: counted again from the tables by SQL that shares nothing with the backfill."""

from collections.abc import Iterator, Sequence

import dagster as dg

from session_assets.changes.evidence import Figures
from session_assets.flow import model
from session_assets.flow.assets import POOL, key, open_flow
from session_assets.flow.evidence import Look
from session_assets.flow.health import health
from session_assets.graph.check_result import ERROR, WARN, CheckResult, reported
from session_assets.graph.environment import Environment
from session_assets.stores.flow_findings import Finding
from session_assets.stores.flow_recount import recount

STEPS = ("checks_map", "checks_tables", "checks_schema")
"""Names of the reports that hold results, for the terminal."""


def _specs(asset: str) -> list[dg.AssetCheckSpec]:
    return [
        dg.AssetCheckSpec(rule.name, asset=key(asset), description=f"{rule.wanted}.")
        for rule in model.RULES.values()
        if rule.asset == asset
    ]


@dg.multi_asset_check(name="flow_map_checks", specs=_specs("session_flow_map"), can_subset=True, pool=POOL)
def map_checks(context: dg.AssetCheckExecutionContext) -> Iterator[dg.AssetCheckResult]:
    """Recounts sessions and what names them."""
    yield from _recounted(context, STEPS[0])


@dg.multi_asset_check(name="flow_tables_checks", specs=_specs("backfilled_tables"), can_subset=True, pool=POOL)
def tables_checks(context: dg.AssetCheckExecutionContext) -> Iterator[dg.AssetCheckResult]:
    """Recounts flow ids and the archive."""
    yield from _recounted(context, STEPS[1])


@dg.multi_asset_check(name="flow_schema_checks", specs=_specs("schema"), can_subset=True, pool=POOL)
def schema_checks(context: dg.AssetCheckExecutionContext) -> Iterator[dg.AssetCheckResult]:
    """Looks at keys, triggers and indexes."""
    yield from _recounted(context, STEPS[2])


def _recounted(context: dg.AssetCheckExecutionContext, step: str) -> Iterator[dg.AssetCheckResult]:
    selected = {one.name: one.asset_key for one in context.selected_asset_check_keys}
    names = [name for name in model.RULES if name in selected]
    environment, flow, op = Environment.load(), open_flow(context), context.op_execution_context
    look = Look(environment, flow, op.run_id, op.run.tags)
    if look.is_blind:
        results = [CheckResult(name, Figures(), 0, "nothing was compared", lack=look.lack) for name in names]
    else:
        with flow.reading() as work:
            found = recount(work, names)
            if step == STEPS[1]:
                op.log_event(health(work))
        results = [_result(one, look) for one in found]
    environment.report(op.run_id, step, reported(results))
    if step == STEPS[1]:
        environment.report(op.run_id, "verify", look.report())
    yield from (one.result(selected[one.name]) for one in results)


def _result(found: Finding, look: Look) -> CheckResult:
    """A finding with its figures, and with why it is no evidence, if it is none."""
    lack = look.lack
    if lack is None and found.unreadable and look.unreadable is not None:
        lack = look.unreadable
    figures = Figures(found.judged, found.not_applicable, found.unsettled, found.unreadable)
    return CheckResult(
        found.name,
        figures,
        0 if found.passed else max(found.count, 1),
        found.text,
        ERROR if found.is_error else WARN,
        found.next_step,
        found.sample,
        metadata={
            "of": found.total,
            "unit": found.unit,
            **({"not_understood": "; ".join(found.odd)} if found.odd else {}),
        },
        lack=lack,
        rightly=found.may_be_empty and f"Rightly: {found.may_be_empty}.",
    )


CHECKS: Sequence[dg.AssetChecksDefinition] = [map_checks, tables_checks, schema_checks]
