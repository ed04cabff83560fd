"""Metrics of the migration as an asset, one check each; and the check that the compatibility layer is not kept too long."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Any

import dagster as dg
import polars as pl

from session_assets.errors import SessionAssetsError
from session_assets.flow.compat_model import MIGRATED_ON, ends_on, migrated_on
from session_assets.flow.metrics_model import FIGURES, METRICS, SLICE, Metric, metrics
from session_assets.flow.metrics_samples import Samples, read_samples
from session_assets.flow.model import VARIABLE
from session_assets.graph.environment import Environment
from session_assets.graph.tables import column_schema, markdown
from session_assets.settings import number
from session_assets.stores.flow_compat import contracted_at
from session_assets.stores.flow_figures import COUNTED, Figures, figures
from session_assets.stores.postgres import Database

OWNERS = ["team:data-platform"]
KEY = dg.AssetKey([SLICE, "metrics"])
DUE = "compatibility_is_due"
PATH = "flow/metrics.parquet"
_DAYS, _SECONDS = 7, 60
_ALERTS = {"critical": dg.AssetCheckSeverity.ERROR}


@dg.asset(
    key=KEY,
    group_name=SLICE,
    owners=OWNERS,
    kinds={"postgresql", "prometheus"},
    check_specs=[
        *(
            dg.AssetCheckSpec(one.name, asset=KEY, description=f"{one.wanted}: {one.text} ({one.severity}).")
            for one in METRICS
        ),
        dg.AssetCheckSpec(DUE, asset=KEY, description="The six months of the compatibility layer are not over."),
    ],
    metadata={"dagster/column_schema": column_schema(FIGURES)},
)
def flow_metrics(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
    """The guide's metrics against their thresholds: from the database, and from what the application says of itself."""
    environment, chosen = Environment.load(), metrics(os.environ)
    samples = read_samples(os.environ)
    measured, migrated = _measured(context)
    rows = [_row(one, measured, samples) for one in chosen]
    found = pl.DataFrame(rows, schema=FIGURES, orient="row")
    environment.storage.write_parquet(PATH, found)
    results = [_check(one, row) for one, row in zip(chosen, found.to_dicts(), strict=True)]
    results.append(_due(migrated, datetime.now(UTC).date()))
    environment.report(context.run_id, "checks_metrics", {"checks": [_as_json(one) for one in results]})
    return dg.MaterializeResult(
        metadata={
            "figures": dg.MetadataValue.md(_table(chosen, found)),
            "steps": dg.MetadataValue.md(_steps(measured)),
            "path": dg.MetadataValue.path(str(environment.storage.path(PATH))),
            **{name: value for name, value in found.select("metric", "value").iter_rows() if value is not None},
        },
        check_results=results,
    )


def _measured(context: dg.AssetExecutionContext) -> tuple[Figures, date | None]:
    """Figures of the database, with notes where it cannot be asked, and the day of contract."""
    migrated = migrated_on(os.environ)
    try:
        database = Database.from_env(VARIABLE)
        days = max(1, int(number(os.environ, "FLOW_METRICS_DAYS", _DAYS)))
        found = figures(database, days, number(os.environ, "FLOW_METRICS_SECONDS", _SECONDS))
        at = None if migrated else contracted_at(database)
        return found, migrated or (at.astimezone(UTC).date() if at else None)
    except SessionAssetsError as error:
        context.log.warning(str(error))
        return Figures(notes=dict.fromkeys(COUNTED, str(error))), migrated


def _row(metric: Metric, measured: Figures, samples: Samples) -> tuple[object, ...]:
    value, source, note = samples.value(metric), "application", ""
    if value is None:
        value, source = measured.values.get(metric.name), "database"
        note = measured.notes.get(metric.name, "")
    if value is None or (source == "database" and samples.told(metric) is not None):
        note = "; ".join(filter(None, [note, samples.why_not(metric) if metric.formula else ""]))
    if value is None:
        source = "application" if metric.formula else "database"
    state = "no_data" if value is None else "ok" if metric.holds(value) else "failed"
    return (
        metric.name, value, metric.comparison, metric.threshold, metric.goal, metric.severity, state, source, note
    )  # fmt: skip


def _check(metric: Metric, row: Mapping[str, Any]) -> dg.AssetCheckResult:
    value, note = row["value"], f" ({row['note']})" if row["note"] else ""
    if value is None:
        text = f"no data{note}. Nothing can be said of: {metric.wanted}. See docs/flow_metrics.md for where figures come from."
        severity = dg.AssetCheckSeverity.WARN
    else:
        text = f"{metric.shown(value)} {metric.text}{note}; wanted {metric.wanted}"
        text += "." if row["state"] == "ok" else f". {metric.next_step}"
        severity = _ALERTS.get(metric.severity, dg.AssetCheckSeverity.WARN)
    goal = {}
    if metric.goal is not None and value is not None:
        goal = {"goal": metric.goal, "goal_is_reached": replace(metric, threshold=metric.goal).holds(value)}
    return dg.AssetCheckResult(
        check_name=metric.name,
        passed=row["state"] == "ok",
        severity=severity,
        description=text,
        metadata={
            "threshold": metric.threshold,
            "severity": metric.severity,
            "source": row["source"],
            **({} if value is None else {"value": value}),
            **goal,
        },
    )


def _due(migrated: date | None, today: date) -> dg.AssetCheckResult:
    """Whether the compatibility layer may still stand."""
    if migrated is None:
        text, passed = f"No contract is recorded, and {MIGRATED_ON} is not set.", True
    else:
        end = ends_on(migrated)
        passed = today <= end
        text = f"Migrated on {migrated}; the compatibility layer is kept until {end}."
        text += "" if passed else " That is over: remove it, its flags and the views of session_assets_legacy."
    return dg.AssetCheckResult(check_name=DUE, passed=passed, severity=dg.AssetCheckSeverity.WARN, description=text)


def _table(chosen: Sequence[Metric], found: pl.DataFrame) -> str:
    rows = [
        (one.name, "no data" if row["value"] is None else one.shown(row["value"]), one.wanted, one.severity, row["state"],
         row["source"])
        for one, row in zip(chosen, found.to_dicts(), strict=True)
    ]  # fmt: skip
    return markdown(rows, ["metric", "value", "wanted", "severity", "state", "source"])


def _steps(measured: Figures) -> str:
    rows = [(kind, state, f"{seconds:,.1f}") for kind, state, seconds in measured.steps[:20]]
    return markdown(rows, ["step", "state", "seconds"])


def _as_json(result: dg.AssetCheckResult) -> dict[str, Any]:
    return {
        "name": result.check_name,
        "severity": result.severity.value,
        "passed": result.passed,
        "count": int(not result.passed),
        "sample": [],
        "full_list": {},
        "description": result.description,
    }


ASSETS = [flow_metrics]
CHECKS: list[dg.AssetChecksDefinition] = []
JOBS = [
    dg.define_asset_job(
        "flow_metrics",
        selection=dg.AssetSelection.assets(KEY),
        description="Measure the migration against its thresholds.",
    )
]
TARGETS: list[Any] = []
