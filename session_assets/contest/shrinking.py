"""Whether a repair would make a document poorer: what it already says, compared with what its source has. Pure, no I/O.

The source of a session is its attempts, and the problems for what attempts lack. Attempts can be lost, and problems can be
missing or renamed; what was counted from them before would then be overwritten with less. An inflated figure alone is no sign
of that: if the source is full, it is repaired. The document's own word on its attempts are the fields that a repair keeps:
`total_attempted`, `score` and `total_time_ms`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from math import isfinite
from typing import Any

Values = Mapping[str, Any]
KINDS = {"topics": "topic", "difficulties": "difficulty"}
"""Columns of the facts, and how the fields that are counted by them begin."""
_DECIMAL = re.compile(r"-?\d{1,15}(\.\d{1,6})?")
_LAST_PLACE = 0.0051  # of a sum that is written with two decimals


@dataclass(frozen=True)
class Said:
    """What a stored document says: its own word on its attempts, and its analytics as they are stored (None: absent or null)."""

    attempted: float | None = None
    score: float | None = None
    ms: float | None = None
    seconds: float | None = None
    minutes: float | None = None
    metrics: Values = field(default_factory=dict[str, Any])
    by_topic: Values | None = None
    by_difficulty: Values | None = None

    @staticmethod
    def of(fields: Values) -> Said:
        """From the fields of a document, decoded, under their new names."""
        numbers = {
            "attempted": "total_attempted",
            "score": "score",
            "ms": "total_time_ms",
            "seconds": "total_time_seconds",
            "minutes": "total_time_minutes",
        }
        return Said(
            **{name: _number(fields.get(stored)) for name, stored in numbers.items()},
            metrics=_map(fields.get("performance_metrics")) or {},
            by_topic=_map(fields.get("topic_performance")),
            by_difficulty=_map(fields.get("difficulty_performance")),
        )

    def maps(self, kind: str) -> tuple[Values | None, Values | None]:
        """Counts by topic or by difficulty: the field, and its copy in `performance_metrics`."""
        return getattr(self, f"by_{KINDS[kind]}"), _map(self.metrics.get(f"{KINDS[kind]}_metrics"))

    @cached_property
    def totals(self) -> Values:
        return _map(self.metrics.get("total_metrics")) or {}

    @property
    def counted(self) -> float:
        """The most attempts that the analytics speak of. An attempt has one difficulty, and counts once in each of its topics."""
        found = [_number(self.totals.get("total_attempted")) or 0.0, self.attempts_by_difficulty]
        found += [max(_attempted(one.values()), default=0.0) for one in self.maps("topics") if one]
        return max(found)

    @property
    def attempts_by_difficulty(self) -> float:
        """The most attempts that the counts by difficulty add up to."""
        return max((sum(_attempted(one.values())) for one in self.maps("difficulties") if one), default=0.0)

    def text(self) -> str:
        """The figures as the full list shows them."""
        attempted = max(self.attempted or 0.0, self.counted)
        correct = _number(self.totals.get("total_correct"))
        topics = max(len(one or ()) for one in self.maps("topics"))
        shown = {"attempted": attempted, "correct": self.score if correct is None else correct, "time": self.ms}
        figures = " ".join(f"{name}={'?' if one is None else f'{one:.15g}'}" for name, one in shown.items())
        return f"{figures} ms topics={topics}"


def would_shrink(said: Said, facts: Values, attempts: Iterable[Values], *, recounts: bool) -> bool:
    """Whether to write what the source amounts to would make the document poorer.

    In: `facts`, a row of `COLLECTED`; `attempts` as they are stored, only looked at if topics fall; `recounts`: whether the
    repair would write any figure that is worked out from the attempts.
    """
    if recounts and _lacks_attempts(said, facts):
        return True
    if any(_falls(said, facts, kind) and _has_unproven(kind, facts, attempts) for kind in KINDS):
        return True
    return any(_is_emptied(said, facts, kind) for kind in KINDS) or _loses_time(said, facts)


def _lacks_attempts(said: Said, facts: Values) -> bool:
    """Whether the attempts are fewer than the document says they were."""
    count, correct, ms = (facts[name] for name in ("total_attempted", "total_correct", "total_time_ms"))
    if said.attempted is not None and said.attempted > count:
        return True
    if count == 0 and max(said.score or 0.0, said.ms or 0.0) > 0:
        return True
    if said.counted <= count:
        return False
    if said.attempted is None or (said.score is None and said.ms is None):
        return True  # no word of the application's own says that these are all attempts
    more = {"total_correct": (said.score, correct), "total_time_ms": (said.ms, ms)}
    agrees = any(  # the analytics speak of more, and what the application wrote agrees with them
        own is not None and own > now and _agrees(said.totals.get(name), own) for name, (own, now) in more.items()
    )
    return agrees or (said.attempts_by_difficulty > count and _loses_topics(said, facts))


def _agrees(value: Any, own: float) -> bool:
    number = _number(value)
    return number is None or _equal(number, own)


def _loses_topics(said: Said, facts: Values) -> bool:
    """Whether a topic would be lost: together with difficulties of more attempts that is more than an inflated figure."""
    now = {one["name"] for one in facts["topics"]}
    return any(not now.issuperset(one) for one in said.maps("topics") if one)


def _falls(said: Said, facts: Values, kind: str) -> bool:
    """Whether a name that is counted would be lost, or counted less."""
    now = {one["name"]: one for one in facts[kind]}
    return any(_is_less(now.get(name), counts) for one in said.maps(kind) if one for name, counts in one.items())


def _is_less(now: Values | None, counts: Any) -> bool:
    if now is None or not isinstance(counts, Mapping):
        return True
    return any((_number(counts.get(name)) or 0.0) > now[name] for name in ("attempted", "correct"))


def _has_unproven(kind: str, facts: Values, attempts: Iterable[Values]) -> bool:
    """Whether some attempt has no topics, or no difficulty, of its own or of its problem."""
    if kind == "difficulties":
        return sum(one["attempted"] for one in facts[kind]) < facts["total_attempted"]
    filled = {fill["attempt"] for fill in facts["fills"] if fill["topics"] is not None}
    return any(not one.get("topics") and place not in filled for place, one in enumerate(attempts))


def _is_emptied(said: Said, facts: Values, kind: str) -> bool:
    """Whether a document that says nothing of its topics would say that there are none, because no problem is known."""
    is_unknown = not {"unknown_problem", "unknown_contest"}.isdisjoint(facts["notes"])
    if facts[kind] or not facts["total_attempted"] or not is_unknown:
        return False
    return any(one is None for one in said.maps(kind))


def _loses_time(said: Said, facts: Values) -> bool:
    """Whether seconds or minutes would fall to those of milliseconds that are fewer than the attempts'."""
    if said.ms is None or said.ms >= facts["total_time_ms"] - _LAST_PLACE:
        return False
    units = ((said.seconds, 1000), (said.minutes, 60_000))
    return any(one is not None and one > round(said.ms / parts, 2) for one, parts in units)


def _attempted(counts: Iterable[Any]) -> list[float]:
    return [_number(one.get("attempted")) or 0.0 for one in counts if isinstance(one, Mapping)]


def _equal(one: float | None, other: float | None) -> bool:
    return one is not None and other is not None and abs(one - other) <= _LAST_PLACE


def _map(value: Any) -> Values | None:
    return value if isinstance(value, Mapping) else None


def _number(value: Any) -> float | None:
    """A number, also one that is written as plain decimal text; else None."""
    if isinstance(value, str) and _DECIMAL.fullmatch(value):
        return float(value)
    is_number = isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value)
    return float(value) if is_number else None
