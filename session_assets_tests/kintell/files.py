"""CSV files for tests of the reader: clean rows, and rows that break one rule or two, in known numbers."""

from __future__ import annotations

import csv
import io
import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

from session_assets.kintell.model import ACCEPTED, COLUMNS, REJECTED
from session_assets.kintell.reader import CsvFile
from session_assets.kintell.validation import Validated, validate

Row = dict[str, str]
SAMPLE = """\
session_id,session_type,participant_email,volunteer_email,date,duration_min,rating,feedback_text,language_level
kintell-session-001,Language Connect,john@example.com,sarah@example.com,2024-01-15T10:00:00Z,60,5,Excellent session!,B1
kintell-session-002,Mentorship,alice@example.com,bob@example.com,2024-01-15T14:00:00Z,45,4,Very helpful,B2
kintell-session-003,Language Connect,charlie@example.com,diana@example.com,2024-01-16T09:00:00Z,60,,No feedback,A2
"""
"""The runbook's own sample."""


def clean(number: int, **changed: str) -> Row:
    """A row that breaks no rule."""
    return {
        "session_id": f"kintell-session-{number:05d}",
        "session_type": ("Language Connect", "mentorship")[number % 2],
        "participant_email": f"participant{number % 10}@example.com",
        "volunteer_email": f"volunteer{number % 5}@example.com",
        "date": f"2024-01-{1 + number % 28:02d}T{number % 24:02d}:00:00Z",
        "duration_min": str(15 + number % 90),
        "rating": ("", "1", "4.5", "5")[number % 4],
        "feedback_text": ("Great", "", 'said "hi", twice', "two\nlines")[number % 4],
        "language_level": ("A1", "", "c2")[number % 3],
    } | changed


def somebody(emails: pl.Series) -> pl.DataFrame:
    """A user for every e-mail but those of nobody."""
    known = emails.filter(~emails.str.starts_with("nobody")).to_list()
    ids = [f"00000000-0000-0000-0000-{abs(hash(email)) % 10**12:012d}" for email in known]
    return pl.DataFrame({"email": known, "id": ids}, schema={"email": pl.String, "id": pl.String})


def write(
    path: Path, rows: Iterable[Row], *, delimiter: str = ",", end: str = "\n", columns: Sequence[str] = COLUMNS
) -> Path:
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, columns, delimiter=delimiter, lineterminator=end, quoting=csv.QUOTE_ALL)
    writer.writeheader()
    writer.writerows(rows)
    path.write_bytes(text.getvalue().encode())
    return path


def read(path: Path, *, encoding: str | None = None, required: Sequence[str] = ()) -> list[tuple[object, ...]]:
    """Row, line, problem, and the values (or the raw record) of everything in a file."""
    found: list[tuple[object, ...]] = []
    for _, frame in CsvFile(path, encoding=encoding, required=required).frames():
        for row, line, _, problem, raw, values in frame.iter_rows():
            found.append((row, line, problem, values if raw is None else raw))
    return found


def checked(path: Path, scratch: Path, *, encoding: str | None = None) -> Validated:
    folder = scratch / f"scratch-{len(list(scratch.iterdir()))}"
    folder.mkdir()
    return validate(path, somebody, folder, encoding=encoding)


@dataclass(frozen=True)
class Judged:
    """All rows of a validated file."""

    accepted: pl.DataFrame
    rejected: pl.DataFrame
    skipped: int

    @property
    def reasons(self) -> dict[int, list[str]]:
        return dict(self.rejected.select("row", "reasons").iter_rows())

    @property
    def messages(self) -> list[str]:
        return self.rejected["message"].to_list()


def judged(validated: Validated, *, batch_size: int = 10_000, after_row: int = 0) -> Judged:
    batches = list(validated.batches(batch_size, after_row))
    return Judged(
        pl.concat([pl.DataFrame(schema=ACCEPTED), *(batch.accepted for batch in batches)]),
        pl.concat([pl.DataFrame(schema=REJECTED), *(batch.rejected for batch in batches)]),
        sum(batch.skipped for batch in batches),
    )


# -- violations --------------------------------------------------------------------------------------------------------

