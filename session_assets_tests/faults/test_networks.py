"""A fault between a step of a slice and its servers: nothing is lost or doubled, it ends, and it goes on when run again.

The full run tries each fault before each server in each step, the default one a few (`cells`).
"""

from __future__ import annotations

import pytest

from session_assets_tests.faults.cells import Cell, chosen
from session_assets_tests.faults.stage import Stage
from session_assets_tests.faults.trial import Goal, try_cell


@pytest.mark.parametrize("cell", chosen("networks"), ids=str)
def test_a_fault_of_the_network_costs_nothing(stage: Stage, cell: Cell, goal: Goal) -> None:
    try_cell(stage, cell, goal)
