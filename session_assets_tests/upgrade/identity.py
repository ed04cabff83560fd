"""Canonical user ids in Cosmos DB: moves that are made, and moves that are half made. The emulator must stay up."""

from __future__ import annotations

from dataclasses import dataclass, field

from session_assets_tests.upgrade.loops import CosmosDatabase
from session_assets_tests.upgrade.parts import PLANT
from session_assets_tests.upgrade.report import Report
from session_assets_tests.upgrade.shell import Shell, errors

_DOCUMENTS = 60


@dataclass
class Identity:
    name: str = "identity"
    databases: dict[str, CosmosDatabase] = field(default_factory=dict[str, CosmosDatabase])

    def make(self, old: Shell) -> None:
        account = {name: value for name, value in old.variables.items() if name.startswith("AZURE_COSMOS_")}
        for case in ("moved", "half_moved"):
            database = CosmosDatabase(f"upgrade_identity_{case}", account=account)
            old.script(PLANT, "identity", str(_DOCUMENTS), variables=database.variables)
            database.remember("before")
            self.databases[case] = database
        self.databases["moved"].apply(old, self.name)
        self.databases["half_moved"].half_applied(old, self.name, "cosmos.after_create@7")

    def take_over(self, new: Shell, report: Report) -> None:
        for case, database in self.databases.items():
            what = f"identity {case}"
            with report.part(what):
                database.check_listed(new, report, what)
                if case == "half_moved":
                    database.check_applied(new, report, what, self.name)
                verified = database.run(new, "verify", self.name, code=(0, 1))
                report.equal(f"{what}: verify finds no session that is gone or left to move", {}, errors(verified))
                database.check_reverted(new, report, what, self.name)
