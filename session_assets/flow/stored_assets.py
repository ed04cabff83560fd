"""Stored validation files as assets: the dry run, and the move with its checks. Undo: `session-assets revert flow/files`."""

from collections.abc import Iterator, Mapping
from typing import Any

import dagster as dg

from session_assets.changes.change_set import CHANGES
from session_assets.changes.evidence import Figures, Lack
from session_assets.changes.session import raise_for, recount
from session_assets.changes.tally import Tally
from session_assets.changes.target import StoreTarget
from session_assets.errors import NotConfigured, UsageError
from session_assets.flow.assets import key
from session_assets.flow.map_source import load_map
from session_assets.flow.map_target import map_target, require_map
from session_assets.flow.stored_files import PARTITION, StoredFiles, validation_root
from session_assets.flow.stored_model import CHECKS as CHECK_NAMES
from session_assets.flow.stored_model import QUARANTINE, REASONS, SLICE, STORED, UNREADABLE, VARIABLE
from session_assets.graph.check_report import Rule, check_reports
from session_assets.graph.check_result import WARN, CheckResult, reported
from session_assets.graph.environment import Environment
from session_assets.graph.evidence import Evidence, refuse
from session_assets.graph.loop import ApplyConfig, Loop, apply_loop, apply_summary, revert_job
from session_assets.graph.markdown import md, md_table, prose
from session_assets.graph.partition_checks import keep_connections
from session_assets.graph.tables import column_schema
from session_assets.graph.target import Target
from session_assets.masking import safe_text
from session_assets.stores.files import FileStore, Image

OWNERS = ["team:data-platform"]
NAME = f"{SLICE}/files"
CHANGES_KEY, KEY = (dg.AssetKey([SLICE, name]) for name in ("stored_validation_changes", "stored_validations"))
ACCOUNTED, OUTCOMES, EMPTY = (
    "validation_files_accounted",
    "validation_outcomes_accounted",
    "validation_quarantine_is_empty",
)
REPORT = "checks_stored"
RULES = {
    check: [
        Rule(one.name, one.text, one.repairable, one.next_step, unreadable=one.name in UNREADABLE)
        for one in REASONS
        if one.check == check
    ]
    for check in CHECK_NAMES
}
_SHOWN = 10
_NEXT = "Look at each file: restore it from a backup, or delete it by hand. Nothing deletes it for you."


def _open(environment: Environment) -> StoredFiles:
    return StoredFiles(validation_root(), load_map(), environment.settings.settle_minutes)


def _plan(environment: Environment, run_id: str, tags: Mapping[str, str]) -> dict[str, Any]:
    ledger, made_with = LOOP.ledger(environment), map_target(environment)
    with LOOP.lock(ledger, [PARTITION], f"plan {NAME}"):
        files = _open(environment)
        refuse(_look(environment, files, Tally(), run_id, tags), NAME)
        plan, tally, lists = files.plan(ledger, environment.storage, run_id, made_with.as_dict())
        _look(environment, files, tally, run_id, tags)
    summary = {
        **_summary(tally),
        "loop": NAME,
        "plan_id": plan.plan_id,
        "planned": plan.rows,
        "lists": lists,
        "failed": {},
    }
    environment.report(run_id, "plan", summary)
    rows = [
        row
        for part in plan.parts
        for frame in LOOP.ledger(environment).rows(part)
        for row in frame.head(_SHOWN).to_dicts()
    ]
    moves = [
        (one["key"], ", ".join(one["reasons"]), Image.decode(one["after"]).path, _change(one["before"], one["after"]))
        for one in rows[:_SHOWN]
    ]
    return {
        "plan_id": plan.plan_id,
        "planned": plan.rows,
        "files": summary["read"],
        "classes": md(md_table(summary["classes"].items(), ["class", "files"])),
        "reasons": md(md_table(summary["reasons"].items(), ["reason", "files"])),
        "preview": md(md_table(moves, ["file", "reason", "goes to", "content"])),
    }


def _change(before: bytes, after: bytes) -> str:
    old, new = Image.decode(before).content, Image.decode(after).content
    return "as it is" if old == new else f"ids rewritten, {len(old):,} → {len(new):,} bytes"


