"""`verify`, `plan`, `apply` and `revert` of slices that are fed by files: each is a run of a Dagster job."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import click

from session_assets.cli.runner import Result, Runner
from session_assets.drops.folder import drop_key, find_drops, fingerprint, is_open_for_writing
from session_assets.errors import BadInput, UsageError
from session_assets.graph.evidence import ALLOW_EMPTY_TAG
from session_assets.graph.target import FileTarget
from session_assets.masking import safe_text


def work(
    runner: Runner,
    target: FileTarget,
    command: Literal["verify", "plan", "apply"],
    partitions: Sequence[str],
    config: dict[str, Any],
) -> Result:
    """One command. `plan` and `apply` are about files of the drop folder that are not imported so far."""
    if command == "verify":
        if partitions:
            raise UsageError(f"verify {target.name} recounts all imports: leave --partition out.")
        return _verify(runner, target, is_allowed_empty=bool(config.get("allow_empty")))
    waiting = _waiting(runner, target, partitions)
    return _plan(runner, target, waiting) if command == "plan" else _apply(runner, target, waiting, config)


def import_file(
    runner: Runner, target: FileTarget, path: Path | None, partition: str | None = None, **options: Any
) -> tuple[dict[str, Any], str | None, int]:
    """Import one file now; its report, what went wrong, and the exit code. Rejected rows make it 1 while they are open."""
    if partition is None:
        assert path is not None
        partition = partition_of(path)
    if path is not None:
        target.take(runner.environment, partition, path.absolute())
    runner.instance.add_dynamic_partitions(target.partitions, [partition])
    run_id, error, code = runner.execute(target.import_file, {"dagster/partition": partition}, target.launch(**options))
    report: dict[str, Any] = {
        "file": safe_text(path.name) if path else partition,
        "partition": partition,
        "run_id": run_id,
    }
    for step in ("import", "rejects", "users", "events"):
        report |= runner.environment.reported(run_id, step) or {}
    return report, error, code or int(report.get("open_rejects", report.get("rejected", 0)) > 0)


def dry_run(
    runner: Runner, target: FileTarget, paths: Sequence[Path], **options: Any
) -> tuple[list[dict[str, Any]], str, str | None, int]:
    """Validate files as an import would; a report of each, the run's id, what went wrong, and the exit code."""
    request = uuid.uuid4().hex
    runner.environment.storage.write_json(
        f"{target.name}/requests/{request}.json", [str(path.absolute()) for path in paths]
    )
    config = {"request": request, **{name: value for name, value in options.items() if value is not None}}
    run_id, error, code = runner.execute(target.dry_run, {}, {"ops": {"validate_files": {"config": config}}})
    return (runner.environment.reported(run_id, "dry_run") or {}).get("files", []), run_id, error, code


def revert(runner: Runner, target: FileTarget, job_id: str, dry_run: bool) -> Result:
    """Take an import back. Rows that are left make the exit code 1."""
    config = {"ops": {f"revert_{target.name}_job": {"config": {"plan_id": job_id, "dry_run": dry_run}}}}
    run_id, error, code = runner.execute(target.revert, {}, config)
    summary = runner.environment.reported(run_id, "revert") or {}
    return Result(
        {"slice": target.name, "command": "revert", "unit": "rows", "run_id": run_id, "plan_id": job_id, **summary},
        code,
        error,
    )


def partition_of(path: Path) -> str:
    """The partition that a file stands for. Raises `BadInput` for what is no regular file."""
    if not path.is_symlink() and not path.exists():
        raise BadInput(f"{path}: there is no such file.")
    if path.is_symlink() or not path.is_file():
        raise BadInput(f"{path} is not a regular file: name the file itself.")
    return drop_key(path, fingerprint(path))


def _verify(runner: Runner, target: FileTarget, *, is_allowed_empty: bool) -> Result:
    tags = {ALLOW_EMPTY_TAG: "true"} if is_allowed_empty else {}
    run_id, error, code = runner.execute(target.verify, tags, {})
    checks = [
        check for step in target.checks for check in (runner.environment.reported(run_id, step) or {}).get("checks", [])
    ]
    failed = any(not one["passed"] and one["severity"] == "ERROR" for one in checks)
    seen = runner.environment.reported(run_id, "verify") or {}
    body = _body(target, "verify", run_id) | seen | {"checks": checks}
    return Result(body, code or int(failed), error)


def _waiting(runner: Runner, target: FileTarget, partitions: Sequence[str]) -> dict[str, Path]:
    """Files of the drop folder that are not imported so far, by partition."""
    folder = runner.environment.settings.drops / target.folder
    paths = [path for path in find_drops(folder) if path.is_file() and not path.is_symlink()] if folder.is_dir() else []
    busy = [path for path in paths if is_open_for_writing(path)]
    for path in busy:
        click.echo(f"{safe_text(path.name)}: left out, somebody still writes it", err=True)
    found = {partition_of(path): path for path in paths if path not in busy}
    if unknown := [one for one in partitions if one not in found]:
        raise UsageError(f"{folder} holds no file for {unknown[0]}.")
    return {
        partition: path
        for partition, path in sorted(found.items())
        if (not partitions or partition in partitions) and target.left_to_do(runner.environment, partition)
    }


def _plan(runner: Runner, target: FileTarget, waiting: dict[str, Path]) -> Result:
    reports, run_id, error, code = dry_run(runner, target, [*waiting.values()])
    body = _body(target, "plan", run_id) | _totals(reports) | {"plan_id": None, "partitions": [*waiting]}
    return Result(body | {"files": reports, "planned": body["classes"].get("accepted", 0)}, code, error)


def _apply(runner: Runner, target: FileTarget, waiting: dict[str, Path], config: dict[str, Any]) -> Result:
    reports, errors, worst = [], list[str](), 0
    for partition, path in waiting.items():
        report, error, code = import_file(runner, target, path, partition, batch_size=config.get("batch_size") or None)
        reports.append(report)
        errors += [error] if error else []
        worst = max(worst, code)
    run_id, error, code = runner.execute(target.publish, {}, {})
    errors += [error] if error else []
    body = _body(target, "apply", run_id) | _totals(reports) | {"partitions": [*waiting], "files": reports}
    return Result(body, max(worst, code), "; ".join(errors) or None)


def _body(target: FileTarget, command: str, run_id: str) -> dict[str, Any]:
    return {
        "slice": target.name,
        "command": command,
        "run_id": run_id,
        "partitions": [],
        "read": 0,
        "unit": "rows",
        "classes": {},
        "reasons": {},
        "checks": [],
    }


def _totals(reports: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Rows of several files, by class and by reason."""
    names = ("accepted", "inserted", "updated", "skipped", "rejected")
    classes = {
        name: sum(one[name] for one in reports if name in one) for name in names if any(name in one for one in reports)
    }
    reasons: dict[str, int] = {}
    for one in reports:
        for reason, count in one.get("reasons", {}).items():
            reasons[reason] = reasons.get(reason, 0) + count
    return {"read": sum(one.get("rows", 0) for one in reports), "classes": classes, "reasons": reasons}
