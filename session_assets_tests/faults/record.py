"""What became of each cell, a line of JSON in the file that SESSION_ASSETS_FAULT_TABLE names; `table` makes the table of it."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path

VARIABLE = "SESSION_ASSETS_FAULT_TABLE"


class Outcome(StrEnum):
    """In all but the last, nothing is lost or doubled."""

    WENT_ON = "went on"
    COMPLETED = "ended, then completed"
    WAS_COMPLETE = "ended, was complete"
    NOT_BEGUN = "did not begin"
    FAILED = "FAILED"


@dataclass
class Line:
    """One try of a cell. `exit` and `seconds` are those of the command that met the fault."""

    slice_: str
    step: str
    place: str
    fault: str
    has_begun: bool = False
    exit: int | None = None
    seconds: float = 0.0
    outcome: Outcome = Outcome.FAILED


def record(line: Line) -> None:
    if path := os.environ.get(VARIABLE):
        with Path(path).open("a") as file:
            file.write(json.dumps(asdict(line)) + "\n")  # one write: several processes may append


def lines(path: Path) -> list[Line]:
    """All lines of a file, in their order."""
    found = [json.loads(one) for one in path.read_text().splitlines()]
    return [Line(**{**one, "outcome": Outcome(one["outcome"])}) for one in found]