def _summary(tally: Tally) -> dict[str, Any]:
    return {
        "partitions": [],
        "read": sum(tally.reads.values()),
        "classes": tally.total_classes(),
        "reasons": tally.total_reasons(),
    }


def _plan_first(environment: Environment, _partitions: list[str] | None, run_id: str) -> None:
    _plan(environment, run_id, {})


def _look(
    environment: Environment, files: StoredFiles, tally: Tally, run_id: str, tags: Mapping[str, str]
) -> Lack | None:
    """Why a look at the folders is no evidence, if it is none."""
    evidence = Evidence(environment, SLICE, VARIABLE, environment.known(_target()))
    return evidence.look(files.holdings(), tally.all_figures(), tally.unmatched, run_id=run_id, tags=tags)


def _target() -> StoreTarget:
    """The folder, by its resolved path."""
    root = validation_root()
    return StoreTarget("files", str(root.resolve()), ("local",), "", "", old_name=str(root))


LOOP = Loop(NAME, NAME, lambda: FileStore(validation_root()), _plan_first, _target, batch_size=100)


@dg.asset(
    key=CHANGES_KEY,
    deps=[key("session_flow_map")],
    group_name=SLICE,
    owners=OWNERS,
    kinds={"json", "parquet"},
    metadata={"dagster/column_schema": column_schema(CHANGES)},
)
def stored_validation_changes(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
    """The dry run: where each stored validation file goes, and why. Nothing is moved."""
    keep_connections(context.instance)
    return dg.MaterializeResult(metadata=_plan(Environment.load(), context.run_id, context.run.tags))


@dg.asset(
    key=KEY,
    deps=[CHANGES_KEY],
    group_name=SLICE,
    owners=OWNERS,
    kinds={"json"},
    metadata={"dagster/column_schema": column_schema(STORED)},
)
def stored_validations(context: dg.AssetExecutionContext, config: ApplyConfig) -> dg.MaterializeResult:
    """Stored validation files under their flow: copied, synced, read back, and only then removed where they lay."""
    keep_connections(context.instance)
    environment = Environment.load()
    _require_map(environment, config.plan_id)
    report = apply_loop(LOOP, environment, None, config, context.run_id, context.log)
    raise_for(report.failed, NAME)
    summary = apply_summary(NAME, report)
    undo = [f"`session-assets revert {NAME} --plan-id {one}`" for one in report.plan_ids]
    return dg.MaterializeResult(
        metadata={
            "planned": summary["planned"],
            **summary["outcomes"],
            **({"undo": md(prose(" ".join(undo)))} if undo else {}),
        }
    )


def _require_map(environment: Environment, plan_id: str | None) -> None:
    """Plans that were made with the map of another database are refused before anything is looked at."""
    ledger = LOOP.ledger(environment)
    wanted = {plan_id} if plan_id else set(ledger.pending())
    for recording in ledger.recordings():
        if recording.plan_id in wanted:
            require_map(environment, recording.plan_id, recording.summary.get("map"))
            wanted.discard(recording.plan_id)


_SPECS = {
    name: dg.AssetCheckSpec(name, asset=KEY, description="; ".join(rule.text for rule in rules))
    for name, rules in RULES.items()
} | {
    ACCOUNTED: dg.AssetCheckSpec(
        ACCOUNTED,
        asset=KEY,
        description="Every file is in exactly one class: planned, listed, unsettled or not applicable.",
    ),
    OUTCOMES: dg.AssetCheckSpec(
        OUTCOMES,
        asset=KEY,
        blocking=True,
        description="Every planned move of the last apply is applied, already applied, conflicted or failed; none failed.",
    ),
    EMPTY: dg.AssetCheckSpec(EMPTY, asset=KEY, description="No file waits in quarantine for a person."),
}


@dg.multi_asset_check(name="flow_stored_checks", specs=[*_SPECS.values()], can_subset=True)
def stored_checks(context: dg.AssetCheckExecutionContext) -> Iterator[dg.AssetCheckResult]:
    """Recounts the folders."""
    keep_connections(context.instance)
    environment, run_id = Environment.load(), context.op_execution_context.run_id
    selected = context.selected_asset_check_keys
    wanted = {name for name, spec in _SPECS.items() if spec.key in selected}
    results = [
        one for one in _counted(environment, run_id, context.op_execution_context.run.tags) if one.name in wanted
    ]
    environment.report(run_id, REPORT, reported(results))
    yield from (one.result(KEY) for one in results)


def _counted(environment: Environment, run_id: str, tags: Mapping[str, str]) -> Iterator[CheckResult]:
    try:
        files = _open(environment)
    except NotConfigured:
        raise
    except UsageError as error:  # the folder is another one, or is gone
        lack = Lack(safe_text(error).rstrip("."), f"Correct {VARIABLE}, then verify again.")
        environment.report(run_id, "verify", {"unit": "files", "read": 0, "lack": lack.as_dict()})
        yield from (CheckResult(name, Figures(), 0, "nothing was looked at", lack=lack) for name in _SPECS)
        return
    tally, lists = files.inspect(environment.storage, run_id)
    lack = _look(environment, files, tally, run_id, tags)
    said = {**_summary(tally), **tally.all_figures().as_dict(), "lack": None if lack is None else lack.as_dict()}
    environment.report(run_id, "verify", said)
    yield from (one.total for one in check_reports(RULES, tally, lists, lack, unit="files"))
    yield from (_accounted(tally), _outcomes(environment), _quarantine(files))


_READ = "All of it was read, and it holds nothing."


def _accounted(tally: Tally) -> CheckResult:
    read, classes = sum(tally.reads.values()), tally.total_classes()
    wrong = abs(read - sum(classes.values()))
    text = f"{read:,} files read, {sum(classes.values()):,} classified"
    return CheckResult(ACCOUNTED, Figures(judged=read), wrong, text, rightly=_READ)


def _outcomes(environment: Environment) -> CheckResult:
    ledger = LOOP.ledger(environment)
    last = ledger.last_applies([PARTITION]).get(PARTITION)
    if PARTITION in ledger.damaged:
        raise ledger.damaged[PARTITION]
    if last is None:
        return CheckResult(OUTCOMES, Figures(), 0, "nothing was applied so far", rightly=_READ)
    plan, attempt = last
    rows, letters = recount(ledger, attempt, plan, PARTITION)
    outcomes = attempt.summary(PARTITION)["outcomes"]
    wrong = max(abs(rows - letters), abs(rows - sum(outcomes.values()))) + outcomes["failed"]
    text = f"{rows:,} planned, {letters:,} with an outcome, {outcomes['failed']:,} failed"
    step = f"Correct the cause, then run `session-assets apply {NAME}`."
    return CheckResult(OUTCOMES, Figures(judged=rows), wrong, text, next_step=step, rightly=_READ)


def _quarantine(files: StoredFiles) -> CheckResult:
    waiting = files.quarantined()
    text, figures = f"{len(waiting):,} files lie in {QUARANTINE}", Figures(judged=len(waiting))
    return CheckResult(EMPTY, figures, len(waiting), text, WARN, _NEXT, waiting, rightly=_READ)


ASSETS = [stored_validation_changes, stored_validations]
CHECKS = [stored_checks]
_PLAN, _APPLY = dg.AssetSelection.assets(CHANGES_KEY), dg.AssetSelection.assets(KEY)
JOBS = [
    dg.define_asset_job("flow_files_plan", selection=_PLAN, description="The dry run of stored validation files."),
    dg.define_asset_job(
        "flow_files_apply", selection=_PLAN | _APPLY, description="Plan, move, and check stored files."
    ),
    dg.define_asset_job("flow_files_apply_pending", selection=_APPLY, description="Move the files of the newest plan."),
    dg.define_asset_job(
        "flow_files_verify",
        selection=dg.AssetSelection.checks_for_assets(KEY),
        description="Recount stored validation files.",
    ),
    revert_job("flow_files", [LOOP]),
]
TARGETS = [
    Target(
        LOOP,
        VARIABLE,
        "flow_files_plan",
        "flow_files_apply",
        "flow_files_apply_pending",
        "flow_files_verify",
        checks=(REPORT,),
        revert="flow_files",
    )
]
LOOPS = [LOOP]
