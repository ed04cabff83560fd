"""Kintell files become sessions; what else comes of an import is in `results`."""

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import dagster as dg

from session_assets.drops.split import RECORDS
from session_assets.errors import Paused, UsageError
from session_assets.graph.environment import Environment
from session_assets.graph.markdown import md, md_table, prose
from session_assets.graph.tables import column_schema
from session_assets.kintell import model
from session_assets.kintell.attempt import Options
from session_assets.kintell.evidence import require_imports_evidence
from session_assets.kintell.files import Taken
from session_assets.kintell.importing import DEFAULT_BATCH_SIZE
from session_assets.kintell.imports import Imports
from session_assets.kintell.jobs import Job, Policy
from session_assets.masking import safe_text
from session_assets.settings import Settings
from session_assets.stores.kintell_recount import session_count

FILES_NAME = "kintell_files"
FILES = dg.DynamicPartitionsDefinition(name=FILES_NAME)
OWNERS = ["team:data-platform"]
POOL = "kintell_postgres"


def key(name: str) -> dg.AssetKey:
    return dg.AssetKey([model.SLICE, name])


def open_imports(environment: Environment) -> Imports:
    """Raises `NotConfigured` where KINTELL_DATABASE_URL is unset."""
    return Imports(environment.settings, environment.storage)


class DropConfig(dg.Config):
    """Where the file lies, when it is not in the drop folder."""

    path: str | None = None


class ImportConfig(dg.Config):
    """How the file is read and loaded."""

    encoding: str | None = None
    batch_size: int = DEFAULT_BATCH_SIZE
    policy: str | None = None
    timezone: str | None = None
    max_rejected_share: float | None = None
    resume: str | None = None
    create_users: bool = False

    def options(self, settings: Settings) -> Options:
        given = options_of(
            settings,
            self.encoding,
            self.batch_size,
            self.policy,
            timezone=self.timezone,
            max_rejected_share=self.max_rejected_share,
        )
        return replace(given, create_users=self.create_users)


def options_of(
    settings: Settings,
    encoding: str | None,
    batch_size: int,
    policy: str | None,
    *,
    max_rejected_share: float | None,
    timezone: str | None = None,
) -> Options:
    """Options with the settings of the environment where nothing is given."""
    share = settings.kintell_max_rejected_share if max_rejected_share is None else max_rejected_share
    return Options(
        encoding=encoding,
        usual_encoding=settings.kintell_encoding,
        timezone=timezone,
        usual_timezone=settings.kintell_timezone,
        batch_size=batch_size,
        policy=policy_of(policy),
        max_rejected_share=None if share >= 1 else share,
    )


def policy_of(name: str | None) -> Policy | None:
    """Raises `UsageError` for what is no policy."""
    match name:
        case None | "update" | "skip" | "replace":
            return name
        case _:
            raise UsageError(f"There is no policy {safe_text(name)}: say update, skip or replace.")


@dg.asset(
    key=key("session_drops"),
    partitions_def=FILES,
    group_name=model.SLICE,
    owners=OWNERS,
    kinds={"csv"},
    metadata={"dagster/column_schema": column_schema(RECORDS)},
)
def session_drops(context: dg.AssetExecutionContext, config: DropConfig) -> dg.MaterializeResult:
    """One dropped CSV file: a private copy that nobody changes, with its fingerprint and its columns."""
    imports = open_imports(Environment.load())
    taken = imports.take(context.partition_key, Path(config.path) if config.path else None)
    return dg.MaterializeResult(
        metadata={
            "file": safe_text(taken.file_name),
            "sha256": taken.sha256,
            "bytes": taken.byte_size,
            "private_copy": dg.MetadataValue.path(taken.copy),
        }
    )


