"""What happens by itself: dropped files are ingested, and each morning all sessions are verified."""

import json
import time
from pathlib import Path
from typing import Any

import dagster as dg

from session_assets.errors import BadInput
from session_assets.graph.environment import Environment
from session_assets.graph.keys import TAG, encode
from session_assets.graph.step import DEFER_TAG
from session_assets.masking import safe_text
from session_assets.web.assets import DAYS, key, open_web
from session_assets.web.drop_assets import FILES, FILES_NAME, FOLDER
from session_assets.web.drop_folder import drop_key, find_drops, fingerprint, is_complete, look

_TICK_SECONDS = 40.0  # a tick has 60
_RUNS_PER_TICK = 25

DROP_JOB = dg.define_asset_job(
    "web_ingest", selection=dg.AssetSelection.assets(key("event_drops")), description="Ingest a dropped file of events."
)


@dg.sensor(
    job=DROP_JOB,
    minimum_interval_seconds=10,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Ingests event files from the drop folder once they are complete: a .done marker, or unchanged over two ticks.",
)
def web_event_drops_sensor(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
    """One run a new file. A file with content that was ingested before is told, not run."""
    folder = Environment.load().settings.drops / FOLDER
    if not folder.is_dir():
        return dg.SkipReason(f"{folder} does not exist: create it to drop event files there")
    seen: dict[str, Any] = json.loads(context.cursor) if context.cursor else {}
    known = set(context.instance.get_dynamic_partitions(FILES_NAME))
    requests: list[dg.RunRequest] = []
    notes: list[str] = []
    now: dict[str, Any] = {}
    deadline = time.monotonic() + _TICK_SECONDS
    for path in find_drops(folder):
        entry = seen.get(path.name, {})
        now[path.name] = entry
        if len(requests) >= _RUNS_PER_TICK or time.monotonic() > deadline:
            continue
        try:
            _consider(context, path, entry, now, known, requests, notes)
        except OSError as error:
            notes.append(f"{path.name}: {error.strerror}; looked at again")
        except BadInput as error:
            notes.append(safe_text(error))
    keys = [str(request.partition_key) for request in requests]
    fresh = [one for one in dict.fromkeys(keys) if one not in known]
    if notes:
        context.log.info("; ".join(notes[:20]))
    return dg.SensorResult(
        run_requests=requests,
        cursor=json.dumps(now),
        dynamic_partitions_requests=[FILES.build_add_request(fresh)] if fresh else [],
        skip_reason=None if requests else dg.SkipReason("; ".join(notes[:5]) or "no new complete file"),
    )


def _consider(
    context: dg.SensorEvaluationContext,
    path: Path,
    entry: dict[str, Any],
    now: dict[str, Any],
    known: set[str],
    requests: list[dg.RunRequest],
    notes: list[str],
) -> None:
    if path.is_symlink():
        raise BadInput(f"{path.name} is a symbolic link and is not followed: drop the file itself")
    current = list(look(path))
    if entry.get("taken") == current:
        return
    previous = entry.get("look")
    if not is_complete(path, tuple(previous) if previous else None):
        now[path.name] = {**entry, "look": current}
        return
    partition = drop_key(path, fingerprint(path))
    attempt = entry.get("attempt", 0) + 1
    now[path.name] = {"look": current, "taken": current, "attempt": attempt}
    if partition in known and _is_ingested(context.instance, partition):
        notes.append(f"{path.name} was ingested before, as {partition}: nothing to do")
        return
    requests.append(dg.RunRequest(run_key=f"{partition}#{attempt}", partition_key=partition))


def _is_ingested(instance: dg.DagsterInstance, partition: str) -> bool:
    found = instance.fetch_materializations(
        dg.AssetRecordsFilter(asset_key=key("event_drops"), asset_partitions=[partition]), limit=1
    )
    return bool(found.records)


@dg.schedule(
    job_name="web_verify",
    cron_schedule="0 6 * * *",
    default_status=dg.DefaultScheduleStatus.STOPPED,
    description="Verify all sessions each morning (UTC).",
)
def web_daily_verify(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
    """One run over the days that hold documents."""
    keys = open_web(Environment.load()).source.standing()["partition"].to_list()
    return verify_request(keys) if keys else dg.SkipReason("the collection holds no document")


def verify_request(keys: list[str]) -> dg.RunRequest:
    order = DAYS.get_partition_keys()
    return dg.RunRequest(
        tags={
            "dagster/asset_partition_range_start": min(keys),
            "dagster/asset_partition_range_end": max(keys),
            TAG: encode(keys, order),
            **DEFER_TAG,
        }
    )


SENSORS = [web_event_drops_sensor]
SCHEDULES = [web_daily_verify]
