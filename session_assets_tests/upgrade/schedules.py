"""What people switched on and off in the UI stays so: the Dagster database keeps it by the names of schedules and sensors."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

from session_assets_tests.upgrade.report import Report
from session_assets_tests.upgrade.shell import CommandFailed, Shell

_SWITCHES = Path(__file__).with_name("switches.py")
_STORES = ("WEB_MONGO_URI", "CONTEST_MONGO_URI", "AZURE_COSMOS_ENDPOINT", "KINTELL_DATABASE_URL", "FLOW_DATABASE_URL")
_OFF = ["web_daily_verify", "kintell_daily_verify", "web_repair_sensor"]
_ON = ["contest_daily_repair", "weekly_purge"]


@dataclass
class Schedules:
    name: str = "schedules"
    states: dict[str, list[str]] = field(default_factory=dict[str, list[str]])

    def make(self, old: Shell) -> None:
        if not (Path(old.variables["DAGSTER_HOME"]) / "dagster.yaml").exists():
            old("verify", "all", variables=dict.fromkeys(_STORES, ""))  # any command makes the Dagster instance
        self.states = _switch(old, {"off": _OFF, "on": _ON})
        if not (set(_OFF) <= set(self.states["stopped"]) and set(_ON) <= set(self.states["running"])):
            raise CommandFailed(f"the released tree does not switch {_OFF} off and {_ON} on: {self.states}")

    def take_over(self, new: Shell, report: Report) -> None:
        found = _switch(new, {})
        for state in ("stopped", "running"):
            turned = sorted(set(self.states[state]) - set(found[state]))
            report.equal(f"schedules: all that were {state} are {state}", [], turned)


def _switch(shell: Shell, switches: dict[str, list[str]]) -> dict[str, list[str]]:
    """Names of schedules and sensors that run, and of those that are stopped."""
    workspace = shell.tree.root / "session_assets" / "workspace.yaml"
    return shell.script(_SWITCHES, str(workspace), json.dumps(switches))
