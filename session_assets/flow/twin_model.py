"""The nouns of the twin: obstacles, what a statement of the application is, and what a try says of the road. Pure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any

import polars as pl

from session_assets.flow.model import BACKFILL, CONTRACT, EXPAND

BEFORE = "before"
"""The stage before the first step."""
STAGES = (BEFORE, EXPAND, BACKFILL, CONTRACT)
MOST = 200
"""Obstacles, notes or statements that a report holds of each kind."""
_SHOWN = 20
_NAMES_OLD = ("42703", "42P01", "42702", "42P10", "42883")
"""SQLSTATEs of a statement that names a column which is gone."""
_EFFECTS = {
    "42703": "it names a column that is gone by then",
    "23502": "a column must have a value that it does not get",
    "23503": "a row refers to one that is not there",
    "23505": "a value may be there once only",
    "23514": "a check refuses the values",
    "23P01": "an exclusion constraint refuses the values",
    "22P02": "a value is no value of the column's type",
    "22001": "a value is too long for its column",
    "2BP01": "something else depends on it",
    "55000": "the object is not in the state for it",
    "42501": "the account lacks the right",
    "0A000": "PostgreSQL does not support it here",
    "P0001": "a function of yours raises an error",
    "428C9": "a generated column takes no value",
    "42809": "it is another kind of object",
    "57014": "it takes too long",
}
_REMEDIES = {
    "42703": "Change the function, rule or trigger so that it does not name the column, before contract",
    "23502": "Give the column a default, drop its NOT NULL, or name a value in `literals` of the description",
    "23514": "Widen the check, or name a value in `literals` of the description that it takes",
    "22P02": "Name a value that the type takes in `literals` of the description, or describe another column",
    "2BP01": "Drop or change what depends on it first, and make it again after contract",
    "55000": "Give the table a replica identity that does not need the column: ALTER TABLE … REPLICA IDENTITY",
    "42501": "Grant the right to the account",
    "23505": "Drop the unique index or constraint, or make it partial, while the migration is on its way",
}
_OTHERWISE = "Change the object, or describe the schema so that it is left alone"


OBSTACLES = pl.Schema(
    {
        "object": pl.String,
        "stage": pl.String,  # a step, or the undo of one
        "statement": pl.String,  # whose work fails: a step of ours, or a statement of the application
        "sqlstate": pl.String,
        "message": pl.String,
        "remedy": pl.String,
    }
)
"""One row an obstacle."""


@dataclass(frozen=True)
class Obstacle:
    """What would stop the migration, or the application, on the real database.

    `stage` is where it was met: a step, or the undo of one. `step` and `statement` are about whose work fails.
    """

    object: str
    stage: str
    statement: str
    sqlstate: str
    message: str
    remedy: str = ""

    @property
    def effect(self) -> str:
        return _EFFECTS.get(self.sqlstate, self.message)

    @property
    def text(self) -> str:
        """One line for people, without the next step."""
        state = f" ({self.sqlstate})" if self.sqlstate else ""
        failed = f"{self.statement} fails at {self.stage}{state}: " if self.statement else ""
        return f"{self.object}: {failed}{self.message}"


def remedy_of(sqlstate: str) -> str:
    """What a person does about a failure."""
    return _REMEDIES.get(sqlstate, _OTHERWISE)


def is_by_design(sqlstate: str, stage: str, names_old: bool) -> bool:
    """Whether a statement must fail: it names an old column, which contract drops. It must be deployed without it first."""
    return names_old and stage == CONTRACT and sqlstate in _NAMES_OLD


@dataclass(frozen=True)
class Statement:
    """A statement that the application may send.

    `about` says what it is, without a value of any row; `text` is the SQL. `since` is the first stage at which it can work.
    `is_own` tells a statement that somebody gave us, or the server recorded, from one that we made of a row.
    """

    about: str
    text: str
    table: str = ""
    names_old: bool = False
    since: str = BEFORE
    is_prepared: bool = False
    is_insert: bool = False
    is_own: bool = False


@dataclass
class Report:
    """What was tried on a twin, and what came of it."""

    target: str
    fingerprint: str
    migration: str
    begins: str = "new"
    """State of the real database when the twin was made."""
    made_at: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))
    rows: dict[str, int] = field(default_factory=dict[str, int])
    stages: dict[str, int] = field(default_factory=dict[str, int])
    """By stage, how many statements of the application were run at it."""
    obstacles: list[Obstacle] = field(default_factory=list[Obstacle])
    must_be_deployed: list[str] = field(default_factory=list[str])
    """Statements and objects of the application that name an old column."""
    notes: list[str] = field(default_factory=list[str])
    seconds: float = 0.0
    more: int = 0
    """Obstacles that were met beside those that are held here."""

    @property
    def deployed_digest(self) -> str:
        """Names the list of what must be deployed first: who acknowledges it has seen this one."""
        return digest(self.must_be_deployed)

    def add(self, obstacle: Obstacle) -> None:
        """Add it, unless the same is known: one object that fails the same way at the same stage, whatever the statement."""
        known = {(one.object, one.stage, one.sqlstate, one.message) for one in self.obstacles}
        key = (obstacle.object, obstacle.stage, obstacle.sqlstate, obstacle.message)
        if key in known:
            return
        if len(self.obstacles) < MOST:
            self.obstacles.append(obstacle)
        else:
            self.more += 1

    @property
    def met(self) -> int:
        """How many obstacles were met."""
        return len(self.obstacles) + self.more

    def note(self, text: str) -> None:
        if text not in self.notes and len(self.notes) < MOST:
            self.notes.append(text)

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    @staticmethod
    def from_dict(told: Mapping[str, Any]) -> Report:
        return Report(**{**told, "obstacles": [Obstacle(**one) for one in told["obstacles"]]})


def digest(lines: list[str]) -> str:
    """Eight characters that change with any line."""
    return hashlib.sha256(json.dumps(lines).encode()).hexdigest()[:8]


def story(report: Report) -> Iterator[str]:
    """What a person reads of a try: obstacles first."""
    for one in report.obstacles[:_SHOWN]:
        yield f"OBSTACLE: {one.text}"
        yield f"  {one.remedy}."
    yield from _rest(report.met)
    for text in report.must_be_deployed[:_SHOWN]:
        yield f"must be changed before contract: {text}"
    yield from _rest(len(report.must_be_deployed))
    for text in report.notes[:_SHOWN]:
        yield f"note: {text}"
    yield from _rest(len(report.notes))
    if not report.stages:
        yield f"No step would begin: {report.met:,} obstacles. Remove them, then run the plan again"
        return
    sent = f"{sum(report.rows.values()):,} rows, {sum(report.stages.values()):,} statements of the application"
    ended = f"{report.met:,} obstacles. Remove them, then run the plan again" if report.obstacles else "no obstacle"
    yield f"The road and its way back were tried on a twin ({sent}, {report.seconds:.0f} s): {ended}"


def _rest(count: int) -> Iterator[str]:
    if count > _SHOWN:
        yield f"  … and {count - _SHOWN:,} more: --json shows all"
