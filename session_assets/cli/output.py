"""What a person reads after a command, and what a script reads with `--json`."""

from __future__ import annotations

import json
from typing import Any

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from session_assets.changes.evidence import STATES
from session_assets.cli.console import plain_console
from session_assets.cli.runner import Result
from session_assets.masking import safe_lines, safe_text

_PASSED, _ERROR, _WARN = Text("passed", "green"), Text("ERROR", "red"), Text("WARN", "yellow")


def show(result: Result, as_json: bool) -> int:
    """Print a result; returns its exit code."""
    if as_json:
        body = result.body | ({"error": safe_lines(result.error)} if result.error else {})
        click.echo(json.dumps(body))
        return result.exit_code
    console = plain_console()
    body = result.body
    _show_obstacles(console, body.get("obstacles", []))
    if "read" in body and (body["read"] or body["command"] != "apply"):  # an apply of a plan that waits reads nothing
        console.print(f"{body['slice']}: {_looked_at(body)}", highlight=False, soft_wrap=True)
    if lack := body.get("lack"):
        text = safe_text(f"No evidence: {lack['text'].rstrip('.')}. {lack['next_step']}")
        console.print(Text(text, "red" if lack["is_error"] else "yellow"), soft_wrap=True)
    if body.get("classes"):
        console.print(_counts("class", body["classes"], body.get("unit", "documents")))
    if body.get("reasons") and body["command"] != "verify":
        console.print(_counts("reason", body["reasons"], body.get("unit", "documents")))
    is_step = body.get("is_step", False)  # its story says it
    for line in [*(body.get("notes", ()) if body["command"] in ("plan", "apply") else ()), *result.story]:
        console.print(safe_text(line), highlight=False, soft_wrap=True)
    if "files" in body:
        _show_files(console, body)
    elif body["command"] in ("plan", "apply") and (not result.error or "outcomes" in body) and not is_step:
        _show_plan(console, body)  # of a failed apply too: what it wrote, and the way back
    if body["command"] == "revert" and (not result.error or body.get("damaged")) and not is_step:
        _show_revert(console, body)
    if body.get("checks"):
        _show_checks(console, body["checks"], told="above" if body.get("lack") else "below" if result.error else None)
    for partition, reason in body.get("failed_partitions", {}).items():
        set_aside = Text(f"partition {partition} is set aside: ", "red")
        console.print(set_aside, safe_text(reason), sep="", highlight=False, soft_wrap=True)
    if result.error:
        click.echo(f"error: {safe_lines(result.error)}", err=True)
    console.print(f"run {body['run_id']}", style="dim", highlight=False)
    return result.exit_code


def _show_obstacles(console: Console, obstacles: list[dict[str, Any]]) -> None:
    """What stands in the way, each with why and what to do."""
    if obstacles:
        console.print(f"{len(obstacles)} obstacle{'s' * (len(obstacles) > 1)}:", style="red", highlight=False)
    for one in obstacles:
        later = "" if one["blocks"] == "apply" else f" (of {one['blocks']})"
        console.print(f"  {safe_text(one['object'])}{later}", highlight=False, soft_wrap=True, markup=False)
        console.print(f"    why: {safe_text(one['why'])}", highlight=False, soft_wrap=True, markup=False)
        console.print(f"    do:  {safe_text(one['remedy'])}", highlight=False, soft_wrap=True, markup=False)


def _looked_at(body: dict[str, Any]) -> str:
    """What was read, and what of it could be judged."""
    states = [f"{body[name]:,} {name.replace('_', ' ')}" for name in STATES if body.get(name)]
    told = f": {', '.join(states)}" if states else ""
    return f"{body['read']:,} {body.get('unit', 'documents')} read{told}"


def _counts(name: str, counts: dict[str, int], unit: str = "documents") -> Table:
    table = Table(name, unit)
    table.columns[1].justify = "right"
    for key, count in counts.items():
        table.add_row(key, f"{count:,}")
    return table


def _show_plan(console: Console, body: dict[str, Any]) -> None:
    slice_, plan_id = body["slice"], body.get("plan_id")
    if "outcomes" in body:
        outcomes = body["outcomes"]
        applied_ids: list[str] = body.get("plan_ids") or [str(plan_id)]
        named = f"plan{'s' * (len(applied_ids) > 1)} {', '.join(applied_ids)}"
        console.print(f"{named}: {body['planned']:,} changes", highlight=False, soft_wrap=True)
        console.print(_counts("outcome", outcomes))
        for key, reason in body.get("errors", {}).items():
            console.print(f"  not written {safe_text(key)}: {safe_text(reason)}", highlight=False)
        if outcomes["conflicted"]:
            console.print(
                f"{outcomes['conflicted']:,} documents wait: somebody else changed them since the plan, and they are kept as"
                f" they are. Next: session-assets plan {slice_}",
                highlight=False,
                soft_wrap=True,
            )
        if outcomes["applied"]:
            for applied_id in applied_ids:
                console.print(f"To undo: session-assets revert {slice_} --plan-id {applied_id}", highlight=False)
        return
    console.print(f"plan {plan_id}: {body['planned']:,} changes, nothing is written", highlight=False)
    lack = body.get("lack")
    if lack and lack["is_error"]:  # the remedy is told above: it comes before any repair
        return
    if body["planned"]:
        console.print(f"Next: session-assets apply {slice_} --plan-id {plan_id}", highlight=False)


