"""The migration to flow ids: one database expanded and backfilled, one contracted; both are taken back to where they began."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from session_assets_tests.upgrade.parts import PLANT
from session_assets_tests.upgrade.report import Report
from session_assets_tests.upgrade.shell import Shell, errors
from session_assets_tests.upgrade.snapshots import catalogue, rows, tables, with_database

_VARIABLE = "FLOW_DATABASE_URL"
_STEPS = "SELECT id, kind, state FROM session_assets_flow_steps ORDER BY started_at"
_TAKEN_BACK = ("expand", "backfill", "contract")
_BY = "the check of the upgrade"


@dataclass
class FlowDatabase:
    url: str
    before: dict[str, Any] = field(default_factory=dict[str, Any])
    steps: list[tuple[Any, ...]] = field(default_factory=list[tuple[Any, ...]])

    @property
    def variables(self) -> dict[str, str]:
        return {_VARIABLE: self.url}

    def look(self) -> dict[str, Any]:
        return {"catalogue": catalogue(self.url), **tables(self.url)}

    def recorded(self) -> list[tuple[Any, ...]]:
        return rows(self.url, _STEPS)


@dataclass
class Flow:
    name: str = "flow"
    databases: dict[str, FlowDatabase] = field(default_factory=dict[str, FlowDatabase])

    def make(self, old: Shell) -> None:
        for case in ("filled", "contracted"):
            database = FlowDatabase(with_database(old.variables[_VARIABLE], f"upgrade_flow_{case}"))
            old.script(PLANT, "flow", database.url)
            database.before = database.look()
            old("apply", "flow", "--json", variables=database.variables)
            if case == "contracted":
                old("apply", "flow/rehearsal", "--json", variables=database.variables)
                old("apply", "flow/contract", "--waive-staging", _BY, "--json", variables=database.variables)
            database.steps = database.recorded()
            self.databases[case] = database

    def take_over(self, new: Shell, report: Report) -> None:
        for case, database in self.databases.items():
            with report.part(f"flow {case}"):
                verified = new("verify", "flow", "--json", code=(0, 1), variables=database.variables)
                report.equal(f"flow {case}: verify passes", {}, errors(verified))
                report.equal(f"flow {case}: verify changes no step", database.steps, database.recorded())
                self._revert(new, report, case)

    def _revert(self, new: Shell, report: Report, case: str) -> None:
        database = self.databases[case]
        for step_id, kind, _ in reversed([one for one in database.steps if one[1] in _TAKEN_BACK]):
            body = new("revert", "flow", "--plan-id", step_id, "--json", variables=database.variables).body
            report.equal(f"flow {case}: {kind} is taken back whole", (kind, 0), (body["step"], body["refused"]))
        states = {kind: state for _, kind, state in database.recorded() if kind in _TAKEN_BACK}
        report.equal(f"flow {case}: its steps are undone", dict.fromkeys(states, "undone"), states)
        found = database.look()
        report.equal(
            f"flow {case}: the catalogue is that of before", database.before.pop("catalogue"), found.pop("catalogue")
        )
        report.equal(f"flow {case}: all rows are those of before", database.before, found)
