"""What all parts have in common: the released tree makes something, then this tree takes it over."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from session_assets_tests.upgrade.report import Report
from session_assets_tests.upgrade.shell import Shell

PLANT = Path(__file__).with_name("plant.py")
LISTING = Path(__file__).with_name("listing.py")


class Part(Protocol):
    """One slice, or the Dagster instance. It keeps between both calls what it has to compare."""

    name: str

    def make(self, old: Shell) -> None:
        """Let the released tree make and leave behind; take snapshots."""
        ...

    def take_over(self, new: Shell, report: Report) -> None:
        """Let this tree list, resume and revert, and compare."""
        ...
