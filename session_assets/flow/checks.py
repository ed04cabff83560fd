"""Checks of the migration: counted anew from the tables by SQL that shares nothing with the backfill."""

from collections.abc import Iterator, Sequence
from typing import Any

import dagster as dg

from session_assets.flow import model
from session_assets.flow.assets import POOL, key, open_flow
from session_assets.flow.health import health
from session_assets.graph.environment import Environment
from session_assets.masking import safe_text
from session_assets.stores.flow_findings import Finding
from session_assets.stores.flow_recount import recount

ERROR, WARN = dg.AssetCheckSeverity.ERROR, dg.AssetCheckSeverity.WARN
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
    with open_flow(context).reading() as work:
        found = recount(work, names)
        if step == STEPS[1]:
            context.op_execution_context.log_event(health(work))
    Environment.load().report(context.op_execution_context.run_id, step, {"checks": [_plain(one) for one in found]})
    for one in found:
        yield dg.AssetCheckResult(
            asset_key=selected[one.name],
            check_name=one.name,
            passed=one.passed,
            severity=ERROR if one.is_error else WARN,
            description=_said(one),
            metadata=_metadata(one),
        )


def _said(found: Finding) -> str:
    return safe_text(found.text if found.passed else f"{found.text}. {found.next_step}")


def _metadata(found: Finding) -> dict[str, Any]:
    sample = safe_text(", ".join(found.sample))
    return {"count": found.count, "of": found.total, **({"sample": sample} if sample else {})}


def _plain(found: Finding) -> dict[str, Any]:
    return {
        "name": found.name,
        "severity": "ERROR" if found.is_error else "WARN",
        "passed": found.passed,
        "count": found.count,
        "sample": [safe_text(one) for one in found.sample],
        "full_list": None,
        "description": _said(found),
    }


CHECKS: Sequence[dg.AssetChecksDefinition] = [map_checks, tables_checks, schema_checks]
