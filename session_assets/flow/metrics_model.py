"""The metrics of the guide with their thresholds, severities and what to do. Source: S3.

`FLOW_METRICS_FILE`, a TOML file, overrides threshold, goal, severity and formula of each by name.
"""

from __future__ import annotations

import math
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import polars as pl

from session_assets.errors import UsageError

SLICE = "flow"
FILE = "FLOW_METRICS_FILE"

FIGURES = pl.Schema(
    {
        "metric": pl.String,
        "value": pl.Float64,  # null: no data
        "comparison": pl.String,  # above | below | at_most: how the value must stand to the threshold
        "threshold": pl.Float64,
        "goal": pl.Float64,
        "severity": pl.String,  # critical | high | medium
        "state": pl.String,  # ok | failed | no_data
        "source": pl.String,  # database | application
        "note": pl.String,
    }
)
"""One row a metric."""


@dataclass(frozen=True)
class Metric:
    """One figure. `formula` says how the application's samples give it; shares are 0…1, ratios are to a baseline."""

    name: str
    text: str
    comparison: str
    threshold: float
    severity: str
    next_step: str
    formula: str = ""
    goal: float | None = None
    is_share: bool = False

    def holds(self, value: float) -> bool:
        if self.comparison == "above":
            return value > self.threshold
        return value < self.threshold if self.comparison == "below" else value <= self.threshold

    def is_possible(self, value: float) -> bool:
        return 0 <= value <= (1 if self.is_share else math.inf)

    def shown(self, value: float) -> str:
        return f"{value:.2%}" if self.is_share else f"{value:,.4g}"

    @property
    def range(self) -> str:
        return "a share between 0 and 1" if self.is_share else "at least 0"

    @property
    def wanted(self) -> str:
        words = {"above": "above", "below": "below", "at_most": "at most"}[self.comparison]
        return f"{words} {self.shown(self.threshold)}"


_FLOWS = "Look at the flows that failed, and at the application's log since the last step."
METRICS = (
    Metric("migration_errors", "steps of the migration failed", "at_most", 0, "critical",
           "`session-assets apply flow` goes on where it stopped; the step's note says why it did."),
    Metric("foreign_key_violations", "rows break a foreign key", "at_most", 0, "critical",
           "Correct the rows that the note names, or go back: `session-assets revert flow --plan-id STEP`."),
    Metric("flow_creation_errors", "flows could not be created", "at_most", 5, "high", _FLOWS, "flow_creation_errors_total"),
    Metric("flow_creation_success_rate", "of flows were created", "above", 0.95, "high", _FLOWS,
           "flow_creation_success_total / flow_creation_total", is_share=True),
    Metric("discovery_flow_completion_rate", "of finished flows were completed", "above", 0.90, "high", _FLOWS,
           "discovery_flow_completed_total / discovery_flow_finished_total", is_share=True),
    Metric("data_import_success_rate", "of imports succeeded", "above", 0.95, "high",
           "Look at the imports that failed; do they still send session_id?",
           "data_import_success_total / data_import_total", is_share=True),
    Metric("user_session_continuity", "of sessions go on as flows", "above", 0.98, "high",
           "Look at flow/session_flow_map for sessions without a flow.",
           "user_sessions_continued_total / user_sessions_total", is_share=True),
    Metric("api_response_time_ratio", "times the baseline's API response time", "below", 2.0, "medium",
           "Look for slow queries, and whether the indexes on flow_id are used.",
           "api_response_seconds / api_response_seconds_baseline", goal=1.1),
    Metric("flow_execution_time_ratio", "times the baseline's flow execution time", "below", 1.05, "medium",
           "Look for slow queries, and whether the indexes on flow_id are used.",
           "flow_execution_seconds / flow_execution_seconds_baseline"),
    Metric("error_rate_ratio", "times the baseline's error rate", "below", 1.05, "medium",
           "Look at the errors that are new: requests that still send session_id?", "error_rate / error_rate_baseline"),
)  # fmt: skip
SEVERITIES = ("critical", "high", "medium")
_FIELDS = {"threshold", "goal", "severity", "formula"}
_TERM = re.compile(r"[A-Za-z_:][\w:]*(?:\{[^}]*\})?|\d+(?:\.\d+)?(?:[eE][+-]?\d+)?")


def metrics(env: Mapping[str, str]) -> tuple[Metric, ...]:
    """The metrics with what FLOW_METRICS_FILE says of them. Raises `UsageError` for what it cannot say."""
    if not env.get(FILE):
        return METRICS
    try:
        given: dict[str, Any] = tomllib.loads(Path(env[FILE]).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"{FILE} cannot be read: {type(error).__name__}: {error}") from None
    known = {one.name for one in METRICS}
    if unknown := sorted(given.keys() - known):
        raise UsageError(f"{FILE} names {unknown[0]}, which is no metric. There are: {', '.join(sorted(known))}.")
    return tuple(_changed(one, given.get(one.name, {})) for one in METRICS)


def terms(formula: str) -> list[str]:
    """The operands of a formula, to be divided from left to right. Raises `UsageError`."""
    found = [part.strip() for part in formula.split(" / ")]
    if not all(_TERM.fullmatch(one) for one in found):
        raise UsageError(f"{FILE}: a formula is names of samples or numbers with ` / ` between them, not {formula!r}.")
    return found


def _changed(metric: Metric, given: Any) -> Metric:
    if not isinstance(given, dict):
        raise UsageError(f"{FILE}: {metric.name} is no table. It may have {', '.join(sorted(_FIELDS))}.")
    if unknown := sorted(given.keys() - _FIELDS):
        raise UsageError(f"{FILE}: {metric.name} has {unknown[0]}. It may have {', '.join(sorted(_FIELDS))}.")
    for name in ("threshold", "goal"):
        value = given.get(name, 0)
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise UsageError(f"{FILE}: {name} of {metric.name} is no number.")
        if not metric.is_possible(value):
            raise UsageError(f"{FILE}: {name} of {metric.name} must be {metric.range}.")
    if given.get("severity", "high") not in SEVERITIES:
        raise UsageError(f"{FILE}: severity of {metric.name} must be one of {', '.join(SEVERITIES)}.")
    if not isinstance(given.get("formula", ""), str):
        raise UsageError(f"{FILE}: formula of {metric.name} is no text.")
    if given.get("formula"):
        terms(given["formula"])
    return replace(metric, **given)
