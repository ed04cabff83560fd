"""The table of faults: each slice, step, place and fault is a cell. The default run takes a few, the full run all."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from session_assets_tests.counts import FULL
from session_assets_tests.faults.home import FULL_DISK, NO_PERMISSION, OF_HOMES
from session_assets_tests.faults.proxy import FAULTS as OF_NETWORKS
from session_assets_tests.faults.steps import STEPS, Step
from session_assets_tests.faults.troubles import KILLED, OF_SERVERS, RESTARTED

PLACES = STORE, DAGSTER, NATS, HOME = "store", "Dagster's database", "NATS", "home"
PUBLISHES = ("kintell", "import")
"""The step that publishes events, if it knows a NATS server."""


@dataclass(frozen=True)
class Cell:
    """A fault of a place (a server, or the home) in a step of a slice."""

    slice_: str
    step_name: str
    place: str
    fault: str

    @property
    def step(self) -> Step:
        return next(one for one in STEPS[self.slice_] if one.name == self.step_name)

    @property
    def is_possible(self) -> bool:
        """The Cosmos DB emulator keeps its documents in memory: killed, it has lost them."""
        return (self.slice_, self.place) != ("identity", STORE) or self.fault not in (KILLED, RESTARTED)

    def __str__(self) -> str:
        return f"{self.slice_}-{self.step_name}-{self.place}-{self.fault}"


def _cells(faults: Iterable[str], *places: str) -> list[Cell]:
    cells = [
        Cell(slice_, step.name, place, fault)
        for slice_, steps in STEPS.items()
        for step in steps
        if step.name != "rehearsal"  # writes to a copy alone
        for place in places
        for fault in faults
        if place != NATS or (slice_, step.name) == PUBLISHES
    ]
    return [one for one in cells if one.is_possible]


ALL = {
    "networks": _cells(OF_NETWORKS, STORE, DAGSTER, NATS),
    "servers": _cells(OF_SERVERS, STORE, DAGSTER, NATS),
    "homes": _cells(OF_HOMES, HOME),
}
_FEW = {
    "networks": [
        Cell("web", "plan", STORE, "black hole"),
        Cell("contest", "revert", DAGSTER, "stall"),
        Cell("kintell", "import", NATS, "delay"),
        Cell("flow", "contract", STORE, "reset"),
    ],
    "servers": [Cell("web", "plan", STORE, KILLED)],
    "homes": [Cell("identity", "apply", HOME, FULL_DISK), Cell("kintell", "revert", HOME, NO_PERMISSION)],
}
"""Of the default run."""


def chosen(kind: str) -> list[Cell]:
    """The cells of this test run."""
    return ALL[kind] if FULL else _FEW[kind]
