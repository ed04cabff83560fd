"""Why a record of a dropped event file is rejected, in words; those of the shared reader by their names."""

from __future__ import annotations

from enum import StrEnum

RAW_CHARACTERS = 200


class Reason(StrEnum):
    """Why a record is rejected."""

    RAGGED = "its number of fields is not that of the header"
    QUOTES = "its quotes do not match"
    TOO_LONG = "longer than 1 MiB"
    ENCODING = "not valid in the encoding of the file"
    NUL = "holds a NUL character"
    NOT_JSON = "not a JSON object"
    STILL_RAW = "still stands in _raw"
    NOT_STORABLE = "a value cannot be stored"
    TIMESTAMP = "timestamp missing, or not in the unit that the mapping gives"
    NO_OFFSET = "timestamp without a time zone (write Z or +02:00)"
    NO_TYPE = "event type is empty"


OF_PROBLEM = {
    "broken_quotes": Reason.QUOTES,
    "record_too_large": Reason.TOO_LONG,
    "field_too_large": Reason.TOO_LONG,
    "wrong_encoding": Reason.ENCODING,
    "holds_nul": Reason.NUL,
    "ragged": Reason.RAGGED,
    "not_json": Reason.NOT_JSON,
    "still_raw": Reason.STILL_RAW,
}
"""The reasons for what the shared reader finds."""
