"""Web sessions: plans of every kind and state, each in a database of its own, all in one home."""

from __future__ import annotations

from dataclasses import dataclass, field

from session_assets_tests.upgrade.loops import LoopDatabase, MongoDatabases
from session_assets_tests.upgrade.parts import PLANT
from session_assets_tests.upgrade.report import Report
from session_assets_tests.upgrade.shell import Shell, errors

_VARIABLE = "WEB_MONGO_URI"
_DOCUMENTS = 200
_SLICE, _DUPLICATES, _ORPHANS = "web", "web/duplicates", "web/orphans"


@dataclass
class Web:
    """`all_cases`: also a plan that waits, one of `--session`, and clones."""

    all_cases: bool = True
    name: str = _SLICE
    databases: dict[str, LoopDatabase] = field(default_factory=dict[str, LoopDatabase])

    def make(self, old: Shell) -> None:
        stores = MongoDatabases(_VARIABLE, old.variables[_VARIABLE])
        for seed, case in enumerate(("repaired", "half_applied", "half_reverted"), 1):
            self._plant(old, stores, case, seed)
        self._repaired(old)
        self.databases["half_applied"].half_applied(old, _SLICE, "apply.after_write@9")
        self.databases["half_reverted"].half_reverted(old, _SLICE, "apply.after_write@9")
        if self.all_cases:
            self._plant(old, stores, "pending", 4)
            self.databases["pending"].plan(old, _SLICE)
            planted = self._plant(old, stores, "one_session", 5)
            self.databases["one_session"].plan(old, _SLICE, "--session", planted["zero_event_count"][0])
            for case in ("clone_a", "clone_b", "clone_c"):
                self._plant(old, stores, case, 6)
                self.databases[case].require_copy_of(self.databases["clone_a"])
            for case in ("clone_a", "clone_b"):
                self.databases[case].apply(old, _SLICE)
            self.databases["clone_c"].plan(old, _SLICE)

    def _repaired(self, old: Shell) -> None:
        """Repaired, folded, and a plan of deletes that waits."""
        repaired = self.databases["repaired"]
        repaired.apply(old, _SLICE)
        repaired.apply(old, _DUPLICATES)
        repaired.plan(old, _ORPHANS)

    def _plant(self, old: Shell, stores: MongoDatabases, case: str, seed: int) -> dict[str, list[str]]:
        database = stores.named(f"upgrade_web_{case}")
        planted = old.script(PLANT, "web", database.uri, str(_DOCUMENTS), str(seed))
        database.remember("before")
        self.databases[case] = database
        return planted

    def take_over(self, new: Shell, report: Report) -> None:
        for case, database in self.databases.items():
            with report.part(f"web {case}: listed"):
                database.check_listed(new, report, f"web {case}")
        for case, database in self.databases.items():
            what = f"web {case}"
            with report.part(what):
                if case == "repaired":
                    self._take_over_repaired(new, report)
                elif case.startswith("clone"):
                    continue
                elif case == "half_reverted":
                    database.check_reverted(new, report, what, _SLICE)
                else:
                    database.check_applied(new, report, what, _SLICE)
                    database.check_reverted(new, report, what, _SLICE)
        if self.all_cases:
            with report.part("web clones"):
                self._take_over_clones(new, report)

    def _take_over_repaired(self, new: Shell, report: Report) -> None:
        database, what = self.databases["repaired"], "web repaired"
        verified = database.run(new, "verify", _SLICE, code=(0, 1))
        report.equal(f"{what}: verify finds nothing to repair", {}, errors(verified))
        database.check_applied(new, report, f"{what}, orphans", _ORPHANS)
        for target in (_ORPHANS, _DUPLICATES, _SLICE):
            database.check_reverted(new, report, f"{what}, {target}", target, is_last=target == _SLICE)

    def _take_over_clones(self, new: Shell, report: Report) -> None:
        """Two databases with the same documents, both repaired: each revert is for its own."""
        a, b = self.databases["clone_a"], self.databases["clone_b"]
        a.check_reverted(new, report, "web clone_a", _SLICE)
        report.equal("web clone_b: untouched by the revert of its clone", b.snapshots["after"], b.look())
        b.check_reverted(new, report, "web clone_b", _SLICE)
        report.equal("web clone_a: untouched by the revert of its clone", a.snapshots["before"], a.look())