_BREAK: dict[str, tuple[str, str]] = {
    "session_id_missing": ("session_id", "  "),
    "session_id_too_long": ("session_id", "x" * 256),
    "session_type_unknown": ("session_type", "Yoga"),
    "participant_email_invalid": ("participant_email", "not an e-mail"),
    "volunteer_email_invalid": ("volunteer_email", ""),
    "date_invalid": ("date", "2024-02-30T10:00:00Z"),
    "duration_invalid": ("duration_min", "-5"),
    "rating_invalid": ("rating", "5.5"),
    "language_level_invalid": ("language_level", "D1"),
    "participant_not_found": ("participant_email", "nobody1@example.com"),
    "volunteer_not_found": ("volunteer_email", "nobody2@example.com"),
}
WORDS = {
    "session_id_missing": "Missing session_id",
    "session_id_too_long": "Invalid session_id: longer than 255 characters",
    "session_type_unknown": "Unknown session type: Yoga",
    "participant_email_invalid": "Invalid email format",
    "volunteer_email_invalid": "Invalid email format",
    "date_invalid": "Invalid date format: 2024-02-30T10:00:00Z",
    "duration_invalid": "Invalid duration: must be a positive integer, not -5",
    "rating_invalid": "Invalid rating: must be between 1 and 5, not 5.5",
    "language_level_invalid": "Invalid language level: must be A1, A2, B1, B2, C1 or C2, not D1",
    "participant_not_found": "Participant not found: nobody1@example.com",
    "volunteer_not_found": "Volunteer not found: nobody2@example.com",
}


@dataclass
class Planted:
    """Rows with known violations; `repaired` is the same file without any."""

    rows: list[Row] = field(default_factory=list)
    repaired: list[Row] = field(default_factory=list)
    reasons: dict[int, list[str]] = field(default_factory=dict)
    """By row, in the order of `WORDS`; `duplicate_in_file` last."""
    others: dict[int, int] = field(default_factory=dict)
    repeated: int = 0

    def add(self, *broken: str, twin: bool = False) -> None:
        """A row that breaks these rules; `twin`: and another row of the same id that says something else."""
        number = len(self.rows)
        row, good = clean(number), clean(number)
        for reason in broken:
            column, value = _BREAK[reason]
            row[column] = f"{value}{number}" if reason == "session_id_too_long" else value
        self.rows.append(row)
        self.repaired.append(good)
        if broken or twin:
            self.reasons[number + 1] = [*broken, *(["duplicate_in_file"] if twin else [])]
        if twin:
            other = {**row, "feedback_text": "something else"}
            self.rows.append(other)
            self.repaired.append(clean(number + 1))
            self.reasons[number + 2] = self.reasons[number + 1]
            self.others |= {number + 1: number + 2, number + 2: number + 1}

    def repeat(self) -> None:
        """The last row once more."""
        self.rows.append(self.rows[-1])
        self.repaired.append(self.repaired[-1])
        self.repeated += 1

    @property
    def counts(self) -> dict[str, int]:
        return dict(Counter(reason for reasons in self.reasons.values() for reason in reasons))

    def message(self, row: int) -> str:
        twin = f"Duplicate session_id: row {self.others.get(row)} of the file says something else"
        return "; ".join(twin if one == "duplicate_in_file" else WORDS[one] for one in self.reasons[row])


def plant(total: int) -> Planted:
    """So many rows: each violation seven times alone, each possible pair of violations three times, each with a twin."""
    planted = Planted()
    steps: list[Callable[[], None]] = [lambda: planted.add()] * 30
    for reason in _BREAK:
        steps += [lambda reason=reason: planted.add(reason)] * 7
    for one, other in _pairs():
        steps += [lambda one=one, other=other: planted.add(one, other)] * 3
    for reason in [*_BREAK][1:]:
        steps += [lambda reason=reason: planted.add(reason, twin=True)] * 3
    steps += [lambda: planted.add(twin=True)] * 11
    steps += [lambda: (planted.add(), planted.repeat())[0]] * 17
    for step in steps:
        step()
        planted.add()
    while len(planted.rows) < total:
        planted.add()
    return planted


def _pairs() -> Iterator[tuple[str, str]]:
    """Pairs of violations that one row can have."""
    for one, other in itertools.combinations(_BREAK, 2):
        if _BREAK[one][0] != _BREAK[other][0]:
            yield one, other
