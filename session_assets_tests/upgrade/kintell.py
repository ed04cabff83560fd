"""Kintell imports: a job that is half loaded, one with open rejects, and one to be reverted, all in one database."""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from session_assets_tests.upgrade.parts import PLANT
from session_assets_tests.upgrade.report import Report
from session_assets_tests.upgrade.shell import Answer, Shell, errors
from session_assets_tests.upgrade.snapshots import rows, with_database

_VARIABLE = "KINTELL_DATABASE_URL"
_ROWS = 360
_LATER = 3  # users who are created after the import
_OWN_ID = "kintell-session-"
_SESSIONS = """
    SELECT s.external_session_id, to_jsonb(s)::text FROM kintell_sessions s WHERE starts_with(s.external_session_id, %s)
    ORDER BY 1
"""
_PLAIN = """
    SELECT s.external_session_id, (to_jsonb(s) - 'id' - 'participant_id' - 'volunteer_id' - 'created_at' - 'updated_at')::text,
           p.email, v.email
    FROM kintell_sessions s JOIN users p ON p.id = participant_id JOIN users v ON v.id = volunteer_id
    WHERE starts_with(s.external_session_id, %s) ORDER BY 1
"""
_USER = "INSERT INTO users (email, role) VALUES (%s, 'participant') RETURNING id"
_COUNTED = (
    "total_rows", "processed_rows", "inserted_rows", "updated_rows", "skipped_rows", "failed_rows", "status", "reason",
)  # fmt: skip
Row = dict[str, str]
_EVENTS = ("events_total", "events_published")


