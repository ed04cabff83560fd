"""Contest sessions: a plan that is applied, and one that is half applied."""

from __future__ import annotations

from dataclasses import dataclass, field

from session_assets_tests.upgrade.loops import LoopDatabase, MongoDatabases
from session_assets_tests.upgrade.parts import PLANT
from session_assets_tests.upgrade.report import Report
from session_assets_tests.upgrade.shell import Shell

_VARIABLE = "CONTEST_MONGO_URI"
_DOCUMENTS = 100


@dataclass
class Contest:
    name: str = "contest"
    databases: dict[str, LoopDatabase] = field(default_factory=dict[str, LoopDatabase])

    def make(self, old: Shell) -> None:
        stores = MongoDatabases(_VARIABLE, old.variables[_VARIABLE])
        for seed, case in enumerate(("applied", "half_applied"), 1):
            database = stores.named(f"upgrade_contest_{case}")
            old.script(PLANT, "contest", database.uri, str(_DOCUMENTS), str(seed))
            database.remember("before")
            self.databases[case] = database
        self.databases["applied"].apply(old, self.name)
        self.databases["half_applied"].half_applied(old, self.name, "apply.after_write@2")

    def take_over(self, new: Shell, report: Report) -> None:
        for case, database in self.databases.items():
            what = f"contest {case}"
            with report.part(what):
                database.check_listed(new, report, what)
                if case == "half_applied":
                    database.check_applied(new, report, what, self.name)
                database.check_reverted(new, report, what, self.name)