def _show_files(console: Console, body: dict[str, Any]) -> None:
    if not body["files"]:
        console.print("The drop folder holds no file that was not imported.")
    for one in body["files"]:
        job = f"job {one['job_id']} is {one['status']}" if "job_id" in one else "nothing is imported"
        console.print(f"{safe_text(one['file'])}: {one.get('rows', 0):,} rows, {job}", highlight=False)
    if body["command"] == "plan" and body["files"]:
        console.print(f"Next: session-assets apply {body['slice']}", highlight=False)


def _show_revert(console: Console, body: dict[str, Any]) -> None:
    plan_id = body["plan_id"]
    if "looked" in body:
        for line in nothing_to_undo(body["slice"], plan_id, body["looked"]):
            console.print(line, highlight=False, soft_wrap=True)
        return
    if not body["undoable"] and not body["refused"]:
        console.print(f"plan {plan_id}: nothing to undo (not applied, or undone already)", highlight=False)
        return
    would = "would be undone" if body["dry_run"] else "undone"
    console.print(f"plan {plan_id}: {body['undoable']:,} {would}", highlight=False)
    if body["refused"]:
        _show_left(console, body)
    for note in body.get("notes", []):
        console.print(safe_text(note), highlight=False)


_LEFT = {
    "edited": "somebody changed it since, and it stays as it is now",
    "gone": "somebody deleted it since",
    "place_taken": "another document is where it would come back: move that one, then revert again",
    "blocked": "a document that has to be undone first is left",
    "failed": "the store refused it: see to the cause, then revert again",
}
"""What the words of a revert mean, and what to do. The words: `changes.store.Left`."""


def _show_left(console: Console, body: dict[str, Any]) -> None:
    """How many rows a revert leaves, and why; then up to 20 of them."""
    is_dry = body["dry_run"]
    console.print(f"{body['refused']:,} {'cannot be undone' if is_dry else 'are left'}:", highlight=False)
    words = _LEFT | body.get("left_words", {})
    for word, count in body.get("left", {}).items():
        console.print(f"  {count:,} {word}: {words.get(word, word)}", highlight=False, soft_wrap=True)
    for row in body.get("left_sample", []):
        reason = f" ({row['reason']})" if row.get("reason") else ""
        console.print(f"    {safe_text(row['why'])} {safe_text(row['key'] + reason)}", highlight=False, soft_wrap=True)
    if "left_sample" not in body:
        for key in body["refused_sample"]:
            console.print(f"  {safe_text(key)}", highlight=False)


def nothing_to_undo(slice_: str, plan_id: str, looked: dict[str, Any]) -> list[str]:
    """What the ledger and the store say of a plan of which nothing is to be undone."""
    records = {
        "never_applied": "it was never applied",
        "undone_already": "it is undone already",
        "nothing_written": "it was applied, and wrote no document",
    }[looked["nothing"]]
    counts = (
        f"Looked at {looked['rows']:,} documents now: {looked['before']:,} are as before the plan,"
        f" {looked['after']:,} show its change, {looked['other']:,} neither."
    )
    if not looked["disagrees"]:
        return [f"plan {plan_id}: nothing to undo, {records}.", counts]
    return [
        f"plan {plan_id}: nothing is undone. By the ledger {records}, but the store disagrees.",
        counts,
        f"Somebody else made the change, or a backup was put back: `session-assets plan {slice_}` shows what is wrong now;"
        " the ledger that applied the plan can undo it.",
    ]


def _show_checks(console: Console, checks: list[dict[str, Any]], told: str | None) -> None:
    """`told`: where the reader sees why there is no evidence; None if only the checks say it."""
    table = Table("check", "result", "count", "what, and what to do")
    table.columns[2].justify = "right"
    for check in checks:
        mark = _PASSED if check["passed"] else _ERROR if check["severity"] == "ERROR" else _WARN
        ids = f" Ids: {', '.join(check['sample'][:3])} …" if check["sample"] else ""
        found = (
            check["description"]
            if not check.get("no_evidence") or told is None
            else f"no evidence, see {told}; {check['count']:,} found"
        )
        text = "" if check["passed"] else found + ids
        table.add_row(check["name"], mark, f"{check['count']:,}", safe_text(text))
    console.print(table)
