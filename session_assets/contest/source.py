"""Reads contest sessions, each wire batch before the problems and users that it needs: see DESIGN 1, rule 1.

A document that changes after it was read fails its guard; a problem that changes later is seen by the next run.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta

import polars as pl

from session_assets.changes.evidence import Holding
from session_assets.contest.attempts import contest_ids
from session_assets.contest.judgement import missing_user, moment_of, months, user_of
from session_assets.selection import Progress, Selection
from session_assets.stores.bson_frames import Field, Kind
from session_assets.stores.bson_times import Times
from session_assets.stores.contest_frames import (
    made_between,
    placed_frames,
    problem_frames,
    session_frames,
    users_of,
)
from session_assets.stores.mongo import MongoSource
from session_assets.stores.mongo_repeated import repeated_texts
from session_assets.stores.mongo_types import types_found, types_text

_TEXTS = ("session_id", "session_status", "username", "contest")
_SAID = (
    *(Field(name, Kind.TEXT) for name in _TEXTS),
    *(Field(name, Kind.MOMENT, times=Times("iso", "UTC")) for name in ("created_at", "completed_at")),
    Field("year", Kind.NUMBER),
)
"""Fields without which a session is unreadable."""
_SLACK = timedelta(days=2)  # times of day with an offset, and clocks


@dataclass(frozen=True)
class Batch:
    """Some documents with their attempts, as `stores/contest_frames.py` reads them, and what they refer to."""

    sessions: pl.DataFrame  # and `partition`, `is_repeated`: whether another document has the same session_id
    attempts: pl.DataFrame
    problems: pl.DataFrame
    users: pl.DataFrame


class ContestSource:
    """The three collections of the contest slice."""

    def __init__(
        self, sessions: MongoSource, problems: MongoSource, users: MongoSource, first: date, last: date
    ) -> None:
        self._sessions = sessions
        self._problems = problems
        self._users = users
        self._first = first
        self._last = last

    def scan(self, selection: Selection, progress: Progress | None = None) -> Iterator[Batch]:
        """All selected documents once."""
        total, read = self._sessions.estimated_count(), 0
        repeated = pl.Series(self._repeated(selection), dtype=pl.String).implode()
        for sessions, attempts in session_frames(self._sessions, self._query(selection)):
            read += sessions.height
            sessions = sessions.with_columns(
                partition=self._month(), is_repeated=pl.col("session_id").is_in(repeated).fill_null(False)
            )
            if selection.partitions is not None:
                sessions = sessions.filter(pl.col("partition").is_in(list(selection.partitions)))
                attempts = attempts.join(sessions, on="row", how="semi")
            contests = contest_ids(sessions)["contest_id"].drop_nulls().unique().to_list()
            names = sessions.filter(missing_user())["username"].drop_nulls().unique().to_list()
            ids = sessions.select(user_of().alias("user"))["user"].drop_nulls().unique().to_list()
            yield Batch(
                sessions,
                attempts,
                problem_frames(self._problems, contests),
                users_of(self._users, names, ids),
            )
            if progress is not None:
                progress("sessions", read, total)

    def standing(self) -> list[str]:
        """The partitions that hold documents."""
        found: set[str] = set()
        for frame in placed_frames(self._sessions):
            found.update(frame.select(self._month()).to_series().unique())
        return sorted(found)

    def unknown(self, selection: Selection) -> list[str]:
        """Those of the chosen sessions, or users, that no document names; in order."""
        name, wanted = ("session_id", selection.sessions) if selection.sessions else ("username", selection.usernames)
        found: set[str] = set()
        for frame in self._sessions.frames((Field(name, Kind.TEXT),), self._query(selection)):
            found.update(frame[name].drop_nulls())
        return [one for one in dict.fromkeys(wanted) if one not in found]

    def holdings(self) -> list[Holding]:
        """All three; that of the users may be empty: a session need not have one. But if there are users, some have a name."""
        users = self._users.holding()
        if users.documents and not self._users.holds_any({"username": {"$type": "string"}}):
            users = replace(users, unreadable=users.documents, field="username")
        relied_on = users.documents is None or users.unreadable
        return [self._sessions.holding(), self._problems.holding(), *([users] if relied_on else [])]

    def types(self) -> str:
        """What the fields hold that nothing else can tell, if they lack it or it is not understood; over all sessions."""
        found = {
            f"{self._sessions.collection.name}.{name}": one for name, one in types_found(self._sessions, _SAID).items()
        }
        return types_text(found, needed=found)

    def observed_problems(self) -> int:
        """How many problems there are, as the server estimates."""
        return self._problems.estimated_count()

    def _repeated(self, selection: Selection) -> list[str]:
        """The session ids that several documents of the whole collection have, in whatever months they are."""
        is_whole = not selection.sessions and not selection.usernames
        return repeated_texts(self._sessions, "session_id", None if is_whole else self._query(selection))

    def _month(self) -> pl.Expr:
        return months(moment_of("created_at"), pl.col("key"), self._first, self._last).alias("partition")

    def _query(self, selection: Selection) -> dict[str, object]:
        if selection.sessions:
            return {"session_id": {"$in": list(selection.sessions)}}
        if selection.usernames:
            return {"username": {"$in": list(selection.usernames)}}
        if selection.partitions is None:
            return {}
        return {"$or": [self._around(partition) for partition in selection.partitions]}

    def _around(self, partition: str) -> dict[str, object]:
        """Documents that may stand in a month, and some around it. The first and the last month have no end."""
        month = date.fromisoformat(partition)
        if month <= self._first or month.replace(day=1) == self._last.replace(day=1):
            return {}
        begin = datetime(month.year, month.month, 1, tzinfo=UTC) - _SLACK
        end = begin + _SLACK * 2 + timedelta(days=31)
        texts = {"$gte": begin.strftime("%Y-%m-%d"), "$lt": end.strftime("%Y-%m-%d")}
        return {
            "$or": [
                {"created_at": {"$gte": begin, "$lt": end}},
                {"created_at": texts},
                {"created_at": {"$type": "string", "$not": _YEAR}},
                {"_id": made_between(begin, end)},  # where created_at is no moment
            ]
        }


_YEAR: dict[str, object] = {"$regex": r"^\d{4}-\d\d-\d\d"}
