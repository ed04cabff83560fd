"""Metrics of the migration as an asset, one check each; and the check that the compatibility layer is not kept too long."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Any

import dagster as dg
import polars as pl

from session_assets.changes.evidence import Figures as Counts
from session_assets.changes.evidence import Lack, Target, lack_of_target
from session_assets.errors import NotConfigured
from session_assets.flow import description
from session_assets.flow.compat_model import MIGRATED_ON, ends_on, migrated_on
from session_assets.flow.evidence import known_database
from session_assets.flow.metrics_model import FIGURES, METRICS, SLICE, Metric, metrics
from session_assets.flow.metrics_samples import Samples, read_samples
from session_assets.flow.model import VARIABLE, Migration
from session_assets.graph.check_result import ERROR, WARN, CheckResult, reported
from session_assets.graph.environment import Environment
from session_assets.graph.evidence import Evidence
from session_assets.graph.markdown import Markdown, md, md_table
from session_assets.graph.tables import column_schema
from session_assets.graph.target import StepTarget
from session_assets.settings import number
from session_assets.stores.flow_compat import contracted_at, is_contracted
from session_assets.stores.flow_figures import COUNTED, FAULTS, Figures, figures
from session_assets.stores.flow_holdings import holdings
from session_assets.stores.postgres import Database

OWNERS = ["team:data-platform"]
KEY = dg.AssetKey([SLICE, "metrics"])
DUE = "compatibility_is_due"
REPORT = "checks_metrics"
PATH = "flow/metrics.parquet"
_DAYS, _SECONDS = 7, 60
_ALERTS = {"critical": ERROR}


@dg.asset(
    key=KEY,
    group_name=SLICE,
    owners=OWNERS,
    kinds={"postgresql", "prometheus"},
    check_specs=[
        *(
            dg.AssetCheckSpec(
                one.name, asset=KEY, blocking=True, description=f"{one.wanted}: {one.text} ({one.severity})."
            )
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
    measured, due, lack = _measured(environment)
    rows = [_row(one, measured, samples) for one in chosen]
    found = pl.DataFrame(rows, schema=FIGURES, orient="row")
    environment.storage.write_parquet(PATH, found)
    results = [_check(one, row, samples, lack) for one, row in zip(chosen, found.to_dicts(), strict=True)]
    results.append(due)
    environment.report(context.run_id, REPORT, reported(results))
    counts = sum((one.figures for one in results), Counts())
    said = {"unit": "figures", **counts.as_dict(), "lack": None if lack is None else lack.as_dict()}
    environment.report(context.run_id, "verify", said)
    return dg.MaterializeResult(
        metadata={
            "figures": md(_table(chosen, found)),
            "steps": md(_steps(measured)),
            "path": dg.MetadataValue.path(str(environment.storage.path(PATH))),
            **{name: value for name, value in found.select("metric", "value").iter_rows() if value is not None},
        },
        check_results=[one.result(KEY) for one in results],
    )


def _measured(environment: Environment) -> tuple[Figures, CheckResult, Lack | None]:
    """Figures of the database, with notes if there is none, the end of the compatibility layer, and why it is no evidence."""
    migrated = migrated_on(os.environ)
    try:
        database = Database.from_env(VARIABLE)
    except NotConfigured as error:
        return Figures(notes=dict.fromkeys(COUNTED, str(error))), _due(migrated, None), None
    days = max(1, int(number(os.environ, "FLOW_METRICS_DAYS", _DAYS)))
    migration = description.migration()
    found = figures(database, days, number(os.environ, "FLOW_METRICS_SECONDS", _SECONDS), migration)
    seen = is_contracted(database, migration)
    if migrated is None and seen:
        at = contracted_at(database, migration)
        migrated = at.astimezone(UTC).date() if at else None
    return found, _due(migrated, seen), _lack(environment, database, migration)


def _lack(environment: Environment, database: Database, migration: Migration) -> Lack | None:
    """Why the database is no evidence: its tables are missing, or were emptied."""
    known = known_database(environment, database)
    with database.connected("session_assets metrics") as connection:
        there = holdings(connection, migration)
    return lack_of_target(Target(known.shown, VARIABLE, there, Evidence(environment, SLICE, VARIABLE, known).seen()))


def _row(metric: Metric, measured: Figures, samples: Samples) -> tuple[object, ...]:
    value, source, note = samples.value(metric), "application", ""
    shown, told = measured.values.get(metric.name), value
    hides = metric.name in FAULTS and told is not None and shown is not None and told < shown
    if value is None or hides:
        value, source = shown, "database"
        note = measured.notes.get(metric.name, "")
    if hides:
        note = "; ".join(filter(None, [f"the application says {told:g}, but the database shows more", note]))
    elif value is None or (source == "database" and samples.told(metric) is not None):
        note = "; ".join(filter(None, [note, samples.why_not(metric) if metric.formula else ""]))
    if value is None:
        source = "application" if metric.formula else "database"
    state = "no_data" if value is None else "ok" if metric.holds(value) and not hides else "failed"
    return (
        metric.name, value, metric.comparison, metric.threshold, metric.goal, metric.severity, state, source, note
    )  # fmt: skip


def _check(metric: Metric, row: Mapping[str, Any], samples: Samples, lack: Lack | None) -> CheckResult:
    value, note = row["value"], f" ({row['note']})" if row["note"] else ""
    goal = {}
    if value is None:
        text = f"no data{note}. Nothing can be said of: {metric.wanted}. See docs/flow/metrics.md for where figures come from."
    else:
        text = f"{metric.shown(value)} {metric.text}{note}; wanted {metric.wanted}"
        if metric.goal is not None:
            goal = {"goal": metric.goal, "goal_is_reached": replace(metric, threshold=metric.goal).holds(value)}
    hides = metric.name in FAULTS and row["source"] == "database" and samples.value(metric) is not None
    is_odd = value is None and samples.told(metric) is not None
    return CheckResult(
        metric.name,
        Counts(judged=int(value is not None), unreadable=int(is_odd)),
        int(row["state"] == "failed"),
        text,
        ERROR if hides else _ALERTS.get(metric.severity, WARN),
        metric.next_step,
        metadata={
            "threshold": metric.threshold,
            "severity": metric.severity,
            "source": row["source"],
            **({} if value is None else {"value": value}),
            **goal,
        },
        lack=lack
        if lack is not None and lack.is_error and metric.name in COUNTED and row["source"] == "database"
        else None,
    )


def _due(migrated: date | None, contracted: bool | None) -> CheckResult:
    """Whether the compatibility layer may still be there. `contracted` is what the columns say; None where nobody knows."""
    today, counts = datetime.now(UTC).date(), Counts(judged=int(migrated is not None or contracted is not None))
    if migrated is not None:
        end = ends_on(migrated)
        text = f"Migrated on {migrated}; the compatibility layer is kept until {end}."
        text += "" if today <= end else " That is over."
        step = "Remove it, its flags and the views of session_assets_legacy."
        return CheckResult(DUE, counts, int(today > end), text, WARN, step)
    if contracted:
        text = "The old columns are gone, and no completed contract is recorded that says since when."
        return CheckResult(DUE, counts, 1, text, WARN, f"Set {MIGRATED_ON} to the day of contract.")
    text = "The old columns are there: contract is not done." if contracted is False else (
        f"No table of flows was found, and {MIGRATED_ON} is not set."
    )  # fmt: skip
    return CheckResult(DUE, counts, 0, text, WARN)


def _table(chosen: Sequence[Metric], found: pl.DataFrame) -> Markdown:
    rows = [
        (one.name, "no data" if row["value"] is None else one.shown(row["value"]), one.wanted, one.severity, row["state"],
         row["source"])
        for one, row in zip(chosen, found.to_dicts(), strict=True)
    ]  # fmt: skip
    return md_table(rows, ["metric", "value", "wanted", "severity", "state", "source"])


def _steps(measured: Figures) -> Markdown:
    rows = [(kind, state, f"{seconds:,.1f}") for kind, state, seconds in measured.steps[:20]]
    return md_table(rows, ["step", "state", "seconds"])


ASSETS = [flow_metrics]
CHECKS: list[dg.AssetChecksDefinition] = []
JOBS = [
    dg.define_asset_job(
        "flow_metrics",
        selection=dg.AssetSelection.assets(KEY),
        description="Measure the migration against its thresholds.",
    )
]
TARGETS = [StepTarget(f"{SLICE}/metrics", VARIABLE, verify="flow_metrics", checks=(REPORT,))]
