"""Turns a command into a Dagster run in this process, and its reports into one result."""

from __future__ import annotations

import logging
import os
import uuid
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import click
from dagster import DagsterInstance

from session_assets.changes.evidence import STATES
from session_assets.cli.bars import bars
from session_assets.cli.servers import packaged, prepare_dagster_home
from session_assets.cli.startup import quick_imports
from session_assets.cli.stopped import stopped_after_last_write
from session_assets.errors import DamagedFile, RowsLeft, UsageError
from session_assets.graph.causes import cause, exit_code, is_of_check
from session_assets.graph.environment import Environment
from session_assets.graph.evidence import ALLOW_EMPTY_TAG
from session_assets.graph.keys import TAG, WHOLE_TAG, encode
from session_assets.graph.runs import run_here
from session_assets.graph.single_sessions import request_users, single_name
from session_assets.graph.step import DEFER_TAG
from session_assets.graph.target import AnyTarget, FileTarget, StepTarget, Target
from session_assets.masking import safe_text
from session_assets.stores.dagster_database import watch_connections
from session_assets.stores.locks import require_dagster_database


@dataclass
class Result:
    """What a command has to say: the object of `--json`, and the exit code."""

    body: dict[str, Any]
    exit_code: int = 0
    error: str | None = None
    story: list[str] = field(default_factory=list[str])


