"""The whole document as it shall stand, made of the elements of the stored one, so that no value changes by being read.

Values that are kept are kept as bytes. Only what `facts.judged` lets through comes here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from session_assets.contest.model import ALIASES, ATTEMPT_ALIASES, ATTEMPT_FIELDS, FIELDS, LARGEST, UPDATED
from session_assets.contest.shrinking import Said, would_shrink
from session_assets.stores.bson_documents import (
    decoded,
    element_of,
    elements,
    embedded,
    from_elements,
    named_elements,
    renamed,
)

_NO_ONE = ("None", "null", "")
_NUMBERS = ("year", "score", "total_attempted", "total_time_ms", "total_time_seconds", "total_time_minutes")
_ATTEMPT_NUMBERS = ("problem_number", "time_spent_ms", "time_spent_seconds")
_TEXT, _ARRAY, _NOTHING = 2, 4, (6, 10)
_EXACT = 2**53  # beyond, a double is no count of anything
_STRUCTURE = {"attempt_incomplete", "attempt_order", "old_name", "number_as_text"}
"""Repairs that may touch attempts."""
_MOMENT = "attempt_timestamp"
_AVERAGE = "average_time"  # S5 does not say how these are rounded: more decimals that round to ours are right, too
_MAPS = ("topic_metrics", "difficulty_metrics")
_METRICS, _SUMS = "performance_metrics", ("total_time", _AVERAGE)
_LAST_PLACE = 0.0101


class RepeatedField(Exception):
    """A name stands twice in one document: which one counts, nobody can tell."""


class TwoValues(Exception):
    """A field says different things under its old and its new name."""


@dataclass(frozen=True)
class Composed:
    """The repaired document and the same without `updated_at` (none where it is right), the repairs of its analytics, why
    the document is quarantined, and what it says where that is more than its source has."""

    after: bytes | None = None
    identity: bytes | None = None
    repairs: tuple[str, ...] = ()
    held: tuple[str, ...] = ()
    said: str | None = None


NOTHING = Composed()


def composed(row: Mapping[str, Any], now: datetime, *, allow_shrink: bool = False) -> Composed:
    """What becomes of one document. `row`: columns of `COLLECTED`; `allow_shrink`: also if its source has become poorer."""
    try:
        parts = _parts(row["document"])
        expected = analytics(row)
        metrics = {
            name: _refreshed(name, wanted, parts.get(name), name != _METRICS) for name, wanted in expected.items()
        }
        if metrics[_METRICS] != parts.get(_METRICS) and _has_fractions(parts["problems_attempted"]):
            near = _refreshed(_METRICS, expected[_METRICS], parts.get(_METRICS), near=True)
            if near == parts.get(_METRICS):  # else all of them are written, as exactly as the others
                metrics[_METRICS] = near
        wrong = tuple(
            reason
            for name, reason in _MISMATCH.items()
            if name in parts and parts[name][0] not in _NOTHING and metrics[name] != parts[name]
        )
        if not row["repairs"] and not wrong:
            return NOTHING
        if not allow_shrink:
            said = _said(parts)
            recounts = any(metrics[name] != parts.get(name) for name in metrics) or None in _own(said)
            if would_shrink(said, row, _stored_attempts(parts), recounts=recounts):
                return Composed(held=("would_shrink",), said=said.text())
        target = _session(row, parts) | metrics
    except RepeatedField:
        return Composed(held=("repeated_field",))
    except TwoValues:
        return Composed(held=("two_values",))
    known = {"_id", UPDATED, *FIELDS, *ALIASES}
    first = [parts["_id"], *(target[name] for name in FIELDS)]
    rest = [element for name, element in parts.items() if name not in known]
    after = from_elements([*first, element_of(UPDATED, now), *rest])
    if len(after) > LARGEST:
        return Composed(held=("too_large",))
    return Composed(after, from_elements([*first, *rest]), wrong)


_MISMATCH = {
    "performance_metrics": "metrics_mismatch",
    "topic_performance": "topic_mismatch",
    "difficulty_performance": "difficulty_mismatch",
}


def analytics(row: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The three analytic fields of a session, from `FACT_COLUMNS`."""
    topics, difficulties = _counts(row["topics"]), _counts(row["difficulties"])
    attempted, correct = row["total_attempted"], row["total_correct"]
    return {
        "performance_metrics": {
            "total_metrics": {
                "total_attempted": attempted,
                "total_correct": correct,
                "total_incorrect": attempted - correct,
                "total_time_ms": _whole(row["total_time_ms"]),
                "total_time_seconds": row["total_time_seconds"],
                "total_time_minutes": row["total_time_minutes"],
            },
            "average_metrics": {
                "accuracy_percentage": row["accuracy"],
                "average_time_per_problem_ms": row["average_ms"],
                "average_time_per_problem_seconds": row["average_seconds"],
                "average_time_correct_problems_ms": row["average_correct_ms"],
                "average_time_incorrect_problems_ms": row["average_incorrect_ms"],
            },
            "speed_metrics": {
                "fastest_correct_time_ms": _whole(row["fastest_correct_ms"]),
                "slowest_correct_time_ms": _whole(row["slowest_correct_ms"]),
            },
            "topic_metrics": topics,
            "difficulty_metrics": difficulties,
        },
        "topic_performance": topics,
        "difficulty_performance": difficulties,
    }


