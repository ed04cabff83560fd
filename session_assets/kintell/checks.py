"""Checks of imports: recounted from the tables, never from what an import said of itself.

In the run of a file the checks of its rows look at that file's job, else at all jobs that were not rolled back.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

import dagster as dg
import polars as pl

from session_assets.changes.evidence import Figures, Lack
from session_assets.graph.check_result import CheckResult, reported
from session_assets.graph.environment import Environment
from session_assets.kintell import model
from session_assets.kintell.assets import key, open_imports
from session_assets.kintell.evidence import lack_of_imports
from session_assets.kintell.health import health
from session_assets.kintell.imports import Imports
from session_assets.kintell.model import ODDITIES
from session_assets.kintell.told import odd_rows
from session_assets.kintell.unfinished import imports_unfinished, reverts_unfinished, stuck
from session_assets.stores.kintell_outbox import lag
from session_assets.stores.kintell_recount import (
    OPEN_DAYS,
    accounts,
    lost,
    not_taken_back,
    odd_sessions,
    rejected_reasons,
    sessions_of_nobody,
    sessions_stored_twice,
    settled_rejects,
)

SESSIONS, REJECTS, EVENTS = key("sessions"), key("rejected_rows"), key("session_events")
ERROR, WARN = dg.AssetCheckSeverity.ERROR, dg.AssetCheckSeverity.WARN
_NONE = (0, 0)
_NOTHING = "Nothing was imported into this database so far."
_RIGHTLY = "Before the first import it is right that nothing is judged."

SESSION_CHECKS = {
    "rows_accounted": "Rows read = inserted + updated + skipped + rejected, counted from the tables, for each job.",
    "rows_are_there": "Each session that a job inserted or updated is in kintell_sessions.",
    "one_session_per_external_id": "No external id is stored more than once.",
    "users_are_known": "Participant and volunteer of every session are users.",
    "imports_are_finished": "All rows of each file whose import began were read.",
    "reverts_are_finished": "No revert of an import stopped half-way.",
    "no_job_is_stuck": "No job is said to run while nobody works on it.",
    "values_are_plausible": "No session lies in the future or long ago, and nobody is participant and volunteer at once.",
    "files_hold_rows": "No completed import was of a file without rows.",
}
REJECT_CHECKS: dict[str, list[model.Reason]] = {
    check: [reason for reason in model.REASONS if reason.check == check] for check in model.CHECKS
}
PUBLISHED = dg.AssetCheckSpec(
    "events_are_published", asset=EVENTS, description="Every event in the outbox is acknowledged by JetStream."
)
_SESSION_SPECS = {
    name: dg.AssetCheckSpec(name, asset=SESSIONS, description=text) for name, text in SESSION_CHECKS.items()
}
_REJECT_SPECS = {
    name: dg.AssetCheckSpec(name, asset=REJECTS, description="; ".join(reason.text for reason in reasons))
    for name, reasons in REJECT_CHECKS.items()
}


@dg.multi_asset_check(
    name="kintell_sessions_checks", specs=[*_SESSION_SPECS.values()], can_subset=True, pool="kintell_postgres"
)
def sessions_checks(context: dg.AssetCheckExecutionContext) -> Iterator[dg.AssetCheckResult]:
    """Recounts all jobs and all sessions."""
    environment = Environment.load()
    imports = open_imports(environment)
    lack = _lack(context, imports, environment)
    if lack is not None or imports.jobs.is_new():
        results, sessions = [_unjudged(name, ERROR, lack) for name in SESSION_CHECKS], 0
    else:
        results, sessions = _of_sessions(imports)
    report = {
        "unit": "sessions",
        **Figures(judged=sessions).as_dict(),
        "lack": None if lack is None else lack.as_dict(),
    }
    environment.report(context.op_execution_context.run_id, "verify", report)
    yield from _reported(context, SESSIONS, "checks_sessions", results)


def _of_sessions(imports: Imports) -> tuple[list[CheckResult], int]:
    """The results, and how many sessions the table holds."""
    sessions, odd = odd_sessions(imports.database)
    jobs = imports.jobs.count()
    results = [
        _accounted(imports),
        _there(imports),
        _twice(imports, sessions),
        _nobody(imports, sessions),
        *_unfinished(imports, jobs),
        *_odd(odd, sessions, jobs),
    ]
    return results, sessions


@dg.multi_asset_check(
    name="kintell_rejects_checks", specs=[*_REJECT_SPECS.values()], can_subset=True, pool="kintell_postgres"
)
def rejects_checks(context: dg.AssetCheckExecutionContext) -> Iterator[dg.AssetCheckResult]:
    """Counts rejected rows by what is wrong with them."""
    environment = Environment.load()
    imports = open_imports(environment)
    lack = _lack(context, imports, environment)
    if lack is not None or imports.jobs.is_new():
        results = [_unjudged(name, WARN, lack) for name in REJECT_CHECKS]
    else:
        job_ids = _job_ids(context, imports)
        counts, settled = rejected_reasons(imports.database, job_ids), _settled(imports)
        rows = int(accounts(imports.database, job_ids)["total"].sum())
        results = [
            _result(
                name,
                _rejected(reasons, counts, settled),
                WARN,
                sum(counts.get(one.name, _NONE)[0] for one in reasons),
                rows,
            )
            for name, reasons in REJECT_CHECKS.items()
        ]
        if not context.op_execution_context.has_partition_key:
            context.op_execution_context.log_event(health(imports.database, counts))
    yield from _reported(context, REJECTS, "checks_rejects", results)


@dg.multi_asset_check(name="kintell_events_checks", specs=[PUBLISHED], pool="kintell_postgres")
def events_checks(context: dg.AssetCheckExecutionContext) -> Iterator[dg.AssetCheckResult]:
    """Counts what waits in the outbox."""
    environment = Environment.load()
    imports = open_imports(environment)
    lack = _lack(context, imports, environment)
    if lack is not None or imports.jobs.is_new():
        yield from _reported(context, EVENTS, "checks_events", [_unjudged(PUBLISHED.name, WARN, lack)])
        return
    found = lag(imports.database)
    text = (
        f"{found.waiting:,} of {found.total:,} events wait, the oldest since {found.oldest:%Y-%m-%d %H:%M} UTC."
        if (found.waiting and found.oldest)
        else f"{found.waiting:,} of {found.total:,} events wait."
    )
    if found.waiting and not found.oldest:
        text += " The outbox does not hold them any more: somebody removed them, so nobody can publish them."
    step = "Materialize kintell/session_events, or run `session-assets apply kintell`; it needs NATS_URL."
    result = _result(PUBLISHED.name, text, WARN, found.waiting, found.total, step=step)
    yield from _reported(context, EVENTS, "checks_events", [result])


def _accounted(imports: Imports) -> CheckResult:
    rows = accounts(imports.database)
    written = pl.col("inserted_rows") + pl.col("updated_rows") + pl.col("skipped") + pl.col("rejected_rows")
    same = (pl.col("inserted") == pl.col("inserted_rows")) & (pl.col("updated") == pl.col("updated_rows"))
    is_right = (pl.col("processed") == written) & same & (pl.col("rejected") == pl.col("rejected_rows"))
    is_whole = (pl.col("status") != "completed") | (pl.col("total") == written)
    wrong = rows.filter(~(is_right & is_whole) | pl.col("cut_short"))["job_id"].to_list()
    total = int(rows["total"].sum())
    text = f"{len(wrong):,} of {rows.height:,} jobs ({total:,} rows) do not add up."
    if stays := not_taken_back(imports.database):
        wrong += stays
        text = (
            f"{len(wrong):,} of {rows.height + len(stays):,} jobs ({total:,} rows) do not add up; {len(stays):,} of them are"
            f" recorded as rolled back, but {sum(stays.values()):,} of their sessions are in kintell_sessions."
        )
    step = "Roll such a job back (`session-assets revert kintell --plan-id JOB`) and import its file again."
    if short := rows.filter("cut_short").height:
        text += f" {short:,} of them are set to completed, but not all rows of their files were read."
        step = f"If a job is set to completed too early: `session-assets resume JOB`. {step}"
    return _result("rows_accounted", text, ERROR, len(wrong), total, wrong, step)


def _there(imports: Imports) -> CheckResult:
    """Counted in the table, row by row: people remove sessions and set job states by hand."""
    rows, written = lost(imports.database)
    by_job = Counter(row.job_id for row in rows)
    text = f"{len(rows):,} of {written:,} sessions that jobs wrote are not in kintell_sessions any more."
    step = ""
    if rows:
        jobs = ", ".join(f"{job} ({count:,} rows)" for job, count in by_job.most_common(5))
        text += f" Jobs: {jobs}{', …' if len(by_job) > 5 else ''}."
        step = (
            "To bring them back, import the same files again, the oldest first: `session-assets import FILE`. If they were"
            ' removed on purpose: `session-assets jobs accept JOB --note "why"`.'
        )
    ids = [row.external_session_id or f"row {row.row} of job {row.job_id}" for row in rows]
    return _result("rows_are_there", text, ERROR, len(rows), written, ids, step)


def _odd(odd: Mapping[str, int], sessions: int, jobs: int) -> list[CheckResult]:
    values = {name: count for name, count in odd.items() if count and name != "no_rows"}
    text = "; ".join(odd_rows(values)) if values else "0 rows are odd"
    step = "Correct the file and import it, or leave them if they are meant."
    plausible = _result(
        "values_are_plausible", f"{text}, of {sessions:,} sessions.", WARN, sum(values.values()), sessions, step=step
    )
    empty = odd["no_rows"]
    hint = "Ask for the file with its rows, or take the job back if it is not expected."
    return [
        plausible,
        _result("files_hold_rows", f"{empty:,} {ODDITIES['no_rows']}.", WARN, empty, jobs, step=hint),
    ]


def _twice(imports: Imports, sessions: int) -> CheckResult:
    twice = sessions_stored_twice(imports.database)
    text = f"{len(twice):,} external ids are stored more than once."
    step = "Keep one row of each; the next import then makes the index that keeps them apart."
    return _result("one_session_per_external_id", text, ERROR, len(twice), sessions, twice, step)


def _nobody(imports: Imports, sessions: int) -> CheckResult:
    ids = sessions_of_nobody(imports.database)
    text = f"{len(ids):,} sessions name somebody who is no user."
    return _result(
        "users_are_known", text, ERROR, len(ids), sessions, ids, "Restore these users, or delete the sessions."
    )


def _unfinished(imports: Imports, jobs: int) -> list[CheckResult]:
    unfinished = imports.jobs.unfinished()
    found = (imports_unfinished(unfinished), reverts_unfinished(unfinished), stuck(imports.jobs.newest(1000)))
    names = ("imports_are_finished", "reverts_are_finished", "no_job_is_stuck")
    return [
        _result(name, one.text, ERROR if one.is_error else WARN, one.count, jobs, one.job_ids, one.step)
        for name, one in zip(names, found, strict=True)
    ]


def _settled(imports: Imports) -> list[str]:
    """What is not counted any more, said of all reasons together."""
    closed, old = settled_rejects(imports.database)
    told = [f"{closed:,} rejected rows of all reasons were closed by somebody"] if closed else []
    return [*told, f"{old:,} are older than {OPEN_DAYS} days"] if old else told


def _rejected(reasons: Sequence[model.Reason], counts: Mapping[str, tuple[int, int]], settled: Sequence[str]) -> str:
    found = [reason for reason in reasons if counts.get(reason.name, _NONE)[0]]
    repaired = sum(counts.get(reason.name, _NONE)[1] for reason in reasons)
    told = [f"{repaired:,} more were repaired: a later import has their sessions"] if repaired else []
    told += settled
    if not found:
        return ". ".join(["0 rows", *told])
    parts = [f"{counts[reason.name][0]:,} rows: {reason.text.replace('{}', '…')}" for reason in found] + told
    return ". ".join([*parts, " ".join(dict.fromkeys(reason.next_step for reason in found))])


def _result(
    name: str,
    text: str,
    severity: dg.AssetCheckSeverity,
    count: int,
    judged: int,
    ids: Sequence[str] = (),
    step: str = "",
) -> CheckResult:
    """`judged` counts rows, sessions, jobs or events: nothing of an import is unreadable by the time it is in a table."""
    rightly = "" if judged else "No import has brought any so far, so it is right that nothing was judged."
    figures = Figures(judged=judged)
    return CheckResult(name, figures, count, text, severity, next_step=step, sample=ids, rightly=rightly)


def _unjudged(name: str, severity: dg.AssetCheckSeverity, lack: Lack | None) -> CheckResult:
    """Before the first import it is right that nothing is judged; of a database that lost its tables it is not."""
    return CheckResult(name, Figures(), 0, _NOTHING, severity, lack=lack, rightly="" if lack else _RIGHTLY)


def _lack(context: dg.AssetCheckExecutionContext, imports: Imports, environment: Environment) -> Lack | None:
    op = context.op_execution_context
    return lack_of_imports(imports, environment, op.run.tags, op.run_id)


def _job_ids(context: dg.AssetCheckExecutionContext, imports: Imports) -> list[str] | None:
    op = context.op_execution_context
    if not op.has_partition_key:
        return None
    job = imports.job_of(op.partition_key)
    return [job.id] if job else []


def _reported(
    context: dg.AssetCheckExecutionContext, asset: dg.AssetKey, step: str, results: Sequence[CheckResult]
) -> Iterator[dg.AssetCheckResult]:
    """The results that the run selected, told to the terminal too."""
    wanted = [one for one in results if dg.AssetCheckKey(asset, one.name) in context.selected_asset_check_keys]
    Environment.load().report(context.op_execution_context.run_id, step, reported(wanted))
    yield from (one.result(asset) for one in wanted)


CHECKS = [sessions_checks, rejects_checks, events_checks]
