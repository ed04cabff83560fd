"""The nouns of contest sessions: fields and their order, columns, reasons, and what an operator does about each.

Source: seed S5 and its fact sheet. Reasons, checks and their texts come from the one table here, so that they cannot disagree.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import polars as pl

SLICE = "contest"
VARIABLE, DATABASE = "CONTEST_MONGO_URI", "goaime"
START_VARIABLE = "CONTEST_START_DATE"
SESSIONS, PROBLEMS, USERS = "sessions", "problems", "users"
MOMENT = pl.Datetime("ms", "UTC")

FIELDS = (
    "session_id", "session_status", "created_at", "completed_at", "username", "user_id", "year", "contest", "mode",
    "shuffle", "score", "total_attempted", "problems_attempted", "performance_metrics", "topic_performance",
    "difficulty_performance", "total_time_ms", "total_time_seconds", "total_time_minutes",
)  # fmt: skip
"""The fields of a session, in order; then `updated_at`, then unknown fields."""
UPDATED = "updated_at"
GIVEN = ("session_id", "session_status", "created_at", "completed_at", "username", "year", "contest", "mode")
"""Fields that nothing else can tell, beside `problems_attempted`."""
ALIASES = {"totalTime": "total_time_ms", "attempted": "total_attempted", "userId": "user_id", "_user_id": "user_id"}

ATTEMPT_FIELDS = (
    "problem_number", "problem_id", "is_correct", "selected_answer", "correct_answer", "time_spent_ms",
    "time_spent_seconds", "attempt_timestamp", "difficulty", "topics",
)  # fmt: skip
ATTEMPT_ALIASES = {"correct": "is_correct", "time_spent": "time_spent_ms", "timestamp": "attempt_timestamp"}

_STRUCT = pl.Struct({})
DOCUMENT = pl.Schema(
    {
        "session_id": pl.String,
        "session_status": pl.String,
        "created_at": pl.String,  # or a date
        "completed_at": pl.String,  # or a date, or null
        "username": pl.String,
        "user_id": pl.String,  # or an ObjectId, or null
        "year": pl.Int64,
        "contest": pl.String,
        "mode": pl.String,
        "shuffle": pl.Boolean,
        "score": pl.Float64,
        "total_attempted": pl.Int64,
        "problems_attempted": pl.List(_STRUCT),
        "performance_metrics": _STRUCT,
        "topic_performance": _STRUCT,
        "difficulty_performance": _STRUCT,
        "total_time_ms": pl.Float64,
        "total_time_seconds": pl.Float64,
        "total_time_minutes": pl.Float64,
        UPDATED: MOMENT,
    }
)
"""A repaired document, as the UI shows its columns."""
PROBLEM = pl.Schema(
    {
        "contest_id": pl.String,
        "problem_number": pl.Int64,
        "answer": pl.String,
        "correct_answer": pl.String,
        "difficulty": pl.String,
        "topics": pl.List(pl.String),
    }
)
USER = pl.Schema({"_id": pl.String, "username": pl.String})

LARGEST = 16 * 1024 * 1024
"""Bytes of the largest document that MongoDB stores."""

COUNTS = pl.List(pl.Struct({"name": pl.String, "attempted": pl.Int64, "correct": pl.Int64, "accuracy": pl.Float64}))
"""Per topic or difficulty, in the order of their first attempt; accuracy in percent, two decimals."""

FACT_COLUMNS = pl.Schema(
    {
        "total_attempted": pl.Int64,
        "total_correct": pl.Int64,
        "total_time_ms": pl.Float64,  # the sum over the attempts, as all times below
        "total_time_seconds": pl.Float64,
        "total_time_minutes": pl.Float64,
        "accuracy": pl.Float64,
        "average_ms": pl.Float64,
        "average_seconds": pl.Float64,
        "average_correct_ms": pl.Float64,
        "average_incorrect_ms": pl.Float64,
        "fastest_correct_ms": pl.Float64,  # null where no attempt is correct
        "slowest_correct_ms": pl.Float64,
        "topics": COUNTS,
        "difficulties": COUNTS,
    }
)
"""What the attempts of a session amount to. Seconds, minutes, averages and accuracy have two decimals."""

FILLS = pl.List(
    pl.Struct({"attempt": pl.Int64, "correct_answer": pl.String, "difficulty": pl.String, "topics": pl.List(pl.String)})
)
"""What an attempt lacks and its problem knows: the place of the attempt, and each value, else null."""

SESSION_COLUMNS = pl.Schema(
    {
        "partition": pl.String,
        "key": pl.String,
        "session_id": pl.String,
        "username": pl.String,
        "created": MOMENT,
        "held": pl.List(pl.String),  # why the document is quarantined
        "repairs": pl.List(pl.String),  # what is wrong with its structure
        "notes": pl.List(pl.String),
        "found_user": pl.String,  # the user's id, where the document has none
        "fills": FILLS,
        "document": pl.Binary,  # the whole document, as read
    }
)
"""A stored document with what was found in its structure."""

COLLECTED = pl.Schema({**SESSION_COLUMNS, **FACT_COLUMNS})


class Fix(StrEnum):
    """What can be done about a reason."""

    REPAIR = "repair"  # `apply contest`
    QUARANTINE = "quarantine"  # nothing is written to the document until a person has decided
    LISTED = "listed"  # does not stand in the way of a repair


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
    Fix.REPAIR: "`session-assets plan contest` (or contest/session_changes) previews the repair,"
    " `session-assets apply contest` (or contest/sessions) makes it.",
    Fix.QUARANTINE: "Nothing is written to these documents: open the full list, correct the value, then plan again.",
    Fix.LISTED: "Not repairable by rule: open the full list and decide.",
}
_SHRINK_STEP = (
    "Nothing is written to these documents: restore their attempts, or the collection of problems, then plan again. If what is"
    " there is all there ever was, plan again with SESSION_ASSETS_ALLOW_SHRINK=true."
)
_CONTEST_STEP = (
    "Does `problems` hold the contest, as `contest_id` (`AMC10A_2022`) and with a `problem_number` that is a number? Add its"
    " problems, then plan again."
)
_TWICE_STEP = "Open the full list: its keys are the `_id`s. Keep one document of each session_id, and plan again."

_REPAIR, _QUARANTINE, _LISTED = Fix.REPAIR, Fix.QUARANTINE, Fix.LISTED
REASONS = (
    Reason("incomplete", "required_fields", _REPAIR, "a field that can be worked out is missing"),
    Reason("old_name", "required_fields", _REPAIR, "a field stands under its old name"),
    Reason("attempt_incomplete", "required_fields", _REPAIR, "an attempt lacks what its problem or its time tells"),
    Reason("missing_field", "required_fields", _QUARANTINE, "a field that nothing else tells is missing"),
    Reason("attempt_unusable", "required_fields", _QUARANTINE, "an attempt lacks its result or its time"),
    Reason("attempt_gap", "required_fields", _LISTED, "an attempt lacks what nothing else tells"),
    Reason("unknown_problem", "required_fields", _LISTED, "an attempt lacks data, and its problem is not known"),
    Reason(
        "unknown_contest",
        "required_fields",
        _LISTED,
        "an attempt lacks data, and no problem of its contest is known",
        _CONTEST_STEP,
    ),
    Reason("missing_answer", "required_fields", _LISTED, "the problem has no answer either"),
    Reason("unknown_topic", "required_fields", _LISTED, "the problem has no topics, or no difficulty, either"),
    Reason("field_order", "field_order", _REPAIR, "fields do not stand in order"),
    Reason("attempt_order", "field_order", _REPAIR, "fields of an attempt do not stand in order"),
    Reason("number_as_text", "field_types", _REPAIR, "a number is written as text"),
    Reason("user_as_text", "field_types", _REPAIR, "user_id is the text None or null, or empty"),
    Reason("wrong_type", "field_types", _QUARANTINE, "a value is of a type, or in a form, that no rule covers"),
    Reason("two_values", "field_types", _QUARANTINE, "a field says different things under its old and its new name"),
    Reason("repeated_field", "field_types", _QUARANTINE, "a name stands twice in the document"),
    Reason("too_large", "field_types", _QUARANTINE, "the repaired document would have more than MongoDB's 16 MiB"),
    Reason("time_units", "totals_add_up", _REPAIR, "seconds or minutes are not those of total_time_ms"),
    Reason(
        "time_unknown",
        "totals_add_up",
        _QUARANTINE,
        "total_time_ms is missing, and the seconds or minutes are not those of the attempts",
    ),
    Reason("metrics_mismatch", "totals_add_up", _REPAIR, "performance_metrics differ from the attempts"),
    Reason("attempts_differ", "totals_add_up", _LISTED, "total_attempted is not the number of attempts"),
    Reason("times_differ", "totals_add_up", _LISTED, "total_time_ms is not the sum of the attempts' times"),
    Reason("topic_mismatch", "topics_match", _REPAIR, "topic_performance differs from the attempts"),
    Reason("difficulty_mismatch", "difficulties_match", _REPAIR, "difficulty_performance differs from the attempts"),
    Reason("score_differs", "score_matches", _LISTED, "score is not the number of correct attempts"),
    Reason("completed_first", "completed_after_created", _LISTED, "completed_at lies before created_at"),
    Reason("user_found", "user_known", _REPAIR, "user_id is missing, and the user is known"),
    Reason(
        "user_unknown",
        "user_known",
        _LISTED,
        "user_id is missing, and the user is not known (or several have the name)",
    ),
    Reason("user_gone", "user_known", _LISTED, "user_id names nobody"),
    Reason(
        "would_shrink",
        "nothing_held_back",
        _QUARANTINE,
        "the document says more than its attempts and problems have: a repair would make it poorer",
        _SHRINK_STEP,
    ),
    Reason(
        "duplicate_session",
        "one_document_per_session",
        _LISTED,
        "several documents have one session_id",
        _TWICE_STEP,
    ),
)
REASON = {reason.name: reason for reason in REASONS}
CHECKS = tuple(dict.fromkeys(reason.check for reason in REASONS))
UNREADABLE = ("wrong_type", "two_values", "repeated_field")
"""Reasons for which nobody can judge a document."""
UNMATCHED = ("missing_field", "attempt_unusable")
"""Reasons of documents that say too little to be compared with anything."""
HELD = tuple(reason.name for reason in REASONS if reason.fix is Fix.QUARANTINE)


class Type(StrEnum):
    """What a value of a repaired document is. Numbers of any BSON type count as numbers."""

    TEXT = "text"
    NUMBER = "number"
    WHOLE = "whole number"
    FLAG = "boolean"
    NULL = "null"
    DATE = "date"
    OBJECT_ID = "object id"
    TEXTS = "list of texts"
    ANY = "anything"
    ATTEMPTS = "attempts"
    METRICS = "metrics"
    COUNTS = "counts by name"


_MOMENT = (Type.TEXT, Type.DATE)
TYPES_OF_SESSION: dict[str, tuple[Type, ...]] = {
    "session_id": (Type.TEXT,),
    "session_status": (Type.TEXT,),
    "created_at": _MOMENT,
    "completed_at": (*_MOMENT, Type.NULL),
    "username": (Type.TEXT,),
    "user_id": (Type.TEXT, Type.OBJECT_ID, Type.NULL),
    "year": (Type.WHOLE,),
    "contest": (Type.TEXT,),
    "mode": (Type.TEXT, Type.NULL),
    "shuffle": (Type.FLAG,),
    "score": (Type.NUMBER,),
    "total_attempted": (Type.NUMBER,),
    "problems_attempted": (Type.ATTEMPTS,),
    "performance_metrics": (Type.METRICS,),
    "topic_performance": (Type.COUNTS,),
    "difficulty_performance": (Type.COUNTS,),
    "total_time_ms": (Type.NUMBER,),
    "total_time_seconds": (Type.NUMBER,),
    "total_time_minutes": (Type.NUMBER,),
    UPDATED: (*_MOMENT, Type.NULL),
}
TYPES_OF_ATTEMPT: dict[str, tuple[Type, ...]] = {
    "problem_number": (Type.WHOLE, Type.NULL),
    "problem_id": (Type.ANY,),
    "is_correct": (Type.FLAG,),
    "selected_answer": (Type.ANY,),
    "correct_answer": (Type.TEXT, Type.NULL),
    "time_spent_ms": (Type.NUMBER,),
    "time_spent_seconds": (Type.NUMBER,),
    "attempt_timestamp": (Type.ANY,),
    "difficulty": (Type.TEXT, Type.NULL),
    "topics": (Type.TEXTS, Type.NULL),
}
METRIC_FIELDS: dict[str, dict[str, tuple[Type, ...]] | tuple[Type, ...]] = {
    "total_metrics": {
        "total_attempted": (Type.WHOLE,),
        "total_correct": (Type.WHOLE,),
        "total_incorrect": (Type.WHOLE,),
        "total_time_ms": (Type.NUMBER,),
        "total_time_seconds": (Type.NUMBER,),
        "total_time_minutes": (Type.NUMBER,),
    },
    "average_metrics": {
        "accuracy_percentage": (Type.NUMBER,),
        "average_time_per_problem_ms": (Type.NUMBER,),
        "average_time_per_problem_seconds": (Type.NUMBER,),
        "average_time_correct_problems_ms": (Type.NUMBER,),
        "average_time_incorrect_problems_ms": (Type.NUMBER,),
    },
    "speed_metrics": {
        "fastest_correct_time_ms": (Type.NUMBER, Type.NULL),
        "slowest_correct_time_ms": (Type.NUMBER, Type.NULL),
    },
    "topic_metrics": (Type.COUNTS,),
    "difficulty_metrics": (Type.COUNTS,),
}
