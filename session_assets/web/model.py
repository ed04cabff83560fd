"""The nouns of web sessions: columns, reasons, and what an operator does about each. Source: seed S2 and its fact sheet.

Reasons, checks and their texts come from the one table here, so that they cannot disagree.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import polars as pl

SLICE = "web"
VARIABLE, DATABASE = "WEB_MONGO_URI", "web"
EVENTS, SESSIONS = "events", "sessions"
MOMENT = pl.Datetime("ms", "UTC")
HEX24 = r"^[0-9a-fA-F]{24}$"
LARGEST = 16 * 1024 * 1024  # bytes of a document that MongoDB stores

EVENT_COLUMNS = pl.Schema(
    {
        "session_id": pl.String,
        "_id": pl.Binary,  # sorts within its kind as the server does
        "_id_kind": pl.Enum(["null", "number", "string", "binary", "objectid", "boolean", "date", "other"]),
        "timestamp": MOMENT,
        "page": pl.String,
        "user_id": pl.String,  # ObjectId as 24 hex, or str
        "user_id_kind": pl.Enum(["objectid", "string", "null"]),
        "client_id": pl.String,
        "malformed": pl.Boolean,  # some value is of a type that no rule covers
    }
)

SESSION_COLUMNS = pl.Schema(
    {
        "session_id": pl.String,
        "user_id": pl.String,
        "user_id_kind": pl.Enum(["objectid", "string", "null"]),
        "client_id": pl.String,
        "event_count": pl.Float64,
        "first_event_at": MOMENT,
        "last_event_at": MOMENT,
        "pages": pl.List(pl.String),
        "created_at": MOMENT,
        "malformed": pl.Boolean,
        "key": pl.String,
        "document": pl.Binary,  # the whole document, as read
        "partition": pl.String,
    }
)

FACT_COLUMNS = pl.Schema(
    {
        "session_id": pl.String,
        "fact_event_count": pl.Int64,
        "fact_pages": pl.List(pl.String),  # distinct, non-empty, in first-seen order
        "fact_first": MOMENT,
        "fact_last": MOMENT,
        "fact_users": pl.List(pl.String),  # distinct, non-empty, sorted; an ObjectId and its hex are one
        "fact_clients": pl.List(pl.String),
        "fact_malformed": pl.Int64,  # events whose values no rule covers
    }
)


class Fix(StrEnum):
    """What can be done about a reason."""

    REPAIR = "repair"  # `apply web`
    FOLD = "fold"  # `apply web/duplicates`
    LISTED = "listed"  # not repairable by rule: a person decides
    WAIT = "wait"  # the next run


@dataclass(frozen=True)
class Reason:
    """Why a document is wrong. `check` names the asset check that counts it."""

    name: str
    check: str
    fix: Fix
    text: str


REASONS = (
    Reason("empty_pages", "pages_present", Fix.REPAIR, "pages missing or empty while events have pages"),
    Reason("zero_event_count", "event_count_present", Fix.REPAIR, "event_count 0 or missing while events exist"),
    Reason("event_count_mismatch", "event_count_matches", Fix.REPAIR, "event_count differs from the number of events"),
    Reason("pages_mismatch", "pages_match", Fix.REPAIR, "pages differ from those of the events, in first-seen order"),
    Reason(
        "timestamps_mismatch", "timestamps_match", Fix.REPAIR, "first_event_at or last_event_at differ from the events"
    ),
    Reason("first_after_last", "timestamps_match", Fix.REPAIR, "first_event_at lies after last_event_at"),
    Reason("user_mismatch", "one_user", Fix.REPAIR, "user_id is not the one user of the events"),
    Reason("client_mismatch", "one_user", Fix.REPAIR, "client_id is not the one client of the events"),
    Reason("ambiguous_user", "one_user", Fix.LISTED, "events of several users: user_id is left as it is"),
    Reason("ambiguous_client", "one_user", Fix.LISTED, "events of several clients: client_id is left as it is"),
    Reason("duplicate_session", "one_document_per_session", Fix.FOLD, "several documents for one session_id"),
    Reason("orphan_session", "sessions_have_events", Fix.LISTED, "no events, no pages and no count"),
    Reason(
        "orphan_with_data", "sessions_have_events", Fix.LISTED, "no events, but a count or pages: the source is gone"
    ),
    Reason("would_shrink", "nothing_held_back", Fix.LISTED, "a repair would lower the count or drop a page"),
    Reason(
        "malformed_event",
        "nothing_held_back",
        Fix.LISTED,
        "an event has a value of a type that no rule covers, or no place in the order",
    ),
    Reason(
        "malformed_session",
        "nothing_held_back",
        Fix.LISTED,
        "session_id, user_id, client_id, event_count, first_event_at, last_event_at or pages holds a value that no rule covers",
    ),
    Reason(
        "no_session_id",
        "nothing_held_back",
        Fix.LISTED,
        "neither a session_id (an empty one is none) nor a login session",
    ),
    Reason("too_large", "nothing_held_back", Fix.LISTED, "the repaired document would have more than MongoDB's 16 MiB"),
    Reason("unsettled", "nothing_held_back", Fix.WAIT, "wrong, but its last event is younger than the settle time"),
)
REASON = {reason.name: reason for reason in REASONS}
UNREADABLE = ("malformed_event", "malformed_session", "no_session_id")
"""Reasons for which nobody can judge a document."""
UNREADABLE_EVENT = "unreadable_event"
"""The reason of events of which nobody can tell the session."""
UNMATCHED = ("orphan_session", "orphan_with_data")
"""Reasons of documents that have no event to be compared with."""
CHECKS = tuple(dict.fromkeys(reason.check for reason in REASONS))

NEXT_STEP = {
    Fix.REPAIR: "`session-assets plan web` (or web/session_changes) previews the repair, `session-assets apply web`"
    " (or web/sessions) makes it.",
    Fix.FOLD: "`session-assets plan web/duplicates` (or web/duplicate_sessions) previews the fold,"
    " `session-assets apply web/duplicates` (or web/folded_duplicates) makes it.",
    Fix.LISTED: "Not repairable by rule: open the full list and decide.",
    Fix.WAIT: "Run again after the settle time (SESSION_ASSETS_SETTLE_MINUTES).",
}
NOT_PLANNED = {
    "young_created_at": "orphans stay: their created_at is younger than SESSION_ASSETS_ORPHAN_GRACE_DAYS",
    "young_first_event_at": "orphans stay: their first_event_at is younger than SESSION_ASSETS_ORPHAN_GRACE_DAYS",
    "young_last_event_at": "orphans stay: their last_event_at is younger than SESSION_ASSETS_ORPHAN_GRACE_DAYS",
    "young_id": "orphans stay: by the time in their _id they were made within SESSION_ASSETS_ORPHAN_GRACE_DAYS",
    "before_events": "orphans stay: they are older than the first event, so that their own events may have been removed",
    "no_time": "orphans stay: no field and no _id says how old they are",
    "too_large": "duplicates stay: the folded document would have more than MongoDB's 16 MiB",
}
"""Why a clean-up leaves documents out of its plan: the words of its `reasons`."""
ORPHAN_STEP = "`session-assets plan web/orphans` lists those old enough to delete."
SHRINK_STEP = "Where the events are really complete, run again with SESSION_ASSETS_ALLOW_SHRINK=true."


def next_step(reason: Reason) -> str:
    """What to do about a reason."""
    if reason.name == "orphan_session":
        return ORPHAN_STEP
    if reason.name == "would_shrink":
        return SHRINK_STEP
    return NEXT_STEP[reason.fix]