def _said(parts: dict[str, bytes]) -> Said:
    found = ((name, _value(parts, name, ALIASES)) for name in (*_NUMBERS, *_MISMATCH))
    return Said.of({name: decoded(element)[name] for name, element in found if element is not None})


def _own(said: Said) -> tuple[float | None, ...]:
    """What is worked out from the attempts if it is missing."""
    return said.attempted, said.score, said.ms


def _stored_attempts(parts: dict[str, bytes]) -> Iterator[Mapping[str, Any]]:
    """The attempts as they are stored, decoded when they are asked for."""
    yield from decoded(parts["problems_attempted"])["problems_attempted"]


def _counts(counts: Iterable[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    return {one["name"]: {name: one[name] for name in ("attempted", "correct", "accuracy")} for one in counts}


def _whole(number: float | None) -> float | None:
    return int(number) if number is not None and number == int(number) and abs(number) <= _EXACT else number


# -- fields ------------------------------------------------------------------------------------------------------------


def _session(row: Mapping[str, Any], parts: dict[str, bytes]) -> dict[str, bytes]:
    """The fields of the session but its analytics."""
    fields = {name: _number(name, _value(parts, name, ALIASES), name in _NUMBERS) for name in FIELDS}
    fields["user_id"] = _user(row, parts)
    ms = fields["total_time_ms"] or element_of("total_time_ms", _whole(row["total_time_ms"]))
    millis = decoded(ms)["total_time_ms"]
    defaults = {
        "shuffle": False,
        "score": row["total_correct"],
        "total_attempted": row["total_attempted"],
    }
    for name, value in defaults.items():
        fields[name] = fields[name] or element_of(name, value)
    fields["total_time_ms"] = ms
    for name, parts_of_it in (("total_time_seconds", 1000), ("total_time_minutes", 60000)):
        fields[name] = _refreshed(name, round(millis / parts_of_it, 2), fields[name])
    if _STRUCTURE.intersection(row["repairs"]):
        fields["problems_attempted"] = _attempts(parts["problems_attempted"], row["fills"])
    return {
        name: parts[name] if element is None else element for name, element in fields.items() if name not in _MISMATCH
    }


def _user(row: Mapping[str, Any], parts: dict[str, bytes]) -> bytes:
    for name in ("user_id", "userId", "_user_id"):
        element = _says(parts.get(name))
        if element is not None and not (element[0] == _TEXT and decoded(element)[name] in _NO_ONE):
            return renamed(element, "user_id")
    return element_of("user_id", row["found_user"])


def _attempts(element: bytes, fills: Iterable[Mapping[str, Any]]) -> bytes:
    by_place = {fill["attempt"]: fill for fill in fills}
    items = [
        embedded(str(place), _attempt(item, by_place.get(place, {})))
        for place, (_, item) in enumerate(named_elements(_inner(element)))
    ]
    return embedded("problems_attempted", from_elements(items), array=True)


def _attempt(item: bytes, fill: Mapping[str, Any]) -> bytes:
    parts = _parts(_inner(item))
    fields: list[bytes] = []
    millis: Any = None
    times = (_says(parts.get(one)) for one in (_MOMENT, "timestamp"))
    if len({renamed(one, _MOMENT) for one in times if one is not None}) > 1:
        raise TwoValues(_MOMENT)
    for name in ATTEMPT_FIELDS:
        element = _number(name, _value(parts, name, ATTEMPT_ALIASES), name in _ATTEMPT_NUMBERS)
        if name == "time_spent_ms" and element is not None:
            millis = decoded(element)[name]
        if name == "time_spent_seconds" and element is None:
            element = element_of(name, round(millis / 1000, 2))
        if fill.get(name) is not None:
            element = element_of(name, fill[name])
        element = parts.get(name) if element is None else element
        if element is not None:
            fields.append(element)
    rest = [one for name, one in parts.items() if name not in ATTEMPT_FIELDS and name not in ATTEMPT_ALIASES]
    return from_elements([*fields, *rest])


def _value(parts: dict[str, bytes], name: str, aliases: Mapping[str, str]) -> bytes | None:
    """The element that says what a field says, under its own name."""
    for one in (name, *(alias for alias, new in aliases.items() if new == name)):
        element = _says(parts.get(one))
        if element is not None:
            return renamed(element, name)
    return None


def _says(element: bytes | None) -> bytes | None:
    return None if element is None or element[0] in _NOTHING else element


def _number(name: str, element: bytes | None, numeric: bool) -> bytes | None:
    if element is None or not numeric or element[0] != _TEXT:
        return element
    text = decoded(element)[name]
    return element_of(name, float(text) if "." in text else int(text))


# -- analytics ---------------------------------------------------------------------------------------------------------


def _refreshed(name: str, wanted: Any, stored: bytes | None, is_map: bool = False, near: bool = False) -> bytes:
    """The element of a value that is worked out: the stored one where it says the same; fields it has beyond are kept."""
    if stored is None or stored[0] in _NOTHING:
        return element_of(name, wanted)
    if _same(wanted, decoded(stored)[name], name, is_map, near):
        return stored
    if not isinstance(wanted, dict) or stored[0] != 3:
        return element_of(name, wanted)
    parts = _parts(_inner(stored))
    inner = [_refreshed(key, value, parts.get(key), key in _MAPS and not is_map, near) for key, value in wanted.items()]
    rest = [] if is_map else [element for key, element in parts.items() if key not in wanted]
    return embedded(name, from_elements([*inner, *rest]))


def _same(wanted: Any, stored: Any, name: str = "", is_map: bool = False, near: bool = False) -> bool:
    """Equal in value, whatever the type of a number; of a map all keys, of another document those wanted.

    `near`: sums of times, and what is made of them, may differ in the last place.
    """
    if isinstance(wanted, dict):
        if not isinstance(stored, dict) or not stored.keys() >= wanted.keys():
            return False
        if is_map and stored.keys() != wanted.keys():
            return False
        return all(_same(value, stored[key], key, key in _MAPS and not is_map, near) for key, value in wanted.items())
    if wanted is None or stored is None:
        return wanted is stored
    if not isinstance(stored, int | float) or isinstance(stored, bool):
        return False
    if near and name.startswith(_SUMS) and abs(wanted - stored) <= _LAST_PLACE:
        return True
    return wanted == stored or (name.startswith(_AVERAGE) and wanted == round(stored, 2))


def _has_fractions(element: bytes) -> bool:
    """Whether a time is no whole number of milliseconds: doubles add up differently in another order."""
    for _, item in named_elements(_inner(element)):
        time = _number("time_spent_ms", _value(elements(_inner(item)), "time_spent_ms", ATTEMPT_ALIASES), True)
        if time is not None and decoded(time)["time_spent_ms"] % 1:
            return True
    return False


def _parts(document: bytes) -> dict[str, bytes]:
    parts: dict[str, bytes] = {}
    for name, element in named_elements(document):
        if name in parts:
            raise RepeatedField(name)
        parts[name] = element
    return parts


def _inner(element: bytes) -> bytes:
    """The document or array that an element holds."""
    return element[element.index(0, 1) + 1 :]
