"""A database on which one loop works: what the released tree leaves in its ledger, and how this tree goes on with it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import Any

from session_assets_tests.upgrade.parts import LISTING
from session_assets_tests.upgrade.report import Report
from session_assets_tests.upgrade.shell import Answer, CommandFailed, Shell
from session_assets_tests.upgrade.snapshots import collections, documents, with_database

Snapshot = dict[str, Any]


@dataclass
class LoopDatabase(ABC):
    """One target with its snapshots, and by loop the plans that were made on it."""

    name: str
    plans: dict[str, str] = field(default_factory=dict[str, str])
    planned: dict[str, int] = field(default_factory=dict[str, int])
    pending: set[str] = field(default_factory=set[str])  # loops
    snapshots: dict[str, Snapshot] = field(default_factory=dict[str, Snapshot])

    @property
    @abstractmethod
    def variables(self) -> dict[str, str]:
        """What points a command at it."""

    @abstractmethod
    def look(self) -> Snapshot:
        """Its documents now, by a plain driver."""

    def remember(self, name: str) -> None:
        self.snapshots[name] = self.look()

    def run(self, shell: Shell, *arguments: str, code: int | tuple[int, ...] = 0) -> Answer:
        return shell(*arguments, "--json", code=code, variables=self.variables)

    # -- the released tree ---------------------------------------------------------------------------------------------

    def plan(self, old: Shell, target: str, *options: str) -> None:
        """A plan that waits."""
        self._note(
            target if "--session" not in options else f"{target}/session", self.run(old, "plan", target, *options)
        )
        self.pending.add(target)

    def apply(self, old: Shell, target: str) -> None:
        """A plan that is applied whole."""
        answer = self.run(old, "apply", target)
        self._note(target, answer)
        outcomes = answer.body["outcomes"]
        if outcomes["applied"] != self.planned[target]:
            raise CommandFailed(f"{self.name}: {self.planned[target]} planned, but {outcomes}")
        self.remember("after")

    def half_applied(self, old: Shell, target: str, failpoint: str) -> None:
        """Applied, reverted, planned again and then killed half-way: the snapshot `after` is that of a whole apply."""
        self.apply(old, target)
        self.run(old, "revert", target, "--plan-id", self.plans[target])
        again = self.run(old, "plan", target).body["plan_id"]
        if again != self.plans[target] or self.look() != self.snapshots["before"]:
            raise CommandFailed(f"{self.name}: the released tree does not get back to where it began")
        old.killed_at(failpoint, "apply", target, "--json", variables=self.variables)
        self._require_half()
        self.pending.add(target)

    def half_reverted(self, old: Shell, target: str, failpoint: str) -> None:
        """Applied, and the revert killed half-way."""
        self.apply(old, target)
        old.killed_at(failpoint, "revert", target, "--plan-id", self.plans[target], variables=self.variables)
        self._require_half()

    def _note(self, loop: str, answer: Answer) -> None:
        self.plans[loop], self.planned[loop] = answer.body["plan_id"], answer.body["planned"]
        if not self.planned[loop]:
            raise CommandFailed(f"{self.name}: the released tree planned nothing: there is nothing to take over")

    def _require_half(self) -> None:
        if self.look() in (self.snapshots["before"], self.snapshots["after"]):
            raise CommandFailed(f"{self.name}: the kill came too early or too late, nothing is half done")

    # -- this tree -----------------------------------------------------------------------------------------------------

    def check_listed(self, new: Shell, report: Report, what: str) -> None:
        """The ledgers of this target name the plans that were made on it, and no others."""
        listed: dict[str, Any] = new.script(LISTING, self._slice, variables=self.variables)
        plans = {loop: [plan_id] for loop, plan_id in self.plans.items()}
        report.equal(f"{what}: its plans are listed", plans, {loop: one["plans"] for loop, one in listed.items()})
        pending = {loop: plans for loop, one in listed.items() if (plans := one["pending"])}
        wanted = {loop: [plan_id] for loop, plan_id in self.plans.items() if self._target(loop) in self.pending}
        report.equal(f"{what}: what waits is listed", wanted, pending)

    def check_applied(self, new: Shell, report: Report, what: str, target: str) -> None:
        """What waits is applied, or gone on with, as it was planned."""
        loop = next(loop for loop in self.plans if self._target(loop) == target)
        options = () if loop == target else ("--plan-id", self.plans[loop])
        untouched = self.look()
        answer = self.run(new, "apply", target, *options)
        report.equal(f"{what}: apply takes the plan that waits", self.plans[loop], answer.body["plan_id"])
        outcomes = answer.body["outcomes"]
        bad = {name: outcomes[name] for name in ("conflicted", "failed") if outcomes[name]}
        report.equal(f"{what}: apply leaves no row", {}, bad)
        report.equal(f"{what}: apply accounts for every row", self.planned[loop], sum(outcomes.values()))
        if "after" in self.snapshots and target == self._slice:
            report.equal(
                f"{what}: documents are those of an apply that nobody killed", self.snapshots["after"], self.look()
            )
        else:
            report.true(f"{what}: documents are changed", self.look() != untouched, "they are as before")

    def check_reverted(
        self, new: Shell, report: Report, what: str, target: str, *, is_last: bool = True, is_half: bool = False
    ) -> None:
        """The plan is taken back; documents are byte by byte those of before it. `is_half`: a killed revert is gone on with."""
        plan_id = next(plan_id for loop, plan_id in self.plans.items() if self._target(loop) == target)
        slice_ = self._slice
        look = self.run(new, "revert", slice_, "--plan-id", plan_id, "--dry-run").body
        done = self.run(new, "revert", slice_, "--plan-id", plan_id).body
        if not is_half:
            report.equal(f"{what}: the dry run of revert says what revert does", look["undoable"], done["undoable"])
        report.equal(f"{what}: revert leaves no row", (True, 0), (done["undoable"] > 0, done["refused"]))
        if is_last:
            report.equal(f"{what}: documents are those of before, byte by byte", self.snapshots["before"], self.look())

    @property
    def _slice(self) -> str:
        return next(iter(self.plans)).partition("/")[0]

    def _target(self, loop: str) -> str:
        """What people type after `apply` for a loop."""
        return loop.removesuffix("/session")


@dataclass
class MongoDatabase(LoopDatabase):
    variable: str = ""
    uri: str = ""

    @property
    def variables(self) -> dict[str, str]:
        return {self.variable: self.uri}

    def look(self) -> Snapshot:
        return collections(self.uri)


@dataclass(frozen=True)
class MongoDatabases:
    """Databases on one server."""

    variable: str
    server: str

    def named(self, name: str) -> MongoDatabase:
        return MongoDatabase(name, variable=self.variable, uri=with_database(self.server, name))


@dataclass
class CosmosDatabase(LoopDatabase):
    account: dict[str, str] = field(default_factory=dict[str, str])

    @property
    def variables(self) -> dict[str, str]:
        return {"COSMOS_DATABASE_NAME": self.name}

    def look(self) -> Snapshot:
        return documents(self.account, self.name, "user_sessions")
