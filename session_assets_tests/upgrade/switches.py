"""Switches schedules and sensors as the UI does, and says which run; a script of the tree on whose PYTHONPATH it is run.

    switches.py WORKSPACE '{"off": [NAME, …], "on": [NAME, …]}'

Prints the names of those that are `running` and of those that are `stopped`, as JSON.
"""

from __future__ import annotations

import json
import sys
import warnings
from typing import Any

from dagster import DagsterInstance
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import WorkspaceFileTarget


def main(workspace: str, wanted: str) -> dict[str, list[str]]:
    switches: dict[str, list[str]] = json.loads(wanted)
    states: dict[str, list[str]] = {"running": [], "stopped": []}
    with (
        DagsterInstance.get() as instance,
        WorkspaceProcessContext(instance, WorkspaceFileTarget([workspace])) as process,
    ):
        context: Any = process.create_request_context()
        (location,) = context.code_locations
        (repository,) = location.get_repositories().values()
        for one, start, stop in (
            *((one, instance.start_schedule, instance.stop_schedule) for one in repository.get_schedules()),
            *((one, instance.start_sensor, instance.stop_sensor) for one in repository.get_sensors()),
        ):
            if one.name in switches.get("on", []):
                start(one)
            if one.name in switches.get("off", []):
                stop(one.get_remote_origin_id(), one.selector_id, one)
            stored = instance.get_instigator_state(one.get_remote_origin_id(), one.selector_id)
            state = "running" if one.get_current_instigator_state(stored).is_running else "stopped"
            states[state].append(one.name)
    return states


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    json.dump(main(*sys.argv[1:]), sys.stdout)
