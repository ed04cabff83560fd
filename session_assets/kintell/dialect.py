"""How a CSV file is written, told by its header: the delimiter, and where each column stands."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from session_assets.errors import BadInput
from session_assets.kintell.model import COLUMNS, ERROR_COLUMNS, ERROR_ROW, RAW
from session_assets.masking import safe_text

DELIMITERS = (",", ";", "\t")
_SIGNS = "=+@\ufe62\ufe63\ufe66\ufe6b\uff0b\uff0d\uff1d\uff20\u207a\u207b\u207c\u208a\u208b\u208c\u2212\\-"
_BLANKS = "\x01-\x20\x7f-\xa0\u1680\u180e\u2000-\u200f\u2028-\u202f\u205f-\u206f\u3000\ufeff"
_FORMULA = f"[{_BLANKS}]*[{_SIGNS}]|[\t\r']"
FORMULA = re.compile(f"(?:{_FORMULA})")
"""The beginning of a value that a spreadsheet may take for a formula: a sign, also full-width, small or raised, also after
blanks and characters that nobody sees; tab, CR; and `'`, so that the mark itself comes back."""
ESCAPED_VALUE = f"^'({_FORMULA})"
"""A value of an error file with the mark that keeps a spreadsheet from taking it for a formula; for `re` and for Polars."""
_SHOWN = 20


@dataclass(frozen=True)
class Header:
    """The columns of a file, by their places from 0."""

    names: tuple[str, ...]
    """All of them, as in the file; in an error file without the mark against formulas."""
    known: dict[str, int]
    """The runbook's columns that the file has, by their lower-case names."""
    extras: dict[str, int]
    """Columns that no rule knows. One without a name is called by its number."""
    is_error_file: bool
    raw: int | None
    """Where an error file holds records that could not be split."""

    @property
    def width(self) -> int:
        return len(self.names)

    @property
    def own(self) -> list[int]:
        """Places of the source's columns: all but those that an error file adds."""
        added = set() if not self.is_error_file else set(ERROR_COLUMNS)
        return [place for place, name in enumerate(self.names) if _plain(name) not in added]

    @property
    def own_names(self) -> list[str]:
        return [self.names[place] for place in self.own]

    @property
    def absent(self) -> tuple[str, ...]:
        """The runbook's columns that the file does not have."""
        return tuple(name for name in COLUMNS if name not in self.known)


def choose_delimiter(candidates: dict[str, list[str]]) -> str:
    """The delimiter whose reading of the header finds the most known columns, then the most columns."""

    def found(delimiter: str) -> tuple[int, int]:
        names = candidates[delimiter]
        return len({*map(_plain, names)} & {*COLUMNS, *ERROR_COLUMNS}), len(names)

    return max(candidates, key=found)


def read_header(fields: Sequence[str], required: Sequence[str], where: str) -> Header:
    """The header of these fields. Raises `BadInput`: a required column is missing, or a name is there twice."""
    is_error_file = ERROR_ROW in map(_plain, fields)
    names = tuple(re.sub(ESCAPED_VALUE, r"\1", name) for name in fields) if is_error_file else tuple(fields)
    plain = [_plain(name) for name in names]
    if missing := [name for name in required if name not in plain]:
        raise BadInput(
            f"{where}: required columns are missing: {', '.join(missing)}. Found: {_shown(names)}. Nothing was imported."
            " Name the columns as in docs/templates/kintell_sessions_template.csv; any order and case will do."
        )
    known = {name: plain.index(name) for name in COLUMNS if name in plain}
    own = {*known.values(), *(place for place, name in enumerate(plain) if is_error_file and name in ERROR_COLUMNS)}
    labels = [
        name if name in COLUMNS or name in ERROR_COLUMNS else names[place].strip() or f"column {place + 1}"
        for place, name in enumerate(plain)
    ]
    if twice := list(dict.fromkeys(label for label in labels if labels.count(label) > 1)):
        raise BadInput(
            f"{where}: the header names columns more than once: {_shown(twice)}. Rename or remove one of each."
        )
    if not is_error_file and (reserved := [name for name in plain if name in ERROR_COLUMNS]):
        raise BadInput(
            f"{where}: the column {reserved[0]} is reserved for error files, and {ERROR_ROW} is missing. Rename it."
        )
    extras = {label: place for place, label in enumerate(labels) if place not in own}
    raw = plain.index(RAW) if is_error_file and RAW in plain else None
    return Header(names, known, extras, is_error_file, raw)


def _plain(name: str) -> str:
    return name.strip().lower()


def _shown(names: Sequence[str]) -> str:
    """Names that fit a message: a file that is no CSV may hold anything here."""
    texts = [safe_text(name if len(name) <= 40 else f"{name[:39]}…").strip() for name in names[:_SHOWN]]
    printable = ["".join(one if one.isprintable() else "?" for one in text) or "(no name)" for text in texts]
    return ", ".join(printable) + (" …" if len(names) > _SHOWN else "")
