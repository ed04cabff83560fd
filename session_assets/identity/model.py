"""The nouns of canonical user ids: columns, reasons, and what an operator does about each. Source: seed S1 and its fact sheet.

Reasons, checks and their texts come from the one table here, so that they cannot disagree.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

import polars as pl

SLICE = "identity"
VARIABLE = "AZURE_COSMOS_ENDPOINT"
SESSIONS, AUTH = "user_sessions", "auth"
MOMENT = pl.Datetime("ms", "UTC")

SHARDS = (*"0123456789abcdef", "other")
"""Partitions: the first character of the document id, in lower case."""

GUID = r"^[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}$"
"""Strict on purpose: Python's `uuid.UUID()` takes braces, `urn:`, misplaced dashes and digits of other scripts."""
NIL_GUID = "00000000-0000-0000-0000-000000000000"
EMAIL = r"^[^@\s]+@[^@\s]+$"
UNUSABLE_ID = r"[/\\?#\t\r\n]| $|^\.{1,2}$"
"""Document ids that no client sends, or that lead to another resource as part of a URL; lone surrogates are escaped by then."""

SESSION, USER = "session", "user"
"""Values of `type`; documents of any other are left alone."""
OTHER_TYPES = ("audit",)
"""Types of documents that no rule is about; a person may name more."""
OTHER_TYPES_SETTING = "IDENTITY_OTHER_TYPES"
USER_ID, EMAIL_FIELD, ORIGINAL, UPDATED = "user_id", "user_email", "user_id_original", "backfill_updated_at"
AUDIT = (EMAIL_FIELD, ORIGINAL, UPDATED)
"""What a backfilled session carries beside its GUID."""
CREATED = "created_at"
ODD_ACTIVITY = "odd_activity"

AUTH_COLUMNS = pl.Schema({"auth_id": pl.String, "email": pl.String})

SESSION_COLUMNS = pl.Schema(
    {
        "partition": pl.String,
        "key": pl.String,  # the document id
        "type": pl.String,
        "user_id": pl.String,  # null where it is missing or no text
        "user_email": pl.String,
        "user_id_original": pl.String,
        "backfill_updated_at": pl.String,
        "last_activity": MOMENT,
        ODD_ACTIVITY: pl.Boolean,  # it says something of its last activity that is no time
        "modified": pl.Int64,  # when the server wrote it last, in seconds since the epoch
        "document": pl.Binary,  # the whole document as read, without what the server adds
    }
)

COLLECTED = pl.Schema(
    {
        **SESSION_COLUMNS,
        "resolution": pl.String,  # canonical, or one of `RESOLUTIONS`; null where the document is no session
        "guid": pl.String,  # the canonical user id, in lower case, where there is one
        "original_guid": pl.String,  # what `user_id_original` resolves to now
    }
)
"""A stored document with what its user id resolves to."""


def other_types(env: Mapping[str, str] | None = None) -> list[str]:
    """The types of documents that no rule is about."""
    named = (os.environ if env is None else env).get(OTHER_TYPES_SETTING, "").split(",")
    return [*OTHER_TYPES, *(stripped for one in named if (stripped := one.strip()))]


class Fix(StrEnum):
    """What can be done about a reason."""

    REPAIR = "repair"  # `apply identity`
    LISTED = "listed"  # not repairable by rule: a person decides
    WAIT = "wait"  # the next run


@dataclass(frozen=True)
class Reason:
    """Why a document is wrong. `check` names the asset check that counts it."""

    name: str
    check: str
    fix: Fix
    text: str
    step: str | None = None

    @property
    def next_step(self) -> str:
        """What to do about it."""
        return self.step or NEXT_STEP[self.fix]


NEXT_STEP = {
    Fix.REPAIR: "`session-assets plan identity` (or identity/session_changes) previews the change,"
    " `session-assets apply identity` (or identity/user_sessions) makes it.",
    Fix.LISTED: "Not repairable by rule: open the full list and decide.",
    Fix.WAIT: "Run again after the settle time (SESSION_ASSETS_SETTLE_MINUTES).",
}
_AUTH_STEP = "Correct the auth container, then plan again; until then these sessions stay as they are."
_TYPE_STEP = f"Correct the type (session, as it is written), or name types of other documents in {OTHER_TYPES_SETTING}."
_TIME_STEP = (
    "Write last_activity as ISO 8601 text with an offset, or as a number of s, ms or µs since 1970, then plan again."
)
_ID_STEP = "Have the application write the session under an id without / \\ ? # and line ends."

_SHRINK_STEP = (
    "Nothing is written to these sessions: write into the newest document what only an older one says, and plan again. If the"
    " newest is right, plan again with SESSION_ASSETS_ALLOW_SHRINK=true."
)

_REPAIR, _LISTED, _WAIT = Fix.REPAIR, Fix.LISTED, Fix.WAIT
REASONS = (
    Reason("email_resolved", "user_ids_canonical", _REPAIR, "user_id is an e-mail whose GUID is known"),
    Reason("no_auth_record", "user_ids_canonical", _LISTED, "No auth record found for email", _AUTH_STEP),
    Reason("auth_id_not_guid", "user_ids_canonical", _LISTED, "Auth record ID is not a valid GUID", _AUTH_STEP),
    Reason("ambiguous_email", "user_ids_canonical", _LISTED, "several auth records for one e-mail", _AUTH_STEP),
    Reason("not_an_email", "user_ids_canonical", _LISTED, "user_id is neither a GUID nor an e-mail"),
    Reason("nil_guid", "user_ids_canonical", _LISTED, "user_id is the nil GUID"),
    Reason("unsettled", "user_ids_canonical", _WAIT, "its last activity is younger than the settle time"),
    Reason(
        "unusable_id", "user_ids_canonical", _LISTED, "no client can read or write a document of such an id", _ID_STEP
    ),
    Reason(
        "unreadable_activity",
        "user_ids_canonical",
        _LISTED,
        "last_activity is no time that anybody understands, so nobody can tell whether the session has settled",
        _TIME_STEP,
    ),
    Reason("same_id", "ids_unique", _REPAIR, "one session stands under its e-mail and again under its GUID"),
    Reason("id_collision", "ids_unique", _LISTED, "one id in several partitions, not of one session that was moved"),
    Reason("both_edited", "ids_unique", _LISTED, "edited under the e-mail and later under the GUID"),
    Reason(
        "would_shrink",
        "ids_unique",
        _LISTED,
        "the documents of one session, and the session that they become would say less than one of them",
        _SHRINK_STEP,
    ),
    Reason("audit_incomplete", "audit_fields", _LISTED, "a backfilled session lacks one of its audit fields"),
    Reason("audit_inconsistent", "audit_fields", _LISTED, "audit fields do not agree with each other or with auth"),
    Reason(
        "unknown_type", "other_documents", _LISTED, "nobody can tell by its type whether it is a session", _TYPE_STEP
    ),
    Reason("audit_document_touched", "other_documents", _LISTED, "a document that is no session has audit fields"),
)
UNREADABLE = ("not_an_email", "unreadable_activity", "unknown_type")
"""Reasons of the checks that list what nobody understands."""
UNMATCHED = ("no_auth_record",)
"""Reasons of sessions that have no user to be compared with."""
REASON = {reason.name: reason for reason in REASONS}
CHECKS = tuple(dict.fromkeys(reason.check for reason in REASONS))
RESOLUTIONS = tuple(reason.name for reason in REASONS if reason.check == "user_ids_canonical")[:-3]
CANONICAL = "canonical"
