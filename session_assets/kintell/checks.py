"""Checks of imports: recounted from the tables, never from what an import said of itself.

In the run of a file the checks of its rows look at that file's job, else at all jobs that were not rolled back.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import dagster as dg
import polars as pl

from session_assets.graph.environment import Environment
from session_assets.kintell import model
from session_assets.kintell.assets import key, open_imports
from session_assets.kintell.health import health
from session_assets.kintell.imports import Imports
from session_assets.kintell.model import ODDITIES
from session_assets.kintell.outbox import Lag
from session_assets.kintell.told import odd_rows
from session_assets.masking import safe_text
from session_assets.stores.kintell_outbox import lag
from session_assets.stores.kintell_recount import (
    OPEN_DAYS,
    accounts,
    lost,
    odd_sessions,
    rejected_reasons,
    sessions_of_nobody,
    sessions_stored_twice,
    settled_rejects,
)

SESSIONS, REJECTS, EVENTS = key("sessions"), key("rejected_rows"), key("session_events")
ERROR, WARN = dg.AssetCheckSeverity.ERROR, dg.AssetCheckSeverity.WARN
_SAMPLE = 20
_NONE = (0, 0)
_NOTHING = "Nothing was imported into this database so far."

SESSION_CHECKS = {
    "rows_accounted": "Rows read = inserted + updated + skipped + rejected, counted from the tables, for each job.",
    "rows_are_there": "Each session that a job inserted or updated is in kintell_sessions.",
    "one_session_per_external_id": "No external id is stored more than once.",
    "users_are_known": "Participant and volunteer of every session are users.",
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
    imports = open_imports(Environment.load())
    if imports.jobs.is_new():
        results = [_result(spec, _NOTHING, ERROR, 0, []) for spec in _SESSION_SPECS.values()]
    else:
        results = [_accounted(imports), _there(imports), _twice(imports), _nobody(imports), _stuck(imports)]
        results += _odd(imports)
    yield from _reported(context, "checks_sessions", results)


@dg.multi_asset_check(
    name="kintell_rejects_checks", specs=[*_REJECT_SPECS.values()], can_subset=True, pool="kintell_postgres"
)
def rejects_checks(context: dg.AssetCheckExecutionContext) -> Iterator[dg.AssetCheckResult]:
    """Counts rejected rows by what is wrong with them."""
    imports = open_imports(Environment.load())
    counts = {} if imports.jobs.is_new() else rejected_reasons(imports.database, _job_ids(context, imports))
    settled = [] if imports.jobs.is_new() else _settled(imports)
    results = [
        _result(
            _REJECT_SPECS[name],
            _rejected(reasons, counts, settled),
            WARN,
            sum(counts.get(one.name, _NONE)[0] for one in reasons),
            [],
        )
        for name, reasons in REJECT_CHECKS.items()
    ]
    if not context.op_execution_context.has_partition_key and not imports.jobs.is_new():
        context.op_execution_context.log_event(health(imports.database, counts))
    yield from _reported(context, "checks_rejects", results)


@dg.multi_asset_check(name="kintell_events_checks", specs=[PUBLISHED], pool="kintell_postgres")
def events_checks(context: dg.AssetCheckExecutionContext) -> Iterator[dg.AssetCheckResult]:
    """Counts what waits in the outbox."""
    imports = open_imports(Environment.load())
    found = Lag(0, 0, None) if imports.jobs.is_new() else lag(imports.database)
    text = (
        f"{found.waiting:,} of {found.total:,} events wait, the oldest since {found.oldest:%Y-%m-%d %H:%M} UTC."
        if (found.waiting and found.oldest)
        else f"0 of {found.total:,} events wait."
    )
    step = (
        " Materialize kintell/session_events, or run `session-assets apply kintell`; it needs NATS_URL."
        if found.waiting
        else ""
    )
    yield from _reported(context, "checks_events", [_result(PUBLISHED, text + step, WARN, found.waiting, [])])


def _accounted(imports: Imports) -> dg.AssetCheckResult:
    rows = accounts(imports.database)
    written = pl.col("inserted_rows") + pl.col("updated_rows") + pl.col("skipped") + pl.col("rejected_rows")
    same = (pl.col("inserted") == pl.col("inserted_rows")) & (pl.col("updated") == pl.col("updated_rows"))
    is_right = (pl.col("processed") == written) & same & (pl.col("rejected") == pl.col("rejected_rows"))
    is_whole = (pl.col("status") != "completed") | (pl.col("total") == written)
    wrong = rows.filter(~(is_right & is_whole))["job_id"].to_list()
    total = int(rows["total"].sum())
    text = f"{len(wrong):,} of {rows.height:,} jobs ({total:,} rows) do not add up."
    step = (
        " Roll such a job back (`session-assets revert kintell --plan-id JOB`) and import its file again."
        if wrong
        else ""
    )
    return _result(_SESSION_SPECS["rows_accounted"], text + step, ERROR, len(wrong), wrong)


def _there(imports: Imports) -> dg.AssetCheckResult:
    """Counted in the table, row by row: people remove sessions and set job states by hand."""
    rows, written = lost(imports.database)
    by_job = Counter(row.job_id for row in rows)
    text = f"{len(rows):,} of {written:,} sessions that jobs wrote are not in kintell_sessions any more."
    if rows:
        jobs = ", ".join(f"{job} ({count:,} rows)" for job, count in by_job.most_common(5))
        text += (
            f" Jobs: {jobs}{', …' if len(by_job) > 5 else ''}. To bring them back, import the same files again, the oldest first:"
            " `session-assets import FILE`. If they were removed on purpose:"
            ' `session-assets jobs accept JOB --note "why"`.'
        )
    ids = [row.external_session_id or f"row {row.row} of job {row.job_id}" for row in rows]
    return _result(_SESSION_SPECS["rows_are_there"], text, ERROR, len(rows), ids)


def _odd(imports: Imports) -> list[dg.AssetCheckResult]:
    sessions, odd = odd_sessions(imports.database)
    values = {name: count for name, count in odd.items() if count and name != "no_rows"}
    text = "; ".join(odd_rows(values)) if values else "0 rows are odd"
    step = " Correct the file and import it, or leave them if they are meant." if values else ""
    empty = odd["no_rows"]
    hint = " Ask for the file with its rows, or take the job back if it is not expected." if empty else ""
    return [
        _result(
            _SESSION_SPECS["values_are_plausible"],
            f"{text}, of {sessions:,} sessions.{step}",
            WARN,
            sum(values.values()),
            [],
        ),
        _result(
            _SESSION_SPECS["files_hold_rows"],
            f"{empty:,} {ODDITIES['no_rows']}.{hint}",
            WARN,
            empty,
            [],
        ),
    ]


def _twice(imports: Imports) -> dg.AssetCheckResult:
    twice = sessions_stored_twice(imports.database)
    text = f"{len(twice):,} external ids are stored more than once."
    step = " Keep one row of each; the next import then makes the index that keeps them apart." if twice else ""
    return _result(_SESSION_SPECS["one_session_per_external_id"], text + step, ERROR, len(twice), twice)


def _nobody(imports: Imports) -> dg.AssetCheckResult:
    ids = sessions_of_nobody(imports.database)
    text = f"{len(ids):,} sessions name somebody who is no user."
    step = " Restore these users, or delete the sessions." if ids else ""
    return _result(_SESSION_SPECS["users_are_known"], text + step, ERROR, len(ids), ids)


def _stuck(imports: Imports) -> dg.AssetCheckResult:
    stuck = [job.id for job in imports.jobs.newest(1000) if job.stuck]
    text = f"{len(stuck):,} jobs are said to run, but nobody works on them."
    step = (
        " `session-assets resume JOB` goes on where it stopped, `session-assets fail JOB` gives it up." if stuck else ""
    )
    return _result(_SESSION_SPECS["no_job_is_stuck"], text + step, WARN, len(stuck), stuck)


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
    spec: dg.AssetCheckSpec, text: str, severity: dg.AssetCheckSeverity, count: int, ids: Sequence[str]
) -> dg.AssetCheckResult:
    sample = [safe_text(one) for one in ids[:_SAMPLE]]
    return dg.AssetCheckResult(
        asset_key=spec.asset_key,
        check_name=spec.name,
        passed=count == 0,
        severity=severity,
        description=safe_text(text),
        metadata={"count": count, **({"sample": ", ".join(sample)} if sample else {})},
    )


def _job_ids(context: dg.AssetCheckExecutionContext, imports: Imports) -> list[str] | None:
    op = context.op_execution_context
    if not op.has_partition_key:
        return None
    job = imports.job_of(op.partition_key)
    return [job.id] if job else []


def _reported(
    context: dg.AssetCheckExecutionContext, step: str, results: Sequence[dg.AssetCheckResult]
) -> Iterator[dg.AssetCheckResult]:
    """The results that the run selected, told to the terminal too; the full list of ids where there are more than shown."""
    wanted = [
        one
        for one in results
        if dg.AssetCheckKey(_asset(one), str(one.check_name)) in context.selected_asset_check_keys
    ]
    json: list[dict[str, Any]] = [
        {
            "name": result.check_name,
            "severity": result.severity.value,
            "passed": result.passed,
            "count": result.metadata["count"].value,
            "sample": str(result.metadata["sample"].value).split(", ") if "sample" in result.metadata else [],
            "full_list": {},
            "description": result.description,
        }
        for result in wanted
    ]
    Environment.load().report(context.op_execution_context.run_id, step, {"checks": json})
    yield from wanted


def _asset(result: dg.AssetCheckResult) -> dg.AssetKey:
    assert result.asset_key is not None
    return result.asset_key


CHECKS = [sessions_checks, rejects_checks, events_checks]
