"""Dropped event files as partitions of `web/event_drops`: checked whole, then ingested as applications ingest."""

import time
from pathlib import Path
from typing import Any

import dagster as dg

from session_assets.drops.folder import drop_key, find_drops, fingerprint, private_copy
from session_assets.errors import BadInput
from session_assets.failpoints import failpoint
from session_assets.graph.environment import Environment
from session_assets.graph.markdown import md, md_table
from session_assets.graph.step import LogProgress
from session_assets.graph.tables import column_schema
from session_assets.masking import safe_text
from session_assets.stores.mongo import database
from session_assets.stores.mongo_indexes import create_event_indexes_if_empty
from session_assets.stores.mongo_ingest import EventIngest, IngestResult
from session_assets.web import model
from session_assets.web.assets import OWNERS, key
from session_assets.web.drops import EVENTS, REJECTED, DropSummary, check_drop, read_drop
from session_assets.web.ingest import event_documents
from session_assets.web.mapping import BESIDE_DROPS, DropMapping, load_mapping
from session_assets.web.quarantine import keep_rejected
from session_assets.web.stored import refuse_ingest

FILES_NAME = "web_event_files"
FILES = dg.DynamicPartitionsDefinition(name=FILES_NAME)
FOLDER = "web_events"


class DropConfig(dg.Config):
    """Where the file lies, when it is not in the drop folder."""

    path: str | None = None


@dg.asset(
    key=key("event_drops"),
    partitions_def=FILES,
    group_name=model.SLICE,
    owners=OWNERS,
    kinds={"csv", "mongodb"},
    pool="web_mongodb",
    metadata={"dagster/column_schema": column_schema(EVENTS)},
)
def event_drops(context: dg.AssetExecutionContext, config: DropConfig) -> dg.MaterializeResult:
    """One dropped file of events. Its events get ids made of their content, so a second ingest adds nothing."""
    refuse_ingest()
    environment = Environment.load()
    partition = context.partition_key
    original = Path(config.path) if config.path else _find(environment.settings.drops / FOLDER, partition)
    with environment.storage.scratch() as scratch:
        copy, sha256, size = private_copy(original, scratch)
        if drop_key(original, sha256) != partition:
            raise BadInput(f"{original.name} is not the file that {partition} stands for: its content has changed.")
        mapping = load_mapping(original)
        summary = check_drop(copy, mapping, original)
        failpoint("drops.after_check")
        result, seconds = _ingest(context, copy, mapping, summary, environment, partition)
        folder = f"web/event_drops/{partition}/errors"
        bad = (batch.rejected for batch in read_drop(copy, mapping, summary))
        error_file = keep_rejected(environment.storage, folder, original, summary, bad, scratch)
    rejected = sum(summary.rejected.values())
    for note in summary.notes:
        context.log.warning(f"{safe_text(original.name)}: {note}")
    environment.report(
        context.run_id,
        "ingest",
        {
            "file": original.name,
            "partition": partition,
            "rows": summary.rows,
            "events": summary.events,
            "inserted": result.inserted,
            "already_there": result.already_there,
            "sessions_created": result.sessions_created,
            "sessions_updated": result.sessions_updated,
            "rejected": summary.rejected,
            "rejected_lines": summary.rejected_lines,
            "error_file": error_file,
            "notes": summary.notes,
        },
    )
    context.log_event(
        dg.AssetObservation(key("events"), metadata={"dagster/row_count": _count(), "from_file": original.name})
    )
    return dg.MaterializeResult(
        metadata={
            "dagster/row_count": summary.rows,
            "events": summary.events,
            "inserted": result.inserted,
            "already_there": result.already_there,
            "sessions_created": result.sessions_created,
            "sessions_updated": result.sessions_updated,
            "rejected": rejected,
            "rejected_lines": summary.rejected_lines,
            **({"error_file": dg.MetadataValue.path(error_file)} if error_file else {}),
            "rejected_rows": dg.MetadataValue.path(
                str(environment.storage.path(f"web/event_drops/{partition}/rejected"))
            ),
            "rejects": md(md_table(sorted(summary.rejected.items()), ["reason", "rows"])),
            "sha256": sha256,
            "bytes": size,
            "events_per_second": round(summary.events / seconds) if seconds else 0,
        }
    )


def _ingest(
    context: dg.AssetExecutionContext,
    copy: Path,
    mapping: DropMapping,
    summary: DropSummary,
    environment: Environment,
    partition: str,
) -> tuple[IngestResult, float]:
    db = database(model.VARIABLE, model.DATABASE)
    for name in create_event_indexes_if_empty(db):
        context.log.info(f"the collections were empty: created the index {name}")
    store = EventIngest(db)
    progress = LogProgress(context.log.info, "events")
    total, done, began = IngestResult(), 0, time.monotonic()
    rejects = 0
    for batch in read_drop(copy, mapping, summary):
        total += store.ingest(event_documents(batch.events))
        failpoint("drops.after_batch")
        done += batch.events.height
        progress(done, summary.events)
        if batch.rejected.height:
            name = f"web/event_drops/{partition}/rejected/{rejects:05d}.parquet"
            environment.storage.write_parquet(name, batch.rejected.select(REJECTED.names()))
            rejects += 1
    return total, time.monotonic() - began


def _find(folder: Path, partition: str) -> Path:
    """The file of the drop folder that a partition stands for, told by its content."""
    found = (
        [path for path in find_drops(folder, beside=BESIDE_DROPS) if not path.is_symlink()] if folder.is_dir() else []
    )
    prefix = partition.rsplit("@", 1)[0]
    for path in found:
        if drop_key(path, "").startswith(f"{prefix}@") and drop_key(path, fingerprint(path)) == partition:
            return path
    raise BadInput(f"{folder} holds no file for {partition}. Drop it there again, or give its path in the config.")


def _count() -> int:
    return database(model.VARIABLE, model.DATABASE)[model.EVENTS].estimated_document_count()


def launch_config(path: Path) -> dict[str, Any]:
    """Run config for a file outside the drop folder."""
    return {"ops": {"__".join(key("event_drops").path): {"config": {"path": str(path)}}}}
