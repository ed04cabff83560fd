"""Web sessions: plans of every kind and state, each in a database of its own, all in one home."""

from __future__ import annotations

from dataclasses import dataclass, field

from session_assets_tests.upgrade.loops import MongoDatabase, MongoDatabases
from session_assets_tests.upgrade.parts import PLANT
from session_assets_tests.upgrade.report import Report
from session_assets_tests.upgrade.shell import Shell, errors
from session_assets_tests.upgrade.snapshots import copy

_VARIABLE = "WEB_MONGO_URI"
_DOCUMENTS = 200
_SLICE, _DUPLICATES, _ORPHANS = "web", "web/duplicates", "web/orphans"


@dataclass
class Web:
    """`all_cases`: also a plan that waits, one of `--session`, and clones."""

    all_cases: bool = True
    name: str = _SLICE
    databases: dict[str, MongoDatabase] = field(default_factory=dict[str, MongoDatabase])

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
            self._clones(old, stores)

    def _clones(self, old: Shell, stores: MongoDatabases) -> None:
        """Databases with the same documents, so that their plans have one id. `misled`: a revert that looked at its copy."""
        for case, copies in (("clone_a", ("clone_b", "clone_c")), ("misled", ("misled_copy",))):
            self._plant(old, stores, case, 6)
            for one in copies:
                self.databases[one] = stores.named(f"upgrade_web_{one}")
                copy(self.databases[case].uri, self.databases[one].uri)
                self.databases[one].remember("before")
        for case in ("clone_a", "clone_b", "misled"):
            self.databases[case].apply(old, _SLICE)
        self.databases["clone_c"].plan(old, _SLICE)
        self.databases["misled_copy"].run(old, "revert", _SLICE, "--plan-id", self.databases["misled"].plans[_SLICE])

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
            if database.plans:
                with report.part(f"web {case}: listed"):
                    database.check_listed(new, report, f"web {case}")
        for case in ("half_applied", "pending", "one_session"):
            if case in self.databases:
                with report.part(f"web {case}"):
                    self.databases[case].check_applied(new, report, f"web {case}", _SLICE)
                    self.databases[case].check_reverted(new, report, f"web {case}", _SLICE)
        with report.part("web half_reverted"):
            self.databases["half_reverted"].check_reverted(new, report, "web half_reverted", _SLICE, is_half=True)
        with report.part("web repaired"):
            self._take_over_repaired(new, report)
        if self.all_cases:
            with report.part("web clones"):
                self._take_over_clones(new, report)
            with report.part("web misled"):
                self.databases["misled"].check_reverted(new, report, "web misled", _SLICE)

    def _take_over_repaired(self, new: Shell, report: Report) -> None:
        database, what = self.databases["repaired"], "web repaired"
        verified = database.run(new, "verify", _SLICE, code=(0, 1))
        report.equal(f"{what}: verify finds nothing to repair", {}, errors(verified))
        database.check_applied(new, report, f"{what}, orphans", _ORPHANS)
        for target in (_ORPHANS, _DUPLICATES, _SLICE):
            database.check_reverted(new, report, f"{what}, {target}", target, is_last=target == _SLICE)

    def _take_over_clones(self, new: Shell, report: Report) -> None:
        """Two databases with the same documents are repaired, one has a plan that waits: each revert is for its own."""
        a, b, c = (self.databases[f"clone_{one}"] for one in "abc")
        report.equal("web clones: their plans have one id", 1, len({one.plans[_SLICE] for one in (a, b, c)}))
        nothing = c.run(new, "revert", _SLICE, "--plan-id", c.plans[_SLICE]).body
        report.equal(
            "web clone_c: nothing was applied, so nothing is undone", (0, 0), (nothing["undoable"], nothing["refused"])
        )
        a.check_reverted(new, report, "web clone_a", _SLICE)
        report.equal("web clone_b: untouched by the revert of its clone", b.snapshots["after"], b.look())
        b.check_reverted(new, report, "web clone_b", _SLICE)
        report.equal("web clone_a: untouched by the revert of its clone", a.snapshots["before"], a.look())
        c.check_applied(new, report, "web clone_c", _SLICE)
        c.check_reverted(new, report, "web clone_c", _SLICE)
