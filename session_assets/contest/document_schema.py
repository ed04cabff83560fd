"""The JSON Schema of a session document, made of `model.py`: what readers can rely on after a repair.

It is written for documents as relaxed Extended JSON (`mongoexport --jsonFormat=relaxed`). JSON Schema knows no order of fields:
`x-order` has it, and the check `field_order` sees to it.
"""

from __future__ import annotations

from typing import Any

from session_assets.contest.model import (
    ALIASES,
    ATTEMPT_ALIASES,
    ATTEMPT_FIELDS,
    FIELDS,
    METRIC_FIELDS,
    TYPES_OF_ATTEMPT,
    TYPES_OF_SESSION,
    UPDATED,
    Type,
)

_DATE = {"type": "object", "properties": {"$date": {"type": "string"}}, "required": ["$date"]}
_OBJECT_ID = {
    "type": "object",
    "properties": {"$oid": {"type": "string", "pattern": "^[0-9a-f]{24}$"}},
    "required": ["$oid"],
}
_PARTS: dict[Type, dict[str, Any]] = {
    Type.TEXT: {"type": "string"},
    Type.NUMBER: {"type": "number"},
    Type.WHOLE: {"type": "number", "multipleOf": 1},  # 25 and 25.0
    Type.FLAG: {"type": "boolean"},
    Type.NULL: {"type": "null"},
    Type.DATE: _DATE,
    Type.OBJECT_ID: _OBJECT_ID,
    Type.TEXTS: {"type": "array", "items": {"type": "string"}},
    Type.ANY: {},
    Type.ATTEMPTS: {"type": "array", "items": {"$ref": "#/$defs/attempt"}},
    Type.METRICS: {"$ref": "#/$defs/performance_metrics"},
    Type.COUNTS: {"$ref": "#/$defs/counts"},
}


def document_schema() -> dict[str, Any]:
    """The schema, of draft 2020-12."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Contest session",
        "description": "A document of the sessions collection. Fields beyond these are kept, behind them.",
        **_object(TYPES_OF_SESSION, required=FIELDS, forbidden=tuple(ALIASES)),
        "x-order": ["_id", *FIELDS, UPDATED],
        "$defs": {
            "attempt": {
                **_object(
                    TYPES_OF_ATTEMPT,
                    required=("is_correct", "time_spent_ms", "time_spent_seconds"),
                    forbidden=tuple(ATTEMPT_ALIASES),
                ),
                "x-order": list(ATTEMPT_FIELDS),
            },
            "performance_metrics": {
                "type": "object",
                "properties": {
                    name: _object(fields, required=tuple(fields)) if isinstance(fields, dict) else _one(fields)
                    for name, fields in METRIC_FIELDS.items()
                },
                "required": list(METRIC_FIELDS),
            },
            "counts": {
                "type": "object",
                "description": "By name of the topic or difficulty, the one attempted first first; accuracy in percent.",
                "additionalProperties": {
                    **_object(
                        {"attempted": (Type.WHOLE,), "correct": (Type.WHOLE,), "accuracy": (Type.NUMBER,)},
                        required=("attempted", "correct", "accuracy"),
                    )
                },
            },
        },
    }


def _object(
    types: dict[str, tuple[Type, ...]], *, required: tuple[str, ...], forbidden: tuple[str, ...] = ()
) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {name: _one(some) for name, some in types.items()} | dict.fromkeys(forbidden, False),
        "required": list(required),
    }


def _one(types: tuple[Type, ...]) -> dict[str, Any]:
    return _PARTS[types[0]] if len(types) == 1 else {"anyOf": [_PARTS[one] for one in types]}
