"""Random events and sessions, and what the rules say of them, worked out one by one in plain Python."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
from hypothesis import strategies as st

from session_assets.web.model import EVENT_COLUMNS, SESSION_COLUMNS

NOW = datetime(2025, 6, 2, 12, tzinfo=UTC)
SETTLE_MINUTES = 30.0
HEX = "0123456789abcdef01234567"
MOMENTS = [
    datetime(2025, 6, 1, tzinfo=UTC),
    datetime(2025, 6, 1, 0, 0, 0, 1000, tzinfo=UTC),
    datetime(2025, 5, 31, 23, 59, 59, 999000, tzinfo=UTC),
    NOW - timedelta(minutes=SETTLE_MINUTES),
    NOW - timedelta(minutes=SETTLE_MINUTES, milliseconds=-1),
    NOW + timedelta(minutes=SETTLE_MINUTES, milliseconds=1),
]
USERS = [
    (None, "null"),
    ("", "string"),
    (HEX, "objectid"),
    (HEX.upper(), "string"),
    ("bob", "string"),
    ("Bob", "string"),
]
IDS = [
    (bytes.fromhex(HEX[:-1] + "0"), "objectid"),
    (bytes.fromhex(HEX[:-1] + "1"), "objectid"),
    (b"a", "string"),
    (b"f" * 24, "string"),
    (b"\x80" + bytes(7), "number"),
    (None, "null"),
    (None, "other"),
]
ID_ORDER = {"null": 0, "number": 1, "string": 2, "objectid": 3, "other": 4}
PAGES = [None, "", "/a", "/b", "/c?x=1"]


@st.composite
def events(draw: st.DrawFn, most: int = 14) -> list[dict[str, Any]]:
    """Events of three sessions."""
    chaotic = draw(st.booleans())
    users = USERS if chaotic else [USERS[0], *USERS[2:4]]
    result = []
    for _ in range(draw(st.integers(0, most))):
        user, kind = draw(st.sampled_from(users))
        identity, id_kind = draw(st.sampled_from(IDS))
        result.append(
            {
                "session_id": draw(st.sampled_from(["s1", "s2", "s3"])),
                "_id": identity,
                "_id_kind": id_kind,
                "timestamp": draw(st.sampled_from([*MOMENTS[:4], *([*MOMENTS[4:], None] if chaotic else [])])),
                "page": draw(st.sampled_from(PAGES)),
                "user_id": user,
                "user_id_kind": kind,
                "client_id": draw(st.sampled_from([None, "", "c", *(["d"] if chaotic else [])])),
                "malformed": chaotic and draw(st.integers(0, 9)) == 0,
            }
        )
    return result


def events_frame(rows: list[dict[str, Any]]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=EVENT_COLUMNS)


@dataclass
class Facts:
    """What a session should say."""

    count: int = 0
    pages: list[str] = field(default_factory=list)
    first: datetime | None = None
    last: datetime | None = None
    users: list[str] = field(default_factory=list)
    clients: list[str] = field(default_factory=list)
    malformed: int = 0


def user_text(user: str | None) -> str | None:
    """One text a user; 24 hex digits are an ObjectId in any case."""
    if not user:
        return None
    return user.lower() if len(user) == 24 and set(user.lower()) <= set("0123456789abcdef") else user


def facts_of(rows: list[dict[str, Any]]) -> dict[str, Facts]:
    """Facts per session."""
    grouped: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        if row["session_id"] is not None:
            grouped[row["session_id"]].append(row)
    return {session_id: _facts(group) for session_id, group in grouped.items()}


def _facts(group: list[dict[str, Any]]) -> Facts:
    long_ago = datetime(1, 1, 1, tzinfo=UTC)
    ordered = sorted(
        group,
        key=lambda row: (row["timestamp"] or long_ago, ID_ORDER[row["_id_kind"]], row["_id"] or b"", row["page"] or ""),
    )
    moments = [row["timestamp"] for row in group if row["timestamp"] is not None]
    unordered = [
        row["_id_kind"] == "other" and sum(row["timestamp"] == other["timestamp"] for other in group) > 1
        for row in group
    ]
    return Facts(
        count=len(group),
        pages=list(dict.fromkeys(row["page"] for row in ordered if row["page"])),
        first=min(moments, default=None),
        last=max(moments, default=None),
        users=sorted({user for row in group if (user := user_text(row["user_id"]))}),
        clients=sorted({row["client_id"] for row in group if row["client_id"]}),
        malformed=sum(
            row["malformed"] or row["timestamp"] is None or odd for row, odd in zip(group, unordered, strict=True)
        ),
    )


@st.composite
def sessions(draw: st.DrawFn, facts: dict[str, Facts]) -> list[dict[str, Any]]:
    """Stored documents: right ones, slightly wrong ones, duplicates, orphans."""
    result = []
    for number in range(draw(st.integers(0, 6))):
        session_id = draw(st.sampled_from(["s1", "s2", "s3", "s4", "s5"]))
        right = facts.get(session_id, Facts())
        user, kind = draw(st.sampled_from(USERS))
        wrong = {
            "event_count": st.sampled_from([None, 0.0, 1.0, 2.0, 2.5, -1.0, float("inf")]),
            "pages": st.sampled_from([None, [], ["/a"], ["/b", "/a"], ["/gone"], [None], ["/a", None], ["/a", ""]]),
            "first_event_at": st.sampled_from([None, *MOMENTS]),
            "last_event_at": st.sampled_from([None, *MOMENTS]),
            "user_id": st.just(user),
            "client_id": st.sampled_from([None, "", "c", "d"]),
        }
        row = {
            "session_id": session_id,
            "user_id": right.users[0] if right.users else None,
            "client_id": right.clients[0] if right.clients else None,
            "event_count": float(right.count),
            "first_event_at": right.first,
            "last_event_at": right.last,
            "pages": list(right.pages),
        }
        for name in draw(st.lists(st.sampled_from(list(wrong)), max_size=3, unique=True)):
            row[name] = draw(wrong[name])
        stored_kind = kind if row["user_id"] == user else "objectid" if row["user_id"] == HEX else "string"
        result.append(
            row
            | {
                "user_id_kind": "null" if row["user_id"] is None else stored_kind,
                "created_at": None,
                "malformed": draw(st.integers(0, 12)) == 0,
                "key": f'{{"$oid":"{number:024x}"}}',
                "document": b"",
                "partition": "2025-06-01",
            }
        )
    return result


def sessions_frame(rows: list[dict[str, Any]]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=SESSION_COLUMNS)


@dataclass(frozen=True)
class Judgement:
    """The class of a document, and why."""

    name: str
    reasons: list[str]
    notes: list[str]


def judge(row: dict[str, Any], rows: list[dict[str, Any]], facts: dict[str, Facts], *, allow_shrink: bool) -> Judgement:
    """What the rules say of one document."""
    right = facts.get(row["session_id"])
    group = [other for other in rows if other["session_id"] == row["session_id"]]
    repairs = _repairs(row, right) if right else []
    notes = []
    if right and len(right.users) > 1:
        notes.append("ambiguous_user")
    if right and len(right.clients) > 1:
        notes.append("ambiguous_client")
    held = _held(row, group, right, allow_shrink=allow_shrink)
    near = timedelta(minutes=SETTLE_MINUTES)
    young = right is not None and right.last is not None and NOW - near < right.last <= NOW + near
    if young and (repairs or held in ("would_shrink", "duplicate_session")):
        return Judgement("unsettled", ["unsettled"], notes)
    if held:
        return Judgement("listed", [held], notes)
    if repairs:
        return Judgement("planned", repairs, notes)
    return Judgement("listed", notes, []) if notes else Judgement("unchanged", [], [])


def _repairs(row: dict[str, Any], right: Facts) -> list[str]:
    count, pages = row["event_count"] or 0, row["pages"] or []
    first, last = row["first_event_at"], row["last_event_at"]
    wrong_times = first != right.first or last != right.last
    crossed = first is not None and last is not None and first > last
    tests = {
        "empty_pages": not pages and bool(right.pages),
        "zero_event_count": count == 0,
        "event_count_mismatch": count not in (0, right.count),
        "pages_mismatch": bool(pages) and pages != right.pages,
        "timestamps_mismatch": wrong_times and not crossed,
        "first_after_last": wrong_times and crossed,
        "user_mismatch": len(right.users) == 1 and user_text(row["user_id"]) != right.users[0],
        "client_mismatch": len(right.clients) == 1 and row["client_id"] != right.clients[0],
    }
    return [name for name, holds in tests.items() if holds]


def _shrinks(row: dict[str, Any], right: Facts) -> bool:
    lost = {page for page in row["pages"] or [] if page} - set(right.pages)
    return (row["event_count"] or 0) > right.count or bool(lost)


def _held(row: dict[str, Any], group: list[dict[str, Any]], right: Facts | None, *, allow_shrink: bool) -> str | None:
    if any(other["malformed"] for other in group):
        return "malformed_session"
    if right is None:
        return "orphan_with_data" if row["pages"] or (row["event_count"] or 0) != 0 else "orphan_session"
    if right.malformed:
        return "malformed_event"
    if not allow_shrink and any(_shrinks(other, right) for other in group):
        return "would_shrink"
    return "duplicate_session" if len(group) > 1 else None


def repaired(row: dict[str, Any], right: Facts) -> dict[str, Any]:
    """The document after its planned repair."""
    fixed = row | {
        "event_count": float(right.count),
        "pages": right.pages,
        "first_event_at": right.first,
        "last_event_at": right.last,
    }
    if len(right.users) == 1 and user_text(row["user_id"]) != right.users[0]:
        fixed |= {"user_id": right.users[0], "user_id_kind": "string"}
    if len(right.clients) == 1:
        fixed["client_id"] = right.clients[0]
    return fixed
