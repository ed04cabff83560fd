"""Collections as they stand, and what their sessions should say, counted in plain Python without any rule of the project."""

from __future__ import annotations

from collections import defaultdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
from bson import ObjectId, json_util
from bson.codec_options import CodecOptions, DatetimeConversion
from pymongo import InsertOne, UpdateOne
from pymongo.database import Database

Document = dict[str, Any]
Web = Database[Document]

_CANONICAL = json_util.JSONOptions(
    json_mode=json_util.JSONMode.CANONICAL, datetime_conversion=DatetimeConversion.DATETIME_MS
)
_AS_STORED: CodecOptions[Document] = CodecOptions(tz_aware=True, datetime_conversion=DatetimeConversion.DATETIME_MS)
DAYS = [datetime(2025, 3, day, tzinfo=UTC) for day in (1, 2, 5)]
FACTS = ("event_count", "pages", "first_event_at", "last_event_at", "user_id")


def dump(web: Web, name: str = "sessions") -> dict[str, str]:
    """Every document in canonical Extended JSON, by `_id`."""
    found = web.get_collection(name, codec_options=_AS_STORED).find()
    return {
        json_util.dumps(one["_id"], json_options=_CANONICAL): json_util.dumps(one, json_options=_CANONICAL)
        for one in found
    }


def without_times(web: Web) -> dict[Any, Document]:
    """Sessions without the two fields that say when we wrote."""
    return {one["_id"]: one for one in web.sessions.find({}, {"created_at": 0, "updated_at": 0})}


def indexes(web: Web) -> dict[str, Any]:
    return {name: web[name].index_information() for name in ("sessions", "events")}


def recounted(web: Web) -> dict[str, Document]:
    """What each session should say, from its events; `user_id` as the set of users."""
    grouped: defaultdict[str, list[Document]] = defaultdict(list)
    for event in web.events.find({"session_id": {"$type": "string"}}):
        grouped[event["session_id"]].append(event)
    return {session_id: _facts(events) for session_id, events in grouped.items()}


def _facts(events: list[Document]) -> Document:
    ordered = sorted(events, key=lambda one: (_moment(one), isinstance(one["_id"], ObjectId), str(one["_id"])))
    return {
        "event_count": len(events),
        "pages": list(dict.fromkeys(one["page"] for one in ordered if one.get("page"))),
        "first_event_at": _moment(ordered[0]),
        "last_event_at": _moment(ordered[-1]),
        "user_id": {str(one["user_id"]).lower() for one in events if one.get("user_id")},
    }


def _moment(event: Document) -> datetime:
    value = event["timestamp"]
    moment = value if isinstance(value, datetime) else datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=value)
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


def wrong_sessions(web: Web) -> dict[str, Document]:
    """Session documents that do not say what their events say; a session of several users may name any of them."""
    facts = recounted(web)
    wrong: dict[str, Document] = {}
    for document in web.sessions.find({"session_id": {"$type": "string"}}):
        fact = facts.get(document["session_id"])
        if fact is None:
            continue
        user = str(document["user_id"]).lower() if document.get("user_id") else None
        agrees = all(document.get(name) == fact[name] for name in FACTS[:-1])
        if not agrees or (len(fact["user_id"]) == 1 and {user} != fact["user_id"]):
            wrong[document["session_id"]] = document
    return wrong


def listed(check: Document, *reasons: str) -> list[str]:
    """The ids of a check's full lists, as stored in Parquet."""
    paths = [path for reason, path in check["full_list"].items() if not reasons or reason in reasons]
    return [one for path in paths for one in pl.read_parquet(Path(path) / "*.parquet")["id"].to_list()]


def fill(
    web: Web, sessions: int = 24, *, wrong: int | None = 2, events: int = 3, days: list[datetime] = DAYS
) -> set[str]:
    """Sessions on some days and a log-in, the same each time; every `wrong`th session is wiped. Returns those."""
    writes, more = [], []
    wiped: set[str] = set()
    for number in range(sessions):
        key = ObjectId(f"65{number:022x}")
        day, user = days[number % len(days)] + timedelta(minutes=number), ObjectId(f"66{number:022x}")
        session_id, last = str(key), day + timedelta(seconds=events - 1)
        rows = [
            {
                "_id": f"{session_id}-{place}",
                "session_id": session_id,
                "timestamp": (day + timedelta(seconds=place))
                if number % 3
                else (day + timedelta(seconds=place)).timestamp(),
                "page": f"/{(number + place) % 7}",
                "event_type": "pageview",
                "user_id": user if number % 2 else str(user),
            }
            for place in range(events)
        ]
        document = {
            "_id": key,
            "session_id": session_id,
            "user_id": user,
            "event_count": events,
            "first_event_at": day,
            "last_event_at": last,
            "pages": [row["page"] for row in rows],
            "created_at": day,
            "seen": {"odd": [number, None]},
        }
        if wrong is not None and number % wrong == 0:
            document |= {"event_count": 0, "pages": []}
            wiped.add(session_id)
        writes.append(InsertOne(document))
        more.extend(InsertOne(row) for row in rows)
    web.sessions.bulk_write(writes)
    web.events.bulk_write(more)
    login = {"_id": ObjectId("67" * 12), "user_id": ObjectId("66" * 12), "token": "t"}
    web.sessions.insert_one(login | {"created_at": DAYS[0], "expires_at": DAYS[1]})
    return wiped


def add_duplicates(web: Web, count: int = 4) -> None:
    """Second documents of some sessions, emptier and later than the first."""
    chosen = (
        web.sessions.find({"session_id": {"$exists": True}}, {"session_id": 1, "created_at": 1})
        .sort("_id", 1)
        .limit(count)
    )
    web.sessions.insert_many(
        [
            {**one, "_id": ObjectId(f"68{number:022x}"), "event_count": 0, "pages": []}
            for number, one in enumerate(chosen)
        ]
    )


def add_orphans(web: Web, count: int = 4) -> None:
    """Sessions without events, pages and count, long past the grace period."""
    web.sessions.insert_many(
        [
            {
                "_id": ObjectId(f"60{number:022x}"),
                "session_id": f"orphan-{number}",
                "event_count": 0,
                "pages": [],
                "created_at": DAYS[0],
            }
            for number in range(count)
        ]
    )


def wipe(web: Web, session_ids: list[str]) -> None:
    """Take pages and counts away, as the original's error did."""
    web.sessions.bulk_write(
        [UpdateOne({"session_id": one}, {"$set": {"pages": [], "event_count": 0}}) for one in session_ids],
        ordered=False,
    )


def end_transactions(web: Web) -> None:
    """What the server does by itself 60 to 90 s after a client was killed. For a server that no other test uses."""
    admin = web.client.admin
    of_killed: list[Document] = [
        {"$currentOp": {"allUsers": True, "idleSessions": True}},
        {"$match": {"type": "idleSession", "appName": {"$regex": "^session-assets pid"}}},
    ]
    for session in admin.aggregate(of_killed):
        admin.command("killSessions", [{"id": session["lsid"]["id"]}])
