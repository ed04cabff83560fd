"""A step that materializes many partitions of an asset in one run, each with its own events.

Dagster would log a materialization for every key of a range, also for days without a document and for those that failed.
The tag `dagster/defer_asset_events` (found in the source of 1.13.27, covered by our tests) leaves the logging to us. Setting it
on the run in memory works because all jobs use the in-process executor.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, cast

from dagster import AssetCheckExecutionContext, AssetExecutionContext, AssetKey, AssetMaterialization
from dagster._core.events import AssetMaterializationPlannedData, DagsterEvent

from session_assets.graph.environment import Environment
from session_assets.graph.keys import TAG, WHOLE_TAG, decode
from session_assets.graph.partition_checks import keep_connections
from session_assets.masking import safe_text
from session_assets.progress import tell

DEFER_TAG = {"dagster/defer_asset_events": "true"}


def asked_keys(context: AssetExecutionContext | AssetCheckExecutionContext) -> list[str]:
    """The partitions that a run is about: those of the terminal's tag, else all of the run."""
    op = context.op_execution_context
    keys = list(op.partition_keys)
    text = op.run.tags.get(TAG)
    return keys if text is None else decode(text, keys)


def is_whole(context: AssetExecutionContext | AssetCheckExecutionContext) -> bool:
    """Whether a run is about all documents."""
    return WHOLE_TAG in context.op_execution_context.run.tags


class Step:
    """One partitioned asset in one run."""

    def __init__(self, context: AssetExecutionContext, key: AssetKey) -> None:
        keep_connections(context.instance)
        self._context = context
        self.key = key
        self.run_id = context.run_id
        self.environment = Environment.load()
        self.planned_by_dagster = TAG not in context.run.tags
        if context.run.tags.get("dagster/defer_asset_events") != "true":
            context.instance.add_run_tags(context.run_id, DEFER_TAG)
            cast(dict[str, str], context.run.tags).update(DEFER_TAG)
        self.asked = asked_keys(context)
        self.whole = is_whole(context)

    def wanted(self) -> list[str]:
        """The partitions of this run that no earlier step set aside."""
        failed = self.environment.failures(self.run_id)
        return [key for key in self.asked if key not in failed]

    def finish(self, metadata: Mapping[str, Mapping[str, Any]], failures: Mapping[str, str]) -> None:
        """Log a materialization of each partition in `metadata`, and set the failed ones aside.

        Days that hold nothing are materialized too, where somebody asked for just these days.
        """
        self.environment.set_aside(self.run_id, dict(failures))
        all_failed = self.environment.failures(self.run_id)
        for partition in self.asked:
            if partition not in all_failed:
                entries = dict(metadata.get(partition, {"documents": 0}))
                self._context.log_event(AssetMaterialization(self.key, partition=partition, metadata=entries))
        for partition, reason in failures.items():
            self._context.log.error(f"partition {partition} is set aside: {safe_text(reason)}")
            if not self.planned_by_dagster:
                self._plan_event(partition)

    def _plan_event(self, partition: str) -> None:
        """A partition counts as failed only where its materialization was planned."""
        planned = AssetMaterializationPlannedData(self.key, partition=partition, partitions_subset=None)
        event = DagsterEvent.build_asset_materialization_planned_event(
            self._context.job_name, "__".join(self.key.path), planned
        )
        self._context.instance.report_dagster_event(event, self.run_id)


class LogProgress:
    """Progress as log lines, at most one in `every` seconds, with rate and remaining time."""

    def __init__(self, log: Callable[[str], None], what: str, every: float = 5.0) -> None:
        self._log, self._what, self._every = log, what, every
        self._began = self._last = time.monotonic()

    def __call__(self, done: int, total: int) -> None:
        tell(self._what, done, total)
        now = time.monotonic()
        if now - self._last < self._every and done != total:
            return
        self._last = now
        rate = done / max(now - self._began, 1e-9)
        left = f", about {(total - done) / rate:.0f} s left" if 0 < done < total and rate else ""
        self._log(f"{self._what}: {done:,} of {total:,} ({rate:,.0f}/s{left})")
