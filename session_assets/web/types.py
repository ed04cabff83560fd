"""What the fields of both collections hold, for a person who must find out why nothing could be compared."""

from __future__ import annotations

from session_assets.masking import safe_text
from session_assets.stores.mongo_types import SAYS_NOTHING, TypeFound
from session_assets.web.stored import WebShape

_SHOWN = 40  # characters of an _id


def types_text(found: dict[str, dict[str, TypeFound]], shape: WebShape) -> str:
    """The fields that hold a type that is not understood, events without a time, and both session ids; one text."""
    events, sessions = shape.events, shape.sessions
    ids = {f"{one.collection}.{one.stored('session_id')}" for one in (sessions, events)}
    time = f"{events.collection}.{events.stored('timestamp')}"
    told = [
        name
        for name, types in found.items()
        if name in ids
        or any(not one.understood for one in types.values())
        or (name == time and not SAYS_NOTHING.isdisjoint(types))
    ]
    return "; ".join(f"{safe_text(name)}: {_types(found[name], is_time=name == time)}" for name in told if found[name])


def _types(types: dict[str, TypeFound], *, is_time: bool) -> str:
    parts = []
    for label, one in types.items():
        odd = not one.understood or (is_time and label in SAYS_NOTHING)
        example = f" (for example in _id {safe_text(one.example)[:_SHOWN]})" if odd else ""
        parts.append(f"{one.documents:,} {label}{example}")
    return ", ".join(parts)
