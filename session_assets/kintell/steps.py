"""Work on imports that materializes nothing: the dry run, the undo of a job, and the events that wait."""

from pathlib import Path

import dagster as dg

from session_assets.errors import RowsLeft
from session_assets.graph.environment import Environment
from session_assets.kintell import model
from session_assets.kintell.assets import open_imports, options_of
from session_assets.kintell.importing import DEFAULT_BATCH_SIZE
from session_assets.kintell.results import publish
from session_assets.kintell.revert import REFUSALS, UNDONE, left_rows, relied_on
from session_assets.masking import safe_text
from session_assets.stores.kintell_outbox import lag
from session_assets.stores.kintell_revert import Undo


class DryRunConfig(dg.Config):
    """Which files to validate: by their paths, or by a list of paths that the terminal left in the storage."""

    paths: list[str] = []  # noqa: RUF012 - a Dagster config
    request: str | None = None
    encoding: str | None = None
    batch_size: int = DEFAULT_BATCH_SIZE
    policy: str | None = None
    timezone: str | None = None
    max_rejected_share: float | None = None


@dg.op(pool="kintell_postgres")
def validate_files(context: dg.OpExecutionContext, config: DryRunConfig) -> None:
    """Validates files whole, and writes nothing but a report of each."""
    environment = Environment.load()
    imports = open_imports(environment)
    options = options_of(
        environment.settings,
        config.encoding,
        config.batch_size,
        config.policy,
        timezone=config.timezone,
        max_rejected_share=config.max_rejected_share,
    )
    reports = []
    asked = environment.storage.read_json(f"{model.SLICE}/requests/{config.request}.json") if config.request else []
    for path in [*config.paths, *asked]:
        report = imports.dry_run(Path(path), options)
        context.log.info(
            f"{safe_text(report['file'])}: {report['rows']:,} rows, {report['rejected']:,} would be rejected"
        )
        reports.append(report)
    environment.report(context.run_id, "dry_run", {"files": reports})


@dg.job(
    executor_def=dg.in_process_executor, description="Validate files as an import would, writing nothing but a report."
)
def kintell_dry_run() -> None:
    validate_files()


class UndoConfig(dg.Config):
    """Which job to take back. Start with `dry_run`."""

    plan_id: str
    dry_run: bool = False


@dg.op(pool="kintell_postgres")
def revert_kintell_job(context: dg.OpExecutionContext, config: UndoConfig) -> None:
    """Takes back what a job inserted and updated; rows that were edited since are left and listed."""
    environment = Environment.load()
    imports = open_imports(environment)
    undo = Undo(imports.jobs, imports.jobs.get(config.plan_id))
    found = undo.look() if config.dry_run else undo.run()
    if not config.dry_run:
        imports.forget(imports.jobs.get(config.plan_id))
    refused = found.refused.height + found.unrecorded
    name = f"kintell/reverts/{config.plan_id}/{context.run_id}.parquet"
    environment.storage.write_parquet(name, found.refused)
    notes = [
        relied_on(config.plan_id, undo.skipped_since()) if found.removed else None,
        None if config.dry_run else publish(imports),
    ]
    for note in filter(None, notes):
        context.log.warning(safe_text(note))
    environment.report(
        context.run_id,
        "revert",
        {
            "plan_id": config.plan_id,
            "dry_run": config.dry_run,
            "undoable": found.removed + found.restored,
            "refused": refused,
            "left": found.left_by_word,
            "left_words": {word: f"it {REFUSALS[word]}" for word in found.left_by_word},
            "left_rows": found.left,
            "refused_sample": [safe_text(line) for line in left_rows(found.refused)],
            "notes": [safe_text(note) for note in notes if note],
            "refused_list": str(environment.storage.path(name)),
            "classes": dict(found.classes),
            "outcomes": {
                UNDONE: 0 if config.dry_run else found.removed + found.restored,
                "refused": refused,
            },
        },
    )
    context.log.info(f"removed: {found.removed:,}, restored: {found.restored:,}, refused: {refused:,}")
    if found.left and not config.dry_run:
        raise RowsLeft(found.left, found.removed + found.restored)


@dg.job(
    name=f"{model.SLICE}_revert",
    executor_def=dg.in_process_executor,
    description="Take an import back: by its job, never by a time window. Start with dry_run.",
)
def kintell_revert() -> None:
    revert_kintell_job()


@dg.op(pool="kintell_nats")
def publish_waiting_events(context: dg.OpExecutionContext) -> None:
    """Publishes the events of all jobs that wait."""
    environment = Environment.load()
    imports = open_imports(environment)
    if imports.jobs.is_new():
        environment.report(context.run_id, "publish", {"published": 0, "waiting": 0, "note": None})
        return
    before = lag(imports.database).waiting
    note = publish(imports)
    if note:
        context.log.warning(note)
    after = lag(imports.database)
    environment.report(
        context.run_id, "publish", {"published": before - after.waiting, "waiting": after.waiting, "note": note}
    )


@dg.job(executor_def=dg.in_process_executor, description="Publish the events that wait in the outbox.")
def kintell_publish() -> None:
    publish_waiting_events()


JOBS = [kintell_dry_run, kintell_revert, kintell_publish]
