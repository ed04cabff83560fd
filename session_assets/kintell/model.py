"""The nouns of Kintell imports: columns, frames, reasons, and what an operator does about each. Source: seed S4.

Reasons, their words and next steps come from the one table here, so that checks, error files and docs cannot disagree.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import pandera.polars as pa
import polars as pl

from session_assets.drops.limits import RECORD_LIMIT

SLICE = "kintell"
VARIABLE = "KINTELL_DATABASE_URL"

REQUIRED = ("session_id", "session_type", "participant_email", "volunteer_email", "date", "duration_min")
OPTIONAL = ("rating", "feedback_text", "language_level")
COLUMNS = REQUIRED + OPTIONAL
COLUMN_OF = {"rating": "rating", "feedback_text": "feedback_text", "language_level": "language_level"}
"""Columns of the tables that a file may say nothing about, by the names of `OPTIONAL`."""

SESSION_TYPES = {"language connect": "language", "mentorship": "mentorship"}
LANGUAGE_LEVELS = ("A1", "A2", "B1", "B2", "C1", "C2")
LONGEST_TEXT = 255  # characters of an id or an e-mail that the tables hold
LONGEST_DURATION = 2**31 - 1

FIELD_LIMIT = 256 * 1024  # bytes of a field

MOMENT = pl.Datetime("us", "UTC")
RATING = pl.Decimal(3, 2)

ACCEPTED = pl.Schema(
    {
        "row": pl.Int64,
        "line": pl.Int64,
        "external_session_id": pl.String,
        "session_type": pl.String,  # language | mentorship
        "participant_email": pl.String,  # trimmed, lower case
        "volunteer_email": pl.String,
        "participant_id": pl.String,  # uuid
        "volunteer_id": pl.String,
        "scheduled_at": MOMENT,
        "duration_minutes": pl.Int32,
        "rating": RATING,  # on 0–1: (r − 1) / 4, half up
        "feedback_text": pl.String,
        "language_level": pl.String,
        "metadata": pl.String,  # a JSON object of the file's unknown columns, or null
    }
)

REJECTED = pl.Schema(
    {
        "row": pl.Int64,
        "line": pl.Int64,
        "fields": pl.List(pl.String),  # all values, exact, in the order of the file's header; null where `raw` is given
        "raw": pl.Binary,
        "reasons": pl.List(pl.String),  # names of `REASONS`
        "message": pl.String,  # their words, joined with `; `
    }
)

SKIPPED_IN_FILE = pl.Schema({"row": pl.Int64, "line": pl.Int64})
"""Rows that say exactly what an earlier row of the file says."""

MISSING_USERS = pl.Schema({"email": pl.String, "role": pl.String, "rows": pl.Int64})
"""E-mails that no user has: lower case, `participant` or `volunteer`, and the number of rows that name them."""


@dataclass(frozen=True)
class Reason:
    """Why a row is rejected. `check` names the asset check that counts it; `{}` in `text` stands for a value of the row."""

    name: str
    check: str
    text: str
    next_step: str

    @property
    def of_record(self) -> bool:
        """Whether it is about the record as a whole, not about its values."""
        return self.check == "records_are_readable"


_REIMPORT = "Then import the error file: `session-assets errors JOB > fixed.csv`, correct it, `session-assets import fixed.csv`."
_CREATE = f"Create the missing users (kintell/missing_users lists them). {_REIMPORT}"
_VALUES = f"Correct the values in the error file. {_REIMPORT}"
_UNREADABLE = (
    "Correct the record in the source file, or split it into the columns of the error file and empty its _raw."
)
_TWICE = f"Decide which of the rows is right and delete the other from the error file. {_REIMPORT}"

REASONS = (
    Reason("session_id_missing", "values_are_valid", "Missing session_id", _VALUES),
    Reason(
        "session_id_too_long", "values_are_valid", f"Invalid session_id: longer than {LONGEST_TEXT} characters", _VALUES
    ),
    Reason("session_type_unknown", "values_are_valid", "Unknown session type: {}", _VALUES),
    Reason("participant_email_invalid", "values_are_valid", "Invalid email format", _VALUES),
    Reason("volunteer_email_invalid", "values_are_valid", "Invalid email format", _VALUES),
    Reason("date_invalid", "values_are_valid", "Invalid date format: {}", _VALUES),
    Reason(
        "date_without_offset",
        "values_are_valid",
        "Invalid date format: {} has no offset from UTC; say --timezone, for example Europe/London",
        "Import the file again and say where its clock is: `session-assets import FILE --timezone Europe/London`"
        " (KINTELL_TIMEZONE for dropped files). Or add the offset, as in 2024-01-15T10:00:00Z.",
    ),
    Reason(
        "date_not_in_zone",
        "values_are_valid",
        "Invalid date format: {} happens twice or never in the time zone of the file, since its clocks change then",
        f"Add the offset from UTC, as in 2024-10-27T01:30:00+01:00. {_REIMPORT}",
    ),
    Reason("duration_invalid", "values_are_valid", "Invalid duration: must be a positive integer, not {}", _VALUES),
    Reason(
        "duration_with_fraction",
        "values_are_valid",
        "Invalid duration: must be a positive integer: {} has decimals, write whole minutes",
        _VALUES,
    ),
    Reason("rating_invalid", "values_are_valid", "Invalid rating: must be between 1 and 5, not {}", _VALUES),
    Reason(
        "rating_with_comma",
        "values_are_valid",
        "Invalid rating: must be between 1 and 5: {} has a decimal comma, write a point",
        _VALUES,
    ),
    Reason(
        "language_level_invalid",
        "values_are_valid",
        "Invalid language level: must be A1, A2, B1, B2, C1 or C2, not {}",
        _VALUES,
    ),
    Reason(
        "refused_by_table",
        "values_are_valid",
        "Refused by the table: {}",
        f"Correct the values or the table. {_REIMPORT}",
    ),
    Reason("participant_not_found", "users_exist", "Participant not found: {}", _CREATE),
    Reason("volunteer_not_found", "users_exist", "Volunteer not found: {}", _CREATE),
    Reason(
        "duplicate_in_file", "ids_are_unique", "Duplicate session_id: row {} of the file says something else", _TWICE
    ),
    Reason("ragged", "records_are_readable", "The number of fields is not that of the header", _UNREADABLE),
    Reason("broken_quotes", "records_are_readable", "The quotes of the record do not match", _UNREADABLE),
    Reason(
        "record_too_large", "records_are_readable", f"The record is larger than {RECORD_LIMIT:,} bytes", _UNREADABLE
    ),
    Reason("field_too_large", "records_are_readable", f"A field is larger than {FIELD_LIMIT:,} bytes", _UNREADABLE),
    Reason("holds_nul", "records_are_readable", "The record holds a NUL character", _UNREADABLE),
    Reason(
        "wrong_encoding",
        "records_are_readable",
        "The record is not valid in the encoding of the file",
        "Import the same file again and say its encoding: `session-assets import FILE --encoding latin-1`. Else:"
        f" {_UNREADABLE}",
    ),
    Reason("still_raw", "records_are_readable", "The record still stands in _raw", _UNREADABLE),
)
REASON = {reason.name: reason for reason in REASONS}
CHECKS = tuple(dict.fromkeys(reason.check for reason in REASONS))


FUTURE_DAYS = 1
OLDEST_YEAR = 2000
ODDITIES = {
    "date_in_future": f"rows have a date more than {FUTURE_DAYS} day in the future",
    "date_too_old": f"rows have a date before the year {OLDEST_YEAR}",
    "same_person": "rows name the same user as participant and as volunteer",
    "no_rows": "files have a header and no rows",
    "joined_rows": "rows hold lines that look like rows of their own: a quote may be one too many",
    "lines_of_rejects": "lines are in rejected rows of several lines",
}
"""What is seldom meant, mostly in rows that are accepted: told with its count."""


def any_raw(reasons: Iterable[str]) -> bool:
    """Whether a record that is rejected for one of these reasons stands in `raw`."""
    return any(REASON[name].of_record and name != "field_too_large" for name in reasons)


_UUID = r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$"
_TEXT = [pa.Check.str_length(1, LONGEST_TEXT)]

CONTRACT = pa.DataFrameSchema(
    {
        "row": pa.Column(pl.Int64, pa.Check.ge(1), unique=True),
        "line": pa.Column(pl.Int64, pa.Check.ge(2)),
        "external_session_id": pa.Column(pl.String, _TEXT, unique=True),
        "session_type": pa.Column(pl.String, pa.Check.isin(list(SESSION_TYPES.values()))),
        "participant_email": pa.Column(pl.String, _TEXT),
        "volunteer_email": pa.Column(pl.String, _TEXT),
        "participant_id": pa.Column(pl.String, pa.Check.str_matches(_UUID)),
        "volunteer_id": pa.Column(pl.String, pa.Check.str_matches(_UUID)),
        "scheduled_at": pa.Column(MOMENT),
        "duration_minutes": pa.Column(pl.Int32, pa.Check.ge(1)),
        "rating": pa.Column(RATING, pa.Check.in_range(0, 1), nullable=True),
        "feedback_text": pa.Column(pl.String, nullable=True),
        "language_level": pa.Column(pl.String, pa.Check.isin(list(LANGUAGE_LEVELS)), nullable=True),
        "metadata": pa.Column(pl.String, nullable=True),
    },
    strict=True,
    ordered=True,
)
"""What every frame of accepted rows keeps to. Validate collected frames with `lazy=True`."""
