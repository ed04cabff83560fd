"""The home of a command cannot be written or read from some moment on: as for networks, it costs nothing."""

from __future__ import annotations

import pytest

from session_assets_tests.faults.cells import Cell, chosen
from session_assets_tests.faults.stage import Stage
from session_assets_tests.faults.trial import Goal, try_cell


@pytest.mark.parametrize("cell", chosen("homes"), ids=str)
def test_a_fault_of_the_home_costs_nothing(stage: Stage, cell: Cell, goal: Goal) -> None:
    try_cell(stage, cell, goal)
