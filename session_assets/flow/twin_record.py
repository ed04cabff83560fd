"""The newest try of the road, as it is stored: `apply` asks for it before it adds anything, contract before it drops anything.

It counts for one database, one schema and one description, and expires when one of them changes.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

from session_assets.changes.evidence import Figures
from session_assets.errors import PlanRefused
from session_assets.flow.evidence import known_database
from session_assets.flow.model import CONTRACT, EXPAND, TARGET
from session_assets.flow.twin import FLOORS, try_road
from session_assets.flow.twin_model import Report, story
from session_assets.graph.check_result import ERROR, CheckResult, reported
from session_assets.graph.environment import Environment
from session_assets.stores.flow_gates import Gate, digest_of
from session_assets.stores.flow_migration import Flow
from session_assets.stores.flow_work import Work
from session_assets.stores.postgres_target import postgres_target
from session_assets.stores.twin_compare import catalogue, fingerprint

STORED = "flow/twin.json"
WAIVED, DEPLOYED = "FLOW_WAIVE_TWIN", "FLOW_DEPLOYED"
STEP, CHECK = "checks_twin", "no_obstacles"
"""The report that holds the check, for the terminal; and its name."""
_SHOWN = 5
_HOW = f"Run `session-assets apply flow/rehearsal`, which tries it, or do without by your name: {WAIVED}=NAME, --waive-twin NAME"


@dataclass(frozen=True)
class Waiver:
    """Who does without the twin, and which list of statements is deployed by now."""

    by: str | None = None
    deployed: str | None = None

    def give(self, environment: Environment, flow: Flow) -> None:
        """Let expand and the gates of contract ask for the try."""
        by = self.by or os.environ.get(WAIVED)
        if by:
            flow.waived = {"twin_waived_by": by}
            return
        flow.twin = lambda work: gates(environment, work, self.deployed)
        flow.before_expand = lambda work: require_twin(environment, flow, work, tries=False)


def stored(environment: Environment) -> Report | None:
    """The newest try; None if there is none."""
    told = environment.storage.find_json(STORED)
    return None if told is None else Report.from_dict(told)


def try_again(environment: Environment, flow: Flow, run_id: str = "") -> Report | None:
    """Try the rest of the road now, and keep what came of it; None if it is waived, or there is no road left.

    With a run, the terminal gets the report and the check.
    """
    if flow.waived or flow.state() not in FLOORS:
        return None
    report = try_road(flow, environment.storage, known_database(environment, flow.database).id)
    environment.storage.write_json(STORED, report.as_dict())
    if run_id:
        environment.report(run_id, "twin", {**report.as_dict(), "story": [*story(report)]})
        environment.report(run_id, STEP, reported([checked(report)]))
    return report


def checked(report: Report) -> CheckResult:
    """What was judged are statements of the application, by stage, and the steps themselves."""
    return CheckResult(
        CHECK,
        Figures(sum(report.stages.values()) + report.met, 0, 0, 0),
        report.met,
        "obstacles were met on the twin",
        ERROR,
        "Remove each as it says, then run `session-assets plan flow` again.",
        [one.text for one in report.obstacles[:20]],
        metadata={"unit": "statements"},
    )


def require_twin(environment: Environment, flow: Flow, work: Work, *, tries: bool) -> None:
    """Before the first write: the road must have been tried, on the schema as it is now. If it was not, `tries` tries it.

    Raises `PlanRefused` for obstacles. A migration that has begun goes on: its twin was asked for when it began.
    """
    begun = work.steps.newest(EXPAND)
    if begun is not None and begun.state != "undone":
        return
    report = stored(environment)
    if report is None or _expired(report, work, _target(environment, work)):
        if not tries:
            raise PlanRefused(
                "The road was not tried on a twin of this database as it is. Nothing was changed. Try it:"
                f" session-assets plan flow. Or do without by your name: {WAIVED}=NAME."
            )
        flow.say("the road was not tried on this schema so far: it is tried now")
        report = try_again(environment, flow)
    if report is not None and report.obstacles:
        told = "; ".join(f"{one.text}. {one.remedy}" for one in report.obstacles[:_SHOWN])
        raise PlanRefused(
            f"The road was tried on a twin, and {report.met:,} obstacles were met. Nothing was changed. {told}. See all:"
            " session-assets plan flow"
        )


def gates(environment: Environment, work: Work, deployed: str | None) -> list[Gate]:
    """Why the try says no to contract."""
    report = stored(environment)
    if report is None or CONTRACT not in (report.stages | {one.stage: 0 for one in report.obstacles}):
        return [Gate("twin_missing", "the rest of the road was not tried on a twin", _HOW)]
    if report.target != _target(environment, work):
        return [Gate("twin_of_another_database", "the road was tried on a twin of another database", _HOW)]
    if report.migration != digest_of(work.migration):
        return [Gate("twin_of_another_description", "the road was tried with another description of the schema", _HOW)]
    if report.fingerprint != fingerprint(catalogue(work.connection)):
        return [Gate("twin_of_another_schema", "the schema was changed after the road was tried on a twin", _HOW)]
    found = [Gate("twin_obstacle", one.text, one.remedy) for one in report.obstacles]
    if report.must_be_deployed and deployed != report.deployed_digest:
        told = "; ".join(report.must_be_deployed[:_SHOWN])
        found.append(
            Gate("must_be_deployed", f"{len(report.must_be_deployed)} statements of the application name the old columns: {told}",
                 f"Deploy it without them, then say so: --deployed {report.deployed_digest}")
        )  # fmt: skip
    return found


def _target(environment: Environment, work: Work) -> str:
    """The database of a connection, as this home knows it."""
    return environment.known(postgres_target(work.connection, TARGET)).id


def _expired(report: Report, work: Work, target: str) -> bool:
    return (report.target, report.migration, report.fingerprint) != (
        target, digest_of(work.migration), fingerprint(catalogue(work.connection)),
    )  # fmt: skip