@dataclass
class Kintell:
    name: str = "kintell"
    variables: dict[str, str] = field(default_factory=dict[str, str])
    folder: Path = Path()
    jobs: dict[str, str] = field(default_factory=dict[str, str])  # by file
    kept: dict[str, Any] = field(default_factory=dict[str, Any])
    repaired: list[Row] = field(default_factory=list[Row])  # of open.csv: its rejected rows as they should have been

    # -- the released tree ---------------------------------------------------------------------------------------------

    def make(self, old: Shell) -> None:
        self.folder = old.streams
        self.variables = {_VARIABLE: with_database(old.variables[_VARIABLE], "upgrade_kintell")}
        reference = {_VARIABLE: with_database(old.variables[_VARIABLE], "upgrade_kintell_reference")}
        for one in (self.variables, reference):
            old.script(PLANT, "kintell", one[_VARIABLE], variables=one)
        base, changed, half = self._plant(old)
        old("import", half, "--batch-size", "100", code=1, variables=reference)
        self._import(old, base)
        self.kept["base"] = self._sessions("base-")
        self._import(old, self.folder / "open.csv", code=1)
        self._import(old, self.folder / "users.csv", code=1)
        self._import(old, changed)
        old.killed_at("kintell.committed@2", "import", half, "--batch-size", "100", variables=self.variables)
        self.kept["half"] = rows(reference[_VARIABLE], _PLAIN, ["half-"])
        (self.kept["half job"],) = self._jobs(old, reference).values()
        self.kept["jobs"] = self._jobs(old)
        self.jobs["half.csv"] = next(id_ for id_, job in self.kept["jobs"].items() if job["file_name"] == "half.csv")
        self.kept["errors"] = old("errors", self.jobs["open.csv"], variables=self.variables).out
        self.kept["open"] = self._sessions("open-")

    def _plant(self, old: Shell) -> tuple[Path, Path, Path]:
        """Files that differ in the ids of their sessions: clean ones, those again with other values, one to be killed."""
        for name in ("open", "half"):
            path = self.folder / f"{name}.csv"
            planted = old.script(PLANT, "kintell-file", str(path), str(_ROWS), variables=self.variables)
            path.write_text(path.read_text().replace(_OWN_ID, f"{name}-"))
            if name == "open":
                self.repaired = [*planted["repaired"].values()]
        known = [row for row in self.repaired if not any("new." in value for value in row.values())]
        changed = [row | {"feedback_text": "changed", "rating": "2"} for row in known[: len(known) // 2]]
        files = (
            self._written("base.csv", _renamed(known, "base-")),
            self._written("changed.csv", [*_renamed(changed, "base-"), *_renamed(known[:20], "base-more-")]),
        )
        nobody = [row | {"participant_email": f"later{n}@example.com"} for n, row in enumerate(known[:_LATER])]
        self._written("users.csv", _renamed([*nobody, *known[_LATER : 2 * _LATER]], "users-"))
        return (*files, self.folder / "half.csv")

    def _written(self, name: str, some: list[Row]) -> Path:
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, [*some[0]], lineterminator="\n")
        writer.writeheader()
        writer.writerows(some)
        path = self.folder / name
        path.write_text(text.getvalue())
        return path

    def _import(self, shell: Shell, path: Path, *options: str, code: int | tuple[int, ...] = 0) -> Answer:
        answer = shell("import", path, *options, "--json", code=code, variables=self.variables)
        self.jobs[path.name] = answer.body["job_id"]
        return answer

    def _jobs(self, shell: Shell, variables: dict[str, str] | None = None) -> dict[str, dict[str, Any]]:
        listed = shell("jobs", "--json", variables=variables or self.variables).out
        return {job["id"]: job for job in json.loads(listed.splitlines()[-1])}

    def _sessions(self, prefix: str) -> list[tuple[Any, ...]]:
        return rows(self.variables[_VARIABLE], _SESSIONS, [prefix])

    # -- this tree -----------------------------------------------------------------------------------------------------

    def take_over(self, new: Shell, report: Report) -> None:
        for step in (self._listed, self._retried, self._resumed, self._reverted, self._mended):
            with report.part(f"kintell {step.__name__.strip('_')}"):
                step(new, report)

    def _listed(self, new: Shell, report: Report) -> None:
        wanted, found = self.kept["jobs"], self._jobs(new)
        plain = [
            {id_: {name: job.get(name) for name in _COUNTED} for id_, job in some.items()} for some in (wanted, found)
        ]
        report.equal("kintell: jobs are listed with their counts and states", *plain)
        half = self.jobs["half.csv"]
        report.equal("kintell half: it is listed as stuck", (True, True), (wanted[half]["stuck"], found[half]["stuck"]))
        errors = new("errors", self.jobs["open.csv"], variables=self.variables).out
        report.equal("kintell open: the file of its rejects, byte by byte", self.kept["errors"], errors)
        counts = Counter(job["status"] for job in found.values())
        report.true("kintell: no job is lost", sum(counts.values()) == 5, str(counts))

    def _retried(self, new: Shell, report: Report) -> None:
        """Some of the users that a file lacked are created, and the same file is imported again."""
        path, before = self.folder / "users.csv", self._sessions("users-")
        report.equal("kintell users: rows of users who are there", _LATER, len(before))
        for number in range(_LATER - 1):
            rows(self.variables[_VARIABLE], _USER, [f"later{number}@example.com"])
        look = new("import", path, "--dry-run", "--json", code=1, variables=self.variables).body
        report.equal("kintell users: the dry run changes no row", before, self._sessions("users-"))
        job = self.jobs["users.csv"]
        done = self._import(new, path, code=1).body
        report.equal("kintell users: the same file goes on with its job", job, done["job_id"])
        counts = {"inserted": _LATER - 1, "updated": 0, "rejected": 1}
        would = {"inserted": look["would_insert"], "updated": look["would_update"], "rejected": look["rejected"]}
        report.equal("kintell users: the dry run says what the import does", counts, would)
        did = {name: done["retried"][name] for name in ("inserted", "updated")} | {"rejected": done["rejected"]}
        report.equal("kintell users: rejects whose users were created are imported", counts, did)
        report.equal("kintell users: what is open still", 1, done["open_rejects"])
        report.equal("kintell users: rows in the table", 2 * _LATER - 1, len(self._sessions("users-")))

    def _resumed(self, new: Shell, report: Report) -> None:
        half = self.jobs["half.csv"]
        new("resume", half, "--batch-size", "100", code=(0, 1), variables=self.variables)
        job = self._jobs(new)[half]
        report.equal("kintell half: resumed and completed", "completed", job["status"])
        found = rows(self.variables[_VARIABLE], _PLAIN, ["half-"])
        report.equal("kintell half: rows are those of an import that nobody killed", self.kept["half"], found)
        counts = [{name: one[name] for name in (*_COUNTED, *_EVENTS)} for one in (self.kept["half job"], job)]
        report.equal("kintell half: its counts and events are those of an import that nobody killed", *counts)
        answer = new("verify", "kintell", "--json", code=(0, 1), variables=self.variables)
        found = {name: text for name, text in errors(answer).items() if "reject" not in name}  # open ones may be told
        report.equal("kintell: verify finds no row that is missing or wrong", {}, found)

    def _reverted(self, new: Shell, report: Report) -> None:
        for name, prefix, wanted in (("changed.csv", "base-", self.kept["base"]), ("half.csv", "half-", [])):
            job = self.jobs[name]
            look = new("revert", "kintell", "--plan-id", job, "--dry-run", "--json", variables=self.variables).body
            done = new("revert", "kintell", "--plan-id", job, "--json", variables=self.variables).body
            counts = {key: done["classes"].get(key, 0) for key in ("removed", "restored")}
            report.equal(
                f"kintell {name}: the dry run of revert says what revert does", look["classes"], done["classes"]
            )
            report.true(f"kintell {name}: rows are taken back", sum(counts.values()) > 0, str(done["classes"]))
            report.equal(f"kintell {name}: rows are those of before", wanted, self._sessions(prefix))
        report.equal("kintell open: its rows are left alone", self.kept["open"], self._sessions("open-"))

    def _mended(self, new: Shell, report: Report) -> None:
        """The open rejects, corrected and imported."""
        fixed = _renamed(self.repaired, "open-")
        answer = self._import(new, self._written("fixed.csv", fixed), "--create-users")
        report.equal("kintell open: its rejects are imported once corrected", len(fixed), answer.body["inserted"])
        count = len(self.kept["open"]) + len(fixed)
        report.equal("kintell open: every row of the file is a session now", count, len(self._sessions("open-")))


def _renamed(some: list[Row], prefix: str) -> list[Row]:
    """The rows as sessions of a file of their own."""
    return [row | {"session_id": row["session_id"].replace(_OWN_ID, prefix)} for row in some]