@dg.asset(
    key=key("sessions"),
    deps=[session_drops],
    partitions_def=FILES,
    group_name=model.SLICE,
    owners=OWNERS,
    kinds={"postgresql"},
    pool=POOL,
    metadata={"dagster/column_schema": column_schema(model.ACCEPTED)},
)
def sessions(context: dg.AssetExecutionContext, config: ImportConfig) -> dg.MaterializeResult:
    """Sessions of a file in `kintell_sessions`: checked as a whole, then loaded batch by batch, resumable at each."""
    environment = Environment.load()
    imports = open_imports(environment)
    require_imports_evidence(imports, environment)
    taken = _taken(imports, context.partition_key)
    began = time.monotonic()
    before = imports.jobs.find(taken.source)
    job, worked = imports.run(
        taken,
        config.options(environment.settings),
        run_id=context.run_id,
        resume=config.resume,
        say=lambda text: context.log.warning(safe_text(text)),
    )
    seconds = time.monotonic() - began
    told = retried(before, job)
    report = job_report(job) | {
        "file": safe_text(taken.file_name),
        "nothing_to_do": not worked or (told is not None and not any(told.values())),
        "open_rejects": imports.jobs.outstanding(job).open_rejects,
        "warnings": imports.oddities,
        "suggested_encoding": imports.suggested,
    }
    environment.report(context.run_id, "import", report if told is None else report | {"retried": told})
    if job.status == "paused":
        raise Paused(
            f"Job {job.id} is paused at row {job.last_processed_row:,} of {job.total_rows:,}, as somebody asked. Go on with"
            f" `session-assets resume {job.id}`."
        )
    return dg.MaterializeResult(
        metadata={
            "dagster/row_count": session_count(imports.database),
            **_job_metadata(job),
            "nothing_to_do": report["nothing_to_do"],
            "rejected_and_open": report["open_rejects"],
            **{name: count for name, count in imports.oddities.items() if count},
            "rows_per_second": round(job.total_rows / seconds) if worked and seconds else 0,
        }
    )


def require_job(imports: Imports, partition: str) -> Job:
    job = imports.job_of(partition)
    if job is None:
        raise dg.Failure(
            f"{partition} was not imported so far, or was rolled back. Materialize kintell/sessions first."
        )
    return job


def job_report(job: Job) -> dict[str, Any]:
    """A job for the terminal."""
    return {
        "job_id": job.id,
        "status": job.status,
        "reason": job.reason,
        "rows": job.total_rows,
        "processed": job.processed_rows,
        "inserted": job.inserted_rows,
        "updated": job.updated_rows,
        "skipped": job.skipped_rows,
        "rejected": job.failed_rows,
        "kept": job.kept_rows,
    }


def retried(before: Job | None, now: Job) -> dict[str, int] | None:
    """How the account of a job changed whose file had been read as a whole before; None for any other."""
    if before is None or before.id != now.id or not before.read_whole:
        return None
    was, is_ = job_report(before), job_report(now)
    names = ("inserted", "updated", "skipped", "rejected")
    return {
        **{name: is_[name] - was[name] for name in names},
        "events": now.events_total - before.events_total,
    }


def _job_metadata(job: Job) -> dict[str, Any]:
    report = job_report(job)
    return {name: value for name, value in report.items() if value is not None} | {
        "undo": md(prose(f"`session-assets revert kintell --plan-id {job.id}`")),
        "account": md(
            md_table(
                [[f"{report[name]:,}" for name in ("rows", "inserted", "updated", "skipped", "rejected")]],
                ["rows", "inserted", "updated", "skipped", "rejected"],
            )
        ),
    }


def _taken(imports: Imports, partition: str) -> Taken:
    taken = imports.taken(partition)
    if taken is None or not Path(taken.copy).exists():
        taken = imports.take(partition, None)
    return taken


def launch_config(**options: Any) -> dict[str, Any]:
    """Run config of `kintell_import`; options that are None are left out."""
    given = {name: value for name, value in options.items() if value is not None}
    return {"ops": {"kintell__sessions": {"config": given}}}


ASSETS = [session_drops, sessions]
