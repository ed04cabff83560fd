"""`python -m session_assets_tests.faults.table FILE…`: the table of faults in docs/reliability.md, from what tests recorded.

A cell shows the last line that the files hold of it. One that no file holds is shown as not run.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from session_assets_tests.faults.cells import ALL, PLACES, Cell
from session_assets_tests.faults.record import Line, Outcome, lines
from session_assets_tests.faults.steps import STEPS

PAGE = Path(__file__).parents[2] / "docs" / "reliability.md"
BEGIN, END = "<!-- table of faults: begin -->", "<!-- table of faults: end -->"
NOT_RUN, IMPOSSIBLE, NONE = "not run", "impossible", ""
CELLS = [cell for cells in ALL.values() for cell in cells]
ROWS = sorted({(cell.place, cell.fault): 0 for cell in CELLS}, key=lambda row: PLACES.index(row[0]))
_Key = tuple[str, str, str, str]


def rendered(found: Iterable[Line]) -> str:
    """One table a slice: a row for each fault of each place, a column for each step; and the sums."""
    last = {(one.slice_, one.step, one.place, one.fault): one for one in found}
    shown = [_sums(last)]
    for slice_ in STEPS:
        steps = [*dict.fromkeys(cell.step_name for cell in CELLS if cell.slice_ == slice_)]
        shown += ["", f"**{slice_}**", "", _row("", *steps), "|" + "---|" * (len(steps) + 1)]
        for place, fault in ROWS:
            told = [_told(Cell(slice_, step, place, fault), last) for step in steps]
            if any(told):
                shown.append(_row(f"{place}: {fault}", *told))
    return "\n".join(shown)


def _sums(last: dict[_Key, Line]) -> str:
    cells = [last.get(_key(cell)) for cell in CELLS]
    counts = Counter(NOT_RUN if one is None else one.outcome.value for one in cells)
    slowest = max((one.seconds for one in cells if one is not None), default=0.0)
    told = ", ".join(f"{count:,} {name}" for name, count in sorted(counts.items(), key=lambda item: -item[1]))
    return f"{len(CELLS):,} cells: {told}. The slowest command took {slowest:.0f} s."


def _told(cell: Cell, last: dict[_Key, Line]) -> str:
    if cell not in CELLS:
        return NONE if cell.is_possible else IMPOSSIBLE
    line = last.get(_key(cell))
    if line is None:
        return NOT_RUN
    return f"{line.outcome.value} ({line.seconds:.0f} s)" if line.has_begun else Outcome.NOT_BEGUN.value


def _key(cell: Cell) -> _Key:
    return cell.slice_, cell.step_name, cell.place, cell.fault


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def put(page: str, table: str) -> str:
    """The page with another table between the markers."""
    before, found, rest = page.partition(BEGIN)
    _, ended, after = rest.partition(END)
    assert found and ended, "the page has no markers"
    return f"{before}{BEGIN}\n{table}\n{END}{after}"


if __name__ == "__main__":
    recorded = [line for name in sys.argv[1:] for line in lines(Path(name))]
    PAGE.write_text(put(PAGE.read_text(), rendered(recorded)))
