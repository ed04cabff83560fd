"""The header of a file of sessions: where each column of the runbook stands, and what else there is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from session_assets.drops.error_file import ERROR_COLUMNS, ERROR_ROW
from session_assets.drops.header import Advice, Names, plain, repeated, shown
from session_assets.errors import BadInput
from session_assets.kintell.model import COLUMNS


@dataclass(frozen=True)
class Header:
    """The columns of a file, by their places from 0."""

    file: Names
    known: dict[str, int]
    """The runbook's columns that the file has, by their lower-case names."""
    extras: dict[str, int]
    """Columns that no rule knows. One without a name is called by its number."""

    @property
    def names(self) -> tuple[str, ...]:
        return self.file.names

    @property
    def own(self) -> list[int]:
        return self.file.own

    @property
    def own_names(self) -> list[str]:
        return [self.names[place] for place in self.own]

    @property
    def absent(self) -> tuple[str, ...]:
        """The runbook's columns that the file does not have."""
        return tuple(name for name in COLUMNS if name not in self.known)


def read_header(file: Names, required: Sequence[str], advice: Advice, where: str) -> Header:
    """The header of these columns. Raises `BadInput`: a required column is missing, or a name is there twice."""
    names, is_error_file = file.names, file.is_error_file
    lower = [plain(name) for name in names]
    if missing := [name for name in required if name not in lower]:
        raise BadInput(
            f"{where}: required columns are missing: {', '.join(missing)}. {file.why_missing(advice)} Nothing was imported."
            " Name the columns as in docs/templates/kintell_sessions_template.csv; any order and case will do."
        )
    known = {name: lower.index(name) for name in COLUMNS if name in lower}
    own = {*known.values(), *(place for place, name in enumerate(lower) if is_error_file and name in ERROR_COLUMNS)}
    labels = [
        name if name in COLUMNS or name in ERROR_COLUMNS else names[place].strip() or f"column {place + 1}"
        for place, name in enumerate(lower)
    ]
    if twice := repeated(labels):
        raise BadInput(
            f"{where}: the header names columns more than once: {shown(twice)}. Rename or remove one of each."
        )
    if not is_error_file and (reserved := [name for name in lower if name in ERROR_COLUMNS]):
        raise BadInput(
            f"{where}: the column {reserved[0]} is reserved for error files, and {ERROR_ROW} is missing. Rename it."
        )
    extras = {label: place for place, label in enumerate(labels) if place not in own}
    return Header(file, known, extras)
