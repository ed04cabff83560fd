"""A sample file of Kintell sessions with known, counted violations: what an import rejects can be held against it.

The truth is known by construction: a clean row is made first, and a recipe then spoils it in a known way. Nobody in here exists.
"""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import psycopg
from psycopg import sql

from session_assets.kintell.model import COLUMNS
from session_assets.stores.kintell_schema import migrate
from session_assets.stores.postgres import Database

Row = dict[str, str]
_PEOPLE, _VOLUNTEERS = 60, 20
_BEGAN = datetime(2024, 1, 15, 8, tzinfo=UTC)

_SPOILED: dict[str, tuple[int, str, str]] = {
    "session_id_missing": (6, "session_id", ""),
    "session_type_unknown": (9, "session_type", "Yoga"),
    "participant_email_invalid": (12, "participant_email", "somebody at example.com"),
    "volunteer_email_invalid": (7, "volunteer_email", "nobody"),
    "date_invalid": (15, "date", "01/15/2024"),
    "duration_invalid": (11, "duration_min", "-30"),
    "rating_invalid": (8, "rating", "6"),
    "language_level_invalid": (5, "language_level", "D1"),
    "participant_not_found": (14, "participant_email", "new.participant{}@example.com"),
    "volunteer_not_found": (10, "volunteer_email", "new.volunteer{}@example.com"),
}
"""How often each rule is broken alone, and with what."""
_TWINS, _REPEATED, _CUT = 6, 9, 4


@dataclass
class PlantedFile:
    """What was planted: rows of the file, its rejections by reason, and each rejected row as it should have been."""

    path: Path
    rows: int = 0
    repeated: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    repaired: dict[int, Row] = field(default_factory=dict)

    @property
    def rejected(self) -> int:
        return len(self.repaired)

    @property
    def accepted(self) -> int:
        return self.rows - self.rejected - self.repeated


def new_database(url: str) -> None:
    """Make the database of a URL anew, with our tables and the users of the sample."""
    parts = urlsplit(url)
    name = sql.Identifier(parts.path.removeprefix("/"))
    with psycopg.connect(urlunsplit(parts._replace(path="/postgres")), autocommit=True) as connection:
        connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(name))
        connection.execute(sql.SQL("CREATE DATABASE {}").format(name))
    migrate(Database.from_env("KINTELL_DATABASE_URL", {"KINTELL_DATABASE_URL": url}))
    with psycopg.connect(url, autocommit=True) as connection:
        people = [(f"participant{n}@example.com", "participant") for n in range(_PEOPLE)]
        people += [(f"volunteer{n}@example.com", "volunteer") for n in range(_VOLUNTEERS)]
        connection.cursor().executemany("INSERT INTO users (email, role) VALUES (%s, %s)", people)


def plant_file(path: Path, rows: int = 1500) -> PlantedFile:
    """Write a file of at least so many rows, with each violation spread over it."""
    planted = PlantedFile(path)
    lines = [_line(COLUMNS)]
    steps: list[Callable[[], list[str]]] = []
    for reason, (times, column, value) in _SPOILED.items():
        steps += [lambda reason=reason, column=column, value=value: [_spoiled(planted, reason, column, value)]] * times
    steps += [lambda: _twins(planted)] * _TWINS + [lambda: _repeated(planted)] * _REPEATED
    steps += [lambda: [_cut(planted)]] * _CUT
    every = max(rows // len(steps), 2)
    while steps or planted.rows < rows:
        lines += steps.pop()() if steps and planted.rows % every == 0 else [_added(planted)]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(lines), encoding="utf-8", newline="")
    return planted


def _clean(number: int) -> Row:
    when = _BEGAN + timedelta(hours=7 * number)
    return {
        "session_id": f"kintell-session-{number:05d}",
        "session_type": ("Language Connect", "Mentorship")[number % 2],
        "participant_email": f"participant{number % _PEOPLE}@example.com",
        "volunteer_email": f"volunteer{number % _VOLUNTEERS}@example.com",
        "date": when.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "duration_min": str(30 + number % 4 * 15),
        "rating": ("", "5", "4.5", "3")[number % 4],
        "feedback_text": ("Great session!", "Very helpful, thank you", "", 'She said "see you soon"\nand meant it')[
            number % 4
        ],
        "language_level": ("A1", "B2", "", "C1", "")[number % 5],
    }


def _added(planted: PlantedFile) -> str:
    planted.rows += 1
    return _line(_clean(planted.rows).values())


def _spoiled(planted: PlantedFile, reason: str, column: str, value: str) -> str:
    planted.rows += 1
    row = _clean(planted.rows)
    planted.repaired[planted.rows] = dict(row)
    planted.reasons[reason] += 1
    if "{}" in value:
        value = value.format(planted.rows % 4)
        planted.repaired[planted.rows][column] = value  # somebody who becomes a user
    return _line({**row, column: value}.values())


def _twins(planted: PlantedFile) -> list[str]:
    """Two rows of one id that say different things; the second should have had an id of its own."""
    first = _clean(planted.rows + 1)
    second = {**_clean(planted.rows + 2), "session_id": first["session_id"]}
    planted.repaired |= {planted.rows + 1: first, planted.rows + 2: _clean(planted.rows + 2)}
    planted.rows += 2
    planted.reasons["duplicate_in_file"] += 2
    return [_line(first.values()), _line(second.values())]


def _repeated(planted: PlantedFile) -> list[str]:
    line = _added(planted)
    planted.rows += 1
    planted.repeated += 1
    return [line, line]


def _cut(planted: PlantedFile) -> str:
    planted.rows += 1
    row = _clean(planted.rows)
    planted.repaired[planted.rows] = row
    planted.reasons["ragged"] += 1
    return _line([*row.values()][:4])


def _line(values: object) -> str:
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerow(values)  # pyright: ignore[reportArgumentType]
    return text.getvalue()
