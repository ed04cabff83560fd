"""The table of faults: each cell is shown, also one that was not run, and the page is made from what was recorded."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from session_assets_tests.faults.cells import ALL, HOME, STORE, chosen
from session_assets_tests.faults.record import VARIABLE, Line, Outcome, lines, record
from session_assets_tests.faults.steps import STEPS
from session_assets_tests.faults.table import BEGIN, CELLS, END, NOT_RUN, PAGE, put, rendered

PLAN = ("web", "plan", STORE, "cut")


def line(outcome: Outcome, seconds: float = 2.0, *, has_begun: bool = True) -> Line:
    return Line(*PLAN, has_begun, 3, seconds, outcome)


def test_the_last_line_of_a_cell_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "table.jsonl"
    monkeypatch.setenv(VARIABLE, str(file))
    record(line(Outcome.FAILED))
    record(line(Outcome.COMPLETED, 7.4))
    table = rendered(lines(file))
    assert (
        f"{len(CELLS):,} cells: {len(CELLS) - 1:,} not run, 1 ended, then completed. The slowest command took 7 s."
        in table
    )
    assert f"| store: cut | {Outcome.COMPLETED} (7 s) | {NOT_RUN} | {NOT_RUN} |" in table


def test_a_fault_that_did_not_begin_counts_for_nothing() -> None:
    table = rendered([line(Outcome.NOT_BEGUN, has_begun=False)])
    assert f"| store: cut | did not begin | {NOT_RUN} | {NOT_RUN} |" in table


def test_only_what_is_between_the_markers_is_replaced() -> None:
    assert put(f"a\n{BEGIN}\nold\n{END}\nb\n", "new") == f"a\n{BEGIN}\nnew\n{END}\nb\n"


def test_each_slice_has_its_dozen_of_faults() -> None:
    faults = Counter(slice_ for slice_, _, _ in {(cell.slice_, cell.place, cell.fault) for cell in CELLS})
    assert faults.keys() == STEPS.keys() and min(faults.values()) >= 12
    assert {cell.slice_ for cell in CELLS if cell.place == HOME} == STEPS.keys()


def test_the_default_run_takes_cells_of_the_table() -> None:
    few = [cell for kind in ALL for cell in chosen(kind)]
    assert {cell.slice_ for cell in few} == STEPS.keys() and set(few) <= set(CELLS)


def test_the_page_shows_each_fault_of_today() -> None:
    page = PAGE.read_text()
    rows = [one.partition(" | ")[0] for one in rendered([]).splitlines() if one.startswith("| ")]
    assert [row for row in rows if row not in page] == []
