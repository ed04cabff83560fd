"""Reads session documents, and auth after them: see DESIGN 1, rule 1.

A document that changes after it was read fails its guard; an auth record that changes later is seen by the next run.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl

from session_assets.changes.evidence import Holding
from session_assets.identity.facts import shard
from session_assets.identity.model import (
    AUTH_COLUMNS,
    MOMENT,
    ODD_ACTIVITY,
    ORIGINAL,
    SESSION,
    SESSION_COLUMNS,
    SHARDS,
    UPDATED,
    USER,
)
from session_assets.identity.summaries import ACTIVITY_COLUMNS
from session_assets.moments import moment, moment_of_any_unit
from session_assets.selection import Progress, Selection
from session_assets.spill import Buckets
from session_assets.stores.cosmos import Container, encode, plain

_MOST = 2.0**53  # activities: above it is no count
_BUCKETS = 64
_BUCKET_DOCUMENTS = 20_000
_ACTIVITY = (
    "SELECT c.id, c.user_id, c.user_email, c.status, c.created_at, c.last_activity, c.session_duration_seconds,"
    " c.activity_count, c.endpoints_accessed FROM c WHERE c.type = @type"
)
_TYPE = {"name": "@type", "value": SESSION}
_GLIMPSE = "SELECT TOP @most c.id, c.user_id, c.created_at, c.status FROM c WHERE c.type = @type"
_TEXTS = ("type", "user_id", "user_email", ORIGINAL, UPDATED)


class IdentitySource:
    """The two containers of the identity slice."""

    def __init__(self, sessions: Container, auth: Container) -> None:
        self._sessions = sessions
        self._auth = auth

    @property
    def moves(self) -> bool:
        """Whether `user_id` is the partition key, so that a change of it is a move."""
        return self._sessions.moves

    def scan(
        self, selection: Selection, scratch: Path, progress: Progress | None = None
    ) -> Iterator[tuple[pl.DataFrame, pl.DataFrame]]:
        """All selected documents once, and auth as it stood after the last of them was read.

        Frames of `SESSION_COLUMNS` with all documents of an id, of any partition of the container, and `AUTH_COLUMNS`.
        """
        total = self._sessions.count()
        buckets = Buckets(scratch, "sessions", _BUCKETS if total > _BUCKET_DOCUMENTS else 1, "key", SESSION_COLUMNS)
        for page in self._sessions.pages(*_query(selection)):
            frame = _frame(page)
            if selection.partitions is not None:
                frame = frame.filter(pl.col("partition").is_in(list(selection.partitions)))
            buckets.add(frame)
            if progress is not None:
                progress("sessions", buckets.rows, max(total, buckets.rows))
        buckets.close()
        auth = self.auth(progress)
        for bucket in buckets:
            if bucket.height:
                yield bucket, auth

    def auth(self, progress: Progress | None = None) -> pl.DataFrame:
        """All auth records of users with an e-mail: `AUTH_COLUMNS`."""
        frames = [pl.DataFrame(schema=AUTH_COLUMNS)]
        read = 0
        for page in self._auth.pages("SELECT c.id, c.email, c.type FROM c"):
            read += len(page)
            rows = [(_text(one.get("id")), _text(one.get("email"))) for one in page if one.get("type", USER) == USER]
            frames.append(pl.DataFrame(rows, schema=AUTH_COLUMNS, orient="row").drop_nulls())
            if progress is not None:
                progress("auth records", read, read)
        return pl.concat(frames)

    def activity(self, since: datetime | None = None) -> pl.DataFrame:
        """All sessions, as summaries need them: `ACTIVITY_COLUMNS`; with `since` those created then or later, and a few more."""
        query, names = _ACTIVITY, [_TYPE]
        if since is not None:  # texts are compared: a day more makes up for their offsets
            query = f"{query} AND c.created_at >= @since"
            names = [_TYPE, {"name": "@since", "value": f"{since - timedelta(days=1):%Y-%m-%d}"}]
        frames = [pl.DataFrame(schema=ACTIVITY_COLUMNS)]
        for page in self._sessions.pages(query, names):
            frames.append(_activity(page))
        return pl.concat(frames)

    def glimpse(self, most: int) -> tuple[int, int, list[dict[str, Any]]]:
        """How many sessions and how many documents there are; `id`, `user_id`, `created_at`, `status` of `most` sessions."""
        sessions = self._sessions.count("SELECT VALUE COUNT(1) FROM c WHERE c.type = @type", [_TYPE])
        query = _GLIMPSE.replace("@most", str(most))
        sample = [plain(one) for page in self._sessions.pages(query, [_TYPE]) for one in page]
        return sessions, self._sessions.count(), sample[:most]

    def container_info(self) -> dict[str, Any]:
        """The container of sessions: its name, and how it is partitioned."""
        return {"id": self._sessions.name, "partition_key": list(self._sessions.partition_paths)}

    def unknown(self, sessions: Sequence[str]) -> list[str]:
        """Those of some session ids that no document has, in order."""
        query, names = _query(Selection(sessions=tuple(sessions)))
        found = {str(one["id"]) for page in self._sessions.pages(query.replace("*", "c.id"), names) for one in page}
        return [one for one in dict.fromkeys(sessions) if one not in found]

    def standing(self) -> list[str]:
        """The partitions that hold documents."""
        found: set[str] = set()
        for ids in self.ids(Selection()):
            found.update(ids.select(shard(pl.col("key"))).to_series().unique())
        return sorted(found, key=SHARDS.index)

    def ids(self, selection: Selection) -> Iterator[pl.DataFrame]:
        """The ids of all selected documents, and perhaps more: `key`."""
        for page in self._sessions.pages(*_query(selection, "c.id")):
            yield pl.DataFrame({"key": [_text(one["id"]) for one in page]})

    def holdings(self) -> list[Holding]:
        """Both containers, each with its documents of any type; a container that is not there is refused when it is opened."""
        return [Holding(one.name, one.count()) for one in (self._sessions, self._auth)]

    def observed_auth(self) -> int:
        """How many auth records there are."""
        return self._auth.count()


def _query(selection: Selection, fields: str = "*") -> tuple[str, list[dict[str, Any]]]:
    if selection.sessions:
        return f"SELECT {fields} FROM c WHERE ARRAY_CONTAINS(@ids, c.id)", [
            {"name": "@ids", "value": list(selection.sessions)}
        ]
    if selection.partitions is None or not selection.partitions.isdisjoint({SHARDS[-1]}):
        return f"SELECT {fields} FROM c", []
    firsts = sorted({letter for one in selection.partitions for letter in (one, one.upper())})
    names = [{"name": f"@p{number}", "value": first} for number, first in enumerate(firsts)]
    tests = " OR ".join(f"STARTSWITH(c.id, {name['name']})" for name in names)
    return f"SELECT {fields} FROM c WHERE {tests}", names


def _frame(page: list[dict[str, Any]]) -> pl.DataFrame:
    """Documents of the server as `SESSION_COLUMNS`."""
    columns: dict[str, list[Any]] = {name: [_text(one.get(name)) for one in page] for name in _TEXTS}
    frame = pl.DataFrame(
        {
            "key": [_text(one["id"]) for one in page],
            **columns,
            "activity": [_time(_last_activity(one)) for one in page],
            "is_told": [_last_activity(one) is not None for one in page],
            "modified": [one.get("_ts", 0) for one in page],
            "document": [encode([plain(one)]) for one in page],
        },
        schema_overrides=dict.fromkeys((*_TEXTS, "activity", "key"), pl.String)
        | {"modified": pl.Int64, "document": pl.Binary},
    )
    frame = frame.with_columns(
        shard(pl.col("key")).alias("partition"),
        moment(pl.col("activity"), "iso").cast(MOMENT).alias("last_activity"),
    )
    is_odd = pl.col("is_told") & pl.col("last_activity").is_null()
    return frame.with_columns(is_odd.alias(ODD_ACTIVITY)).select(SESSION_COLUMNS.names())


def _activity(page: list[dict[str, Any]]) -> pl.DataFrame:
    names = ("user_id", "user_email", "status")
    rows = [
        (
            _text(one["id"]),
            *(_text(one.get(name)) for name in names),
            *(_time(one.get(name)) for name in ("created_at", "last_activity")),
            _number(one.get("session_duration_seconds")),
            int(min(_number(one.get("activity_count")) or 0, _MOST)),
            len(one["endpoints_accessed"]) if isinstance(one.get("endpoints_accessed"), list) else 0,
        )
        for one in page
    ]
    texts = {name: pl.String() if dtype == MOMENT else dtype for name, dtype in ACTIVITY_COLUMNS.items()}
    frame = pl.DataFrame(rows, schema=texts, orient="row")
    return frame.with_columns(moment(pl.col(name), "iso").cast(MOMENT) for name in ("created_at", "last_activity"))


def _last_activity(document: dict[str, Any]) -> Any:
    """What a session says of its last activity; None where it says nothing."""
    found = (document.get(name) for name in ("last_activity", "last_heartbeat"))
    return next((value for value in found if value is not None and value != ""), None)


def _time(value: Any) -> str | None:
    """The text of a time; a number of s, ms or µs as ISO 8601."""
    return moment_of_any_unit(value) or _text(value)


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _text(value: Any) -> str | None:
    """Text, lone surrogates, which no frame takes, escaped: they stay apart. Null for anything else."""
    return value.encode("utf-8", "backslashreplace").decode() if isinstance(value, str) else None
