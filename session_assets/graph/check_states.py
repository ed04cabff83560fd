"""What the checks say now: the newest verdict of each, over all partitions, from the events of Dagster.

A run over some partitions says nothing of the others, so verdicts of partitions are counted since the newest run over the
whole collection. Borrowed from Dagster 1.13.27: check executions by partition.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from dagster import AssetCheckEvaluation, AssetCheckKey, AssetCheckSeverity, AssetKey, DagsterInstance, RunsFilter
from dagster._core.event_api import PartitionKeyFilter
from dagster._core.storage.asset_check_execution_record import (
    AssetCheckExecutionRecord,
    AssetCheckExecutionRecordStatus,
)

from session_assets.graph.check_result import NO_EVIDENCE
from session_assets.graph.keys import WHOLE_TAG
from session_assets.graph.markdown import plain
from session_assets.graph.partition_checks import keep_connections

_DONE = {AssetCheckExecutionRecordStatus.SUCCEEDED, AssetCheckExecutionRecordStatus.FAILED}
_SUMMARIES = 25  # of a check that are looked through for one of the whole collection
_MOST_SUMMARIES = 2000  # where none of those is
LONGEST = 6 * 3600
"""Seconds for which a run that is not over is believed to be at work."""
_PARTITIONS = 100  # failing ones that are counted one by one


@dataclass(frozen=True)
class CheckState:
    """One check. `passed` is None where nothing is known, or while a run that decides it is under way.

    `count` is that of the findings; `seen` and `verified` are UTC: of the newest verdict, and of the newest one about the whole
    collection.
    """

    key: AssetCheckKey
    passed: bool | None
    severity: AssetCheckSeverity = AssetCheckSeverity.ERROR
    count: int = 0
    description: str = ""
    next_step: str = ""
    run_id: str | None = None
    seen: datetime | None = None
    verified: datetime | None = None
    partitions: list[str] = field(default_factory=list[str])
    no_evidence: bool = False
    """Whether it failed because too little was judged, not because something is wrong."""
    under_way: bool = False
    """Whether a run is at work that may change this without another verdict."""

    @property
    def slice_(self) -> str:
        return self.key.asset_key.path[0]

    @property
    def name(self) -> str:
        """`slice/asset: check`."""
        return f"{self.key.asset_key.to_user_string()}: {self.key.name}"


def check_states(instance: DagsterInstance, keys: Mapping[AssetCheckKey, bool]) -> list[CheckState]:
    """The state of checks; the values say whether a check has partitions."""
    keep_connections(instance)
    known = instance.event_log_storage.get_latest_asset_check_execution_by_key([*keys])
    return [
        CheckState(key, None) if key not in known else _partitioned(instance, key) if split else _plain(instance, key)
        for key, split in keys.items()
    ]


def fingerprint(instance: DagsterInstance, keys: Mapping[AssetCheckKey, bool]) -> str:
    """Changes with every verdict: one query, where the states take some for each check."""
    found = instance.event_log_storage.get_latest_asset_check_execution_by_key([*keys])
    told = sorted((*key.asset_key.path, key.name, str(one.id), one.status.value) for key, one in found.items())
    return hashlib.sha256(repr(told).encode()).hexdigest()


def _plain(instance: DagsterInstance, key: AssetCheckKey) -> CheckState:
    found = instance.event_log_storage.get_asset_check_execution_history(key, limit=1, status=_DONE)
    if not found:
        return CheckState(key, None)
    whole, _ = _newest_whole(instance, key, _SUMMARIES, set(), lambda run: not run.is_of_partition)
    return _state(key, found[0], whole)


def _partitioned(instance: DagsterInstance, key: AssetCheckKey) -> CheckState:
    storage = instance.event_log_storage
    verdicts = [one for one in storage.get_asset_check_partition_info([key]) if one.partition_key is not None]
    whole, runs = _newest_whole(instance, key, _SUMMARIES, {one.latest_planned_run_id for one in verdicts}, _is_whole)
    fresh = [one for one in verdicts if not _is_superseded(one.latest_planned_run_id, whole, runs)]
    failing = sorted(str(one.partition_key) for one in fresh if one.latest_execution_status.value == "FAILED")
    if any(_is_open(one, runs, failing) for one in fresh):
        running = any(not runs[one.latest_planned_run_id].is_over for one in fresh if one.latest_planned_run_id in runs)
        return CheckState(key, None, verified=_moment(whole) if whole else None, under_way=running)
    newest = storage.get_asset_check_execution_history(key, limit=1, status=_DONE)
    if whole is not None and newest[0].id == whole.id:
        return _state(key, whole, whole, failing)
    verified = _moment(whole) if whole else None
    if not failing:
        run_id, seen = (newest[0].run_id, _moment(newest[0])) if newest else (None, None)
        return CheckState(key, True if newest else None, run_id=run_id, seen=seen, verified=verified)
    return _counted(storage, key, failing, newest[0], whole)


def _newest_whole(
    instance: DagsterInstance, key: AssetCheckKey, limit: int, more: set[str], of_all: Callable[[_Run], bool]
) -> tuple[AssetCheckExecutionRecord | None, dict[str, _Run]]:
    """The newest verdict by a run `of_all`, about the whole collection, and the runs that were looked through, with `more`."""
    summaries = instance.event_log_storage.get_asset_check_execution_history(
        key, limit=limit, status=_DONE, partition_filter=PartitionKeyFilter(key=None)
    )
    runs = _runs(instance, {*(one.run_id for one in summaries), *more})
    whole = next((one for one in summaries if one.run_id in runs and of_all(runs[one.run_id])), None)
    if whole is None and len(summaries) == limit < _MOST_SUMMARIES:
        return _newest_whole(instance, key, _MOST_SUMMARIES, more, of_all)
    return whole, runs


@dataclass(frozen=True)
class _Run:
    is_whole: bool
    is_of_partition: bool
    is_success: bool
    began: float
    ended: float | None

    @property
    def is_over(self) -> bool:
        return self.ended is not None


def _is_whole(run: _Run) -> bool:
    return run.is_whole


def _runs(instance: DagsterInstance, ids: set[str]) -> dict[str, _Run]:
    records = instance.get_run_records(RunsFilter(run_ids=[*ids])) if ids else []
    return {
        one.dagster_run.run_id: _Run(
            WHOLE_TAG in one.dagster_run.tags,
            "dagster/partition" in one.dagster_run.tags,
            one.dagster_run.is_success,
            one.create_timestamp.timestamp(),
            one.end_time if one.dagster_run.is_finished else None,
        )
        for one in records
    }


def _is_superseded(run_id: str, whole: AssetCheckExecutionRecord | None, runs: Mapping[str, _Run]) -> bool:
    """Whether the run of a verdict was over before the newest one of the whole collection: its partition is empty by now."""
    if whole is None or run_id == whole.run_id:
        return False
    ended = runs[run_id].ended if run_id in runs else 0.0  # the run was purged
    return ended is not None and ended <= runs[whole.run_id].began


def _is_open(verdict: Any, runs: Mapping[str, _Run], failing: list[str]) -> bool:
    """Whether a run that decides is under way, or broke off before it did and nothing else is known to fail.

    A partition that a good run left out holds nothing. A run that was killed may be said to run for ever: it has some hours.
    """
    run = runs.get(verdict.latest_planned_run_id)
    if run is None or run.is_success:
        return False
    if not run.is_over:
        return time.time() - run.began < LONGEST
    return verdict.latest_execution_status.value == "PLANNED" and not failing


def _counted(storage: Any, key: AssetCheckKey, failing: list[str], newest: Any, whole: Any) -> CheckState:
    """The state of a check whose failing partitions several runs told."""
    found: list[AssetCheckExecutionRecord] = []
    for partition in failing[:_PARTITIONS]:
        found += storage.get_asset_check_execution_history(
            key, limit=1, status=_DONE, partition_filter=PartitionKeyFilter(key=partition)
        )
    states = [_state(key, one, whole) for one in found]
    worst = max(states, key=lambda one: (one.severity == AssetCheckSeverity.ERROR, one.count))
    count = sum(one.count for one in states)
    more = "" if len(failing) <= _PARTITIONS else f" (of the first {_PARTITIONS})"
    text = f"{count:,}{more} in {len(failing):,} partitions, for example {failing[0]}. {worst.description}"
    return CheckState(
        key,
        False,
        worst.severity,
        count,
        text,
        worst.next_step,
        worst.run_id,
        _moment(newest),
        _moment(whole) if whole else None,
        failing,
        any(one.no_evidence for one in states),
    )


def _state(
    key: AssetCheckKey,
    record: AssetCheckExecutionRecord,
    whole: AssetCheckExecutionRecord | None,
    partitions: list[str] | None = None,
) -> CheckState:
    evaluation = record.evaluation
    assert isinstance(evaluation, AssetCheckEvaluation)
    said = {name: value.value for name, value in evaluation.metadata.items()}
    found = said.get("count", said.get("partitions_with_findings", said.get("failed", 0)))
    return CheckState(
        key,
        evaluation.passed,
        evaluation.severity,
        int(found) if isinstance(found, int | float) else 0,
        plain(evaluation.description or ""),
        str(said.get("next_step", "")),
        record.run_id,
        _moment(record),
        _moment(whole) if whole else None,
        partitions or [],
        NO_EVIDENCE in said,
    )


def _moment(record: AssetCheckExecutionRecord) -> datetime:
    assert record.event is not None
    return datetime.fromtimestamp(record.event.timestamp, UTC)


def keys_of(assets: Iterable[AssetKey], graph: Any) -> dict[AssetCheckKey, bool]:
    """The checks of assets, and whether they have partitions."""
    keys = sorted(graph.get_check_keys_for_assets(set(assets)), key=lambda one: (one.asset_key.path, one.name))
    return {key: graph.get(key).partitions_def is not None for key in keys}
