"""`verify`, `plan`, `apply` and `revert` of a migration: each is a run of a Dagster job that does one step."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

from session_assets.changes.evidence import STATES
from session_assets.cli.runner import Result, Runner
from session_assets.errors import UsageError
from session_assets.flow.obstacle import REFUSED
from session_assets.graph.causes import is_of_check
from session_assets.graph.evidence import ALLOW_EMPTY_TAG
from session_assets.graph.target import StepTarget

STEP_OPTIONS = ("waive_staging", "waive_twin", "deployed")
"""Options that only steps of a migration take."""
_REPORTS = ("obstacles", "plan", "step", "gates", "verify", "twin")


def work(
    runner: Runner,
    target: StepTarget,
    command: Literal["verify", "plan", "apply"],
    partitions: Sequence[str],
    config: dict[str, Any],
) -> Result:
    """One command. What a step recorded is its plan id, for `revert`."""
    if partitions:
        raise UsageError(f"{target.name} has no partitions.")
    if config.get("plan_id"):
        raise UsageError(
            f"{target.name} is applied as it is found: leave --plan-id out. `revert` takes the id of a step."
        )
    job = {"verify": target.verify, "plan": target.plan, "apply": target.apply}[command]
    if job is None and target.apply is None:
        raise UsageError(
            f"{target.name} only looks, there is nothing to {command}. Run: session-assets verify {target.name}"
        )
    if job is None:
        word, slice_ = {"verify": "checks", "plan": "dry run"}.get(command, "apply"), target.name.split("/")[0]
        raise UsageError(f"{target.name} has no {word} of its own. Run: session-assets {command} {slice_}")
    tags = {ALLOW_EMPTY_TAG: "true"} if config.get("allow_empty") else {}
    run_id, error, code = runner.execute(job, tags, _config(target, command, config))
    body = _body(runner, target, command, run_id)
    if is_of_check(error) and body["checks"]:
        error = None  # the table of checks says more
    if body["obstacles"] and error and error.startswith(REFUSED):
        error = f"{REFUSED}: see its obstacles above. Nothing was changed."
    if body.get("gates"):
        error = "Contract is refused, nothing was changed." if error else None  # the story has the reasons
    failed = any(not one["passed"] and one["severity"] == "ERROR" for one in body["checks"])
    return Result(body, code or int(failed or bool(body.get("gates"))), error, list(_story(target, body)))


def revert(runner: Runner, target: StepTarget, step_id: str, dry_run: bool) -> Result:
    """Take a step back."""
    if target.revert is None:
        raise UsageError(
            f"Take a step of {target.name} back by its slice:"
            f" session-assets revert {target.name.split('/')[0]} --plan-id {step_id}"
        )
    config = {"ops": {f"revert_{target.name}_step": {"config": {"plan_id": step_id, "dry_run": dry_run}}}}
    run_id, error, code = runner.execute(target.revert, {}, config)
    summary = runner.environment.reported(run_id, "revert") or {}
    body = {
        "slice": target.name,
        "command": "revert",
        "is_step": True,
        "unit": "values",
        "run_id": run_id,
        "plan_id": step_id,
        **summary,
    }
    return Result(body, code, error, [] if error else list(_undone(body)))


def _config(target: StepTarget, command: str, config: Mapping[str, Any]) -> dict[str, Any]:
    """Options that this command of this target takes. Raises `UsageError` for one that it does not take."""
    op = target.plan_op if command == "plan" else target.apply_op if command == "apply" else None
    given = {name: config[name] for name in STEP_OPTIONS if config.get(name)}
    for name in given:
        if op is None or name not in target.options:
            raise UsageError(f"--{name.replace('_', '-')} is not for {command} {target.name}.")
    if op is None:
        return {}
    return {"ops": {op: {"config": (dict(target.apply_config) if command == "apply" else {}) | given}}}


def _body(runner: Runner, target: StepTarget, command: str, run_id: str) -> dict[str, Any]:
    reports = {one: runner.environment.reported(run_id, one) or {} for one in _REPORTS}
    seen = reports["plan"] or reports["verify"]
    body: dict[str, Any] = {
        "slice": target.name,
        "command": command,
        "run_id": run_id,
        "partitions": [],
        "unit": seen.get("unit", "rows"),
        **{name: seen.get(name, 0) for name in ("read", *STATES)},
        "lack": seen.get("lack"),
        "classes": reports["plan"].get("classes", {}),
        "reasons": reports["plan"].get("reasons", {}),
        "checks": [
            check
            for one in target.checks
            for check in (runner.environment.reported(run_id, one) or {}).get("checks", [])
        ],
        "is_step": True,
        "obstacles": reports["obstacles"].get("obstacles", []),
    }
    if reports["plan"]:
        body |= {name: reports["plan"][name] for name in ("tables", "to_make", "lists")}
    if reports["step"]:
        body |= {"plan_id": reports["step"]["id"], "step": reports["step"]}
    if reports["twin"]:
        body["twin"] = reports["twin"]
    if reports["gates"]:
        body["gates"] = reports["gates"]["gates"]
    return body


def _undone(body: dict[str, Any]) -> Iterator[str]:
    """What a person reads of an undo."""
    if body["nothing"]:
        yield f"step {body['plan_id']}: nothing to undo, it is undone already"
        return
    counts = ", ".join(f"{count:,} values {name.replace('_', ' ')}" for name, count in body["classes"].items())
    done = "would be undone" if body["dry_run"] else "is undone"
    yield f"step {body['plan_id']}: {body['step']} {done}{': ' if counts else ''}{counts}"
    if body["left"]:
        words = ", ".join(f"{word} {count:,}" for word, count in body["left"].items())
        yield f"{sum(body['left'].values()):,} rows {'would be' if body['dry_run'] else 'are'} left: {words}"
        yield from (f"  {one}" for one in body["refused_sample"])
        if "left" in body["lists"]:
            yield f"all of them: {body['lists']['left']}"


def _story(target: StepTarget, body: dict[str, Any]) -> Iterator[str]:
    """What a person reads of a step, beside its counts and checks."""
    slice_ = target.name.split("/")[0]
    yield from body.get("twin", {}).get("story", ())
    if "to_make" in body:
        yield f"{body['to_make']:,} flows would be made for sessions without one; nothing is written"
        yield f"all changes: {body['lists']['changes']}"
        if not body.get("twin", {}).get("obstacles"):
            yield f"Next: session-assets apply {slice_}"
    step = body.get("step")
    if step:
        yield f"step {step['id']}: {step['kind']} {step['state']}"
        counts = step["counts"]
        if "made" in counts:
            yield f"  flows made: {counts['made']:,}"
        for table, reasons in {**counts.get("tables", {}), **counts.get("archived", {})}.items():
            if isinstance(reasons, dict):
                yield f"  {table}: " + (
                    ", ".join(f"{name} {count:,}" for name, count in reasons.items()) or "nothing to do"
                )
            elif step["kind"] == "contract":
                yield f"  {table}: {reasons:,} values are in the archive"
        if step["kind"] == "rehearsal":
            yield f"  {counts['rows']:,} rows of {len(counts['tables'])} tables came back from {counts['bytes']:,} bytes"
        else:
            yield f"To undo: session-assets revert {slice_} --plan-id {step['id']}"
    for gate in body.get("gates", []):
        yield f"shut: {gate['name']}: {gate['reason']}. {gate['next_step']}"
    if body.get("gates") == []:
        yield f"All gates are open. Next: session-assets apply {target.name}"