class Runner:
    """Runs jobs of the code location on the current environment."""

    def __init__(self, *, quiet: bool) -> None:
        self._quiet = quiet
        warnings.simplefilter("ignore")
        logging.getLogger("dagster").setLevel(logging.CRITICAL)
        logging.getLogger("psycopg").setLevel(logging.ERROR)  # it warns of connections that are lost: an error says so
        logging.getLogger("sqlalchemy.pool").setLevel(
            logging.CRITICAL
        )  # that a lost connection cannot be reset, likewise
        logging.getLogger().addFilter(
            lambda record: record.levelno >= logging.ERROR
        )  # Dagster's tries to connect again
        require_dagster_database()
        prepare_dagster_home()
        with quick_imports():
            from session_assets.definitions import defs
            from session_assets.slices import slices

        self._defs = defs
        self._slices = slices()
        watch_connections()
        self.instance = DagsterInstance.get()
        self.environment = Environment.load()

    # -- targets -------------------------------------------------------------------------------------------------------

    def targets(self, name: str) -> Iterator[AnyTarget]:
        """The target of a name; for `all` the main one of each slice whose variables are set."""
        if name != "all":
            yield self.named(name)
            return
        for slice_name, slice_ in self._slices.items():
            target = slice_.main
            if os.environ.get(target.variable):
                yield target
            else:
                click.echo(f"{slice_name}: skipped, {target.variable} is not set", err=True)

    def target(self, name: str) -> Target:
        """The target of a loop."""
        found = self.named(name)
        if not isinstance(found, Target):
            raise UsageError(f"{name} has no change sets.")
        return found

    def named(self, name: str) -> AnyTarget:
        every = self._every()
        for target in every:
            if target.name == name:
                return target
        raise UsageError(f"there is no slice {name}. Choose from: {', '.join(one.name for one in every)}, all.")

    def step_targets(self) -> list[StepTarget]:
        return [one for one in self._every() if isinstance(one, StepTarget)]

    def file_targets(self) -> list[FileTarget]:
        return [one for one in self._every() if isinstance(one, FileTarget)]

    def _every(self) -> list[AnyTarget]:
        return [target for slice_ in self._slices.values() for target in slice_.targets]

    # -- commands ------------------------------------------------------------------------------------------------------

    def verify(
        self,
        target: Target,
        partitions: Sequence[str],
        sessions: Sequence[str],
        usernames: Sequence[str] = (),
        *,
        allow_empty: bool = False,
    ) -> Result:
        tags = {ALLOW_EMPTY_TAG: "true"} if allow_empty else {}
        if sessions or usernames:
            run_id, error, code = self._one_session(target, sessions, usernames, "verify", {})
        elif target.verify is None:
            raise UsageError(
                f"{target.name} has no checks of its own: session-assets verify {target.name.split('/')[0]}"
            )
        else:
            run_id, error, code = self.run(target.verify, target, partitions, {}, tags)
        body = self._body(target, "verify", run_id)
        failed = any(not one["passed"] and one["severity"] == "ERROR" for one in body["checks"])
        return Result(body, code or int(failed), error)

    def plan(
        self, target: Target, partitions: Sequence[str], sessions: Sequence[str], usernames: Sequence[str] = ()
    ) -> Result:
        if sessions or usernames:
            run_id, error, code = self._one_session(target, sessions, usernames, "plan", {})
        else:
            run_id, error, code = self.run(target.plan, target, partitions, {})
        return self._told(target, Result(self._body(target, "plan", run_id), code, error))

    def apply(
        self,
        target: Target,
        partitions: Sequence[str],
        sessions: Sequence[str],
        config: dict[str, Any],
        usernames: Sequence[str] = (),
    ) -> Result:
        if sessions or usernames:
            run_id, error, code = self._one_session(target, sessions, usernames, "apply", config)
        elif config["plan_id"] and self._is_single(target, config["plan_id"]):
            run_id, error, code = self._single_sessions(target, _named(config))
        else:
            job, keys = self._apply_job(target, partitions, config)
            run_id, error, code = self.run(job, target, keys, {"apply": config})
        body = self._body(target, "apply", run_id)
        outcomes = body.get("outcomes", {})
        if is_of_check(error) and outcomes.get("failed"):
            error = None  # the rows that failed say more, each with its reason
        if not body["planned"] and not error:
            ledger = target.loop.ledger(self.environment)
            body["notes"] += stopped_after_last_write(self.environment, ledger, run_id, target.name)
        error = error or self._damaged(target, partitions, config)
        code = code or int(outcomes.get("failed", 0) > 0 or error is not None)
        return self._told(target, Result(body, code, error))

    def _damaged(self, target: Target, partitions: Sequence[str], config: dict[str, Any]) -> str | None:
        """What is still damaged of what waited to be applied: the run went on without it."""
        if config.get("plan_id"):
            return None
        ledger = target.loop.ledger(self.environment)
        ledger.pending(partitions or None)
        listed = [f"{partition}: {error}" for partition, error in sorted(ledger.damaged.items())]
        return "; ".join(listed[:3]) or None

    def revert(self, slice_: str, plan_id: str, dry_run: bool, batch_size: int) -> Result:
        """Undo a plan of a loop."""
        loop = self._loop_of(slice_, plan_id)
        config = {"loop": loop, "plan_id": plan_id, "dry_run": dry_run, "batch_size": batch_size}
        target = next((one for one in self._every() if one.name == slice_ and isinstance(one, Target)), None)
        name = (target and target.revert) or slice_.split("/")[0]
        ops = {"ops": {f"revert_{name}_plan": {"config": config}}}
        run_id, error, code = self.execute(f"{name}_revert", {}, ops)
        summary = self.environment.reported(run_id, "revert") or {}
        body = {"slice": slice_, "command": "revert", "run_id": run_id, "plan_id": plan_id, **summary}
        return Result(body, code, error)

    # -- runs ----------------------------------------------------------------------------------------------------------

    def _apply_job(
        self, target: Target, partitions: Sequence[str], config: dict[str, Any]
    ) -> tuple[str, Sequence[str]]:
        """The job that applies what is planned, where there is such a plan, else the one that plans first."""
        ledger = target.loop.ledger(self.environment)
        if config["plan_id"]:
            ledger.plan(config["plan_id"])
            keys = [part.partition for part in ledger.plan(config["plan_id"]).parts]
            return target.apply_pending, partitions or (keys if target.order is not None else ())
        order = None if target.order is None else set(target.order())
        pending = {
            plan_id: keys
            for plan_id, some in ledger.pending(partitions or None).items()
            if (keys := [key for key in some if order is None or key in order])
        }
        keys = sorted({key for some in pending.values() for key in some})
        if pending and (not partitions or set(partitions) <= set(keys)):
            return target.apply_pending, partitions or (keys if order is not None else ())
        self._say(f"{target.name}: no plan is pending, so the changes are planned first")
        return target.apply, partitions

    def run(
        self,
        job: str,
        target: Target,
        partitions: Sequence[str],
        configs: dict[str, Any],
        tags: dict[str, str] | None = None,
    ) -> tuple[str, str | None, int]:
        """A job over some partitions of a target, or all that hold documents: the run, its error, and the exit code."""
        tags = dict(tags or {})
        if target.order is not None and target.standing is not None:
            order = list(target.order())
            unknown = [key for key in partitions if key not in order]
            if unknown:
                raise UsageError(f"there is no partition {unknown[0]}; they go from {order[0]} to {order[-1]}.")
            standing = () if job == target.apply_pending else target.standing(self.environment)
            if partitions and job != target.apply_pending and not set(partitions) & set(standing):
                raise UsageError(
                    f"{target.name} holds no document in {', '.join(partitions)}: nothing was done. Leave --partition out to"
                    " visit all partitions that hold documents."
                )
            keys = sorted(partitions or standing, key=order.index) or [order[0]]
            tags |= {
                "dagster/asset_partition_range_start": keys[0],
                "dagster/asset_partition_range_end": keys[-1],
                TAG: encode(keys, order),
                **({} if partitions else {WHOLE_TAG: "true"}),
                **DEFER_TAG,
            }
        elif partitions:
            raise UsageError(f"{target.name} has no partitions.")
        definition = self._defs.resolve_job_def(job)
        ops: dict[str, Any] = {}
        if "apply" in configs:
            step = next(node for node in definition.nodes_in_topological_order if "plan_id" in _fields(node))
            ops = {"ops": {step.name: {"config": configs["apply"]}}}
        return self.execute(job, tags, ops)

    def _one_session(
        self,
        target: Target,
        sessions: Sequence[str],
        usernames: Sequence[str],
        command: str,
        config: dict[str, Any],
    ) -> tuple[str, str | None, int]:
        if target.one_session is None:
            raise UsageError(f"{target.name} does not know single sessions.")
        if usernames and not target.knows_users:
            raise UsageError(f"{target.name} does not know users by name.")
        if usernames and sessions:
            raise UsageError("--session and --username both choose sessions: use one of them.")
        if config.get("plan_id"):
            raise UsageError("--plan-id names a plan that is made: leave --session and --username out.")
        options: dict[str, Any] = {"command": command, "batch_size": config.get("batch_size", 0)}
        if usernames:
            options["users_request"] = uuid.uuid4().hex
            request_users(self.environment, target.name, list(usernames), options["users_request"])
        else:
            options["sessions"] = list(sessions)
        return self._single_sessions(target, options)

    def _is_single(self, target: Target, plan_id: str) -> bool:
        """Whether a plan is one of single sessions."""
        names = self.environment.ledger(single_name(target.name)).recorded.names(plan_id)
        return target.one_session is not None and bool(names)

    def _single_sessions(self, target: Target, options: dict[str, Any]) -> tuple[str, str | None, int]:
        assert target.one_session is not None
        step = self._defs.resolve_job_def(target.one_session).nodes_in_topological_order[0].name
        return self.execute(target.one_session, {}, {"ops": {step: {"config": options}}})

    def execute(self, job: str, tags: dict[str, str], config: dict[str, Any]) -> tuple[str, str | None, int]:
        config = config | {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
        definition = self._defs.resolve_job_def(job)
        with bars(quiet=self._quiet):
            run_id, result = run_here(self.instance, definition, packaged("workspace.yaml"), tags=tags, config=config)
        failures = [event for event in result.all_events if event.is_step_failure]
        if result.success:
            return run_id, None, 0
        errors_of_run = [event.job_failure_data.error for event in result.all_events if event.is_job_failure]
        error = failures[0].step_failure_data.error if failures else next(filter(None, errors_of_run), None)
        if error is None:
            return run_id, f"run {run_id} failed: see it in the UI", 1
        name, message = cause(error)
        return run_id, None if name == RowsLeft.__name__ else message, exit_code(name)  # what is left is reported

    # -- results -------------------------------------------------------------------------------------------------------

    def _body(self, target: Target, command: str, run_id: str) -> dict[str, Any]:
        """The object of `--json`, from what the steps of the run reported."""
        reports = {step: self.environment.reported(run_id, step) or {} for step in ("plan", "apply", "verify")}
        seen = reports["verify"] or reports["plan"]
        body: dict[str, Any] = {
            "slice": target.name,
            "command": command,
            "run_id": run_id,
            "partitions": seen.get("partitions", []),
            **{name: seen.get(name, 0) for name in ("read", *STATES)},
            "lack": seen.get("lack"),
            "classes": seen.get("classes", {}),
            "reasons": seen.get("reasons", {}),
        }
        if command != "verify":
            plan_ids = reports["apply"].get("plan_ids") or [reports["plan"].get("plan_id")]
            body["plan_id"] = plan_ids[0] if plan_ids else None
            if len(plan_ids) > 1:
                body["plan_ids"] = plan_ids
            body["planned"] = reports["apply"].get("planned", reports["plan"].get("planned", 0))
            body["lists"] = reports["plan"].get("lists", {})
            body["notes"] = reports["plan"].get("notes", [])
        if reports["apply"]:
            for name in ("outcomes", "errors", "conflicts", "spent"):
                body[name] = reports["apply"][name]
        body["failed_partitions"] = self.environment.failures(run_id)
        body["checks"] = [
            check
            for step in ("checks_sessions", *target.checks)
            for check in (self.environment.reported(run_id, step) or {}).get("checks", [])
        ]
        return body

    def _told(self, target: Target, result: Result) -> Result:
        """The result with its story, where somebody reads it."""
        plan_id = result.body.get("plan_id")
        if target.story is not None and plan_id and not result.error and not self._quiet:
            known = target.loop.known(self.environment)
            ledger = self.environment.ledger(self._loop_of(target.name, plan_id), known)
            try:
                result.story = list(target.story(ledger, result.body))
            except DamagedFile as error:
                result.story = [safe_text(error)]
        return result

    def _loop_of(self, slice_: str, plan_id: str) -> str:
        """The loop that made a plan: any of the slice's."""
        names = [loop.name for one in self._slices.values() for loop in one.loops]
        mine = [name for name in names if name == slice_ or name.startswith(f"{slice_}/")]
        if not mine:
            raise UsageError(f"there is no slice {slice_}. Choose from: {', '.join(self._slices)}.")
        for name in mine:
            if self.environment.ledger(name).recorded.names(plan_id):
                return name
        purged = [name for name in mine if self.environment.ledger(name).purged_at(plan_id)]
        self.environment.ledger(purged[0] if purged else slice_).plan(plan_id)  # says why there is none
        return slice_

    def _say(self, text: str) -> None:
        click.echo(text, err=True)


def _named(config: dict[str, Any]) -> dict[str, Any]:
    """The options of a plan of single sessions that is named."""
    return {"command": "apply", "plan_id": config["plan_id"], "batch_size": config["batch_size"]}


def _fields(node: Any) -> Sequence[str]:
    schema = node.definition.config_schema
    fields = getattr(schema.config_type, "fields", None) if schema is not None else None
    return list(fields or ())
