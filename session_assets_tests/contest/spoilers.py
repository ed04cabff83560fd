"""Every way in which a contest session may differ from the structure, and whether it can be repaired by rule."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from bson import Decimal128, Int64, ObjectId

from session_assets.embedded.contest_truth import Maker

Document = dict[str, Any]
GONE = object()
"""A field that is not there."""
MOMENT = datetime(2025, 7, 1, 12, tzinfo=UTC)
Value = Any


@dataclass(frozen=True)
class Spoiler:
    """Fields that get other values, of the document or of one attempt. A document gets at most one of each `slot`."""

    slot: str
    fields: dict[str, Value]  # a function makes its value of the document (or attempt) as it was
    held: bool
    in_attempt: bool = False
    first: bool = False  # the new fields stand before all others


def _fine(slot: str, **fields: Value) -> Spoiler:
    return Spoiler(slot, fields, held=False)


def _held(slot: str, **fields: Value) -> Spoiler:
    return Spoiler(slot, fields, held=True)


def _as_text(name: str) -> Callable[[Document], str]:
    return lambda one: str(one[name])


def _of(name: str, change: Callable[[Any], Any] = lambda value: value) -> Callable[[Document], Any]:
    return lambda one: change(one[name])


_TIME_FIELDS = ("total_time_ms", "total_time_seconds", "total_time_minutes")
_DOCUMENT = (
    *(_held(name, **{name: value}) for name in ("session_id", "username", "contest") for value in (GONE, None, 17)),
    *(_held("session_status", session_status=value) for value in (GONE, None, 17)),
    *(_held("mode", mode=value) for value in (GONE, 3)),
    _fine("mode", mode=None),
    *(_fine("created_at", created_at=value) for value in (
        MOMENT, "2025-07-01 12:00:00", "2025-07-01T12:00:00Z", "2025-07-01T12:00:00.123456+02:00", "2025-07-01T12:00:00.5",
        "1970-01-01 00:00:00", "2199-01-01T00:00:00Z",
    )),
    *(_held("created_at", created_at=value) for value in (GONE, None, 1751371200, "soon", "2025-02-30 12:00:00", ["x"])),
    *(_fine("completed_at", completed_at=value) for value in (None, MOMENT, "2020-01-01T00:00:00Z")),
    *(_held("completed_at", completed_at=value) for value in (GONE, 17, "later")),
    *(_fine("user_id", user_id=value) for value in (GONE, None, "None", "null", "", ObjectId(), "somebody")),
    *(_fine("user_id", user_id=GONE, **{name: value})
      for name in ("userId", "_user_id") for value in ("None", None, "somebody", ObjectId())),
    _fine("user_id", userId=_of("user_id")),
    _held("user_id", userId="other"),
    *(_held("user_id", user_id=value) for value in (17, ["a"])),
    *(_fine("year", year=value) for value in ("2022", 2022.0, Int64(2022))),
    *(_held("year", year=value) for value in (GONE, None, 2022.5, "MMXXII", "2022 ", True)),
    *(_fine("shuffle", shuffle=value) for value in (GONE, None, True)),
    *(_held("shuffle", shuffle=value) for value in ("yes", 0)),
    *(_fine("score", score=value)
      for value in (GONE, None, _as_text("score"), _of("score", float), _of("score", lambda n: n + 1), "2.50", -1)),
    *(_held("score", score=value) for value in ("three", "007", float("inf"), float("nan"), True, Decimal128("3"), 2**60)),
    _fine("total_attempted", total_attempted=GONE),
    _fine("total_attempted", total_attempted=_as_text("total_attempted")),
    _fine("total_attempted", total_attempted=_of("total_attempted", lambda n: n + 1)),
    _fine("total_attempted", total_attempted=GONE, attempted=_of("total_attempted")),
    _fine("total_attempted", total_attempted=GONE, attempted=_as_text("total_attempted")),
    _fine("total_attempted", attempted=_of("total_attempted", float)),
    _fine("total_attempted", attempted=None),
    _held("total_attempted", attempted=_of("total_attempted", lambda n: n + 1)),
    _fine("times", total_time_ms=GONE, totalTime=_of("total_time_ms")),
    _fine("times", total_time_ms=GONE, totalTime=_as_text("total_time_ms")),
    _fine("times", totalTime=_of("total_time_ms", float)),
    _fine("times", **dict.fromkeys(_TIME_FIELDS, GONE)),
    _fine("times", **{name: _as_text(name) for name in _TIME_FIELDS}),
    _fine("times", total_time_ms=_of("total_time_ms", lambda ms: ms + 1000)),
    _fine("times", total_time_seconds=_of("total_time_ms", lambda ms: ms / 1000), total_time_minutes=None),
    _fine("times", total_time_ms=GONE),
    _held("times", total_time_ms=GONE, total_time_seconds=_of("total_time_seconds", lambda seconds: seconds + 1)),
    _held("times", totalTime=_of("total_time_ms", lambda ms: ms + 1)),
    _held("times", total_time_ms="fast"),
    *(_held("problems_attempted", problems_attempted=value) for value in (GONE, None, "25", 25, {})),
    _held("problems_attempted", problems_attempted=_of("problems_attempted", lambda some: [*some, "one more"])),
    _fine("problems_attempted", problems_attempted=[], score=0),
    *(_fine(name, **{name: value}) for name in ("performance_metrics", "topic_performance", "difficulty_performance")
      for value in (GONE, None, {}, {"Algebra": {"attempted": 1, "correct": 2, "accuracy": "9"}})),
    *(_held(name, **{name: value}) for name in ("performance_metrics", "topic_performance", "difficulty_performance")
      for value in (17, [])),
    _fine("updated_at", updated_at=MOMENT),
    _fine("updated_at", updated_at="2025-07-01"),
    _held("updated_at", updated_at=17),
    _fine("more", device={"os": "x", "list": [1, {"a": None}]}),
    Spoiler("more", {"device": Decimal128("1.50"), "": "", "total_time": 9}, held=False, first=True),
)  # fmt: skip

_IN_ATTEMPT = (
    *(_fine("number", problem_number=value) for value in (GONE, None, _as_text("problem_number"), 99, 12.0)),
    *(_held("number", problem_number=value) for value in ("one", 1.5, True)),
    _fine("id", problem_id=GONE),
    _fine("selected", selected_answer=GONE),
    _fine("result", is_correct=GONE, correct=_of("is_correct")),
    _fine("result", is_correct=None, correct=_of("is_correct")),
    _fine("result", correct=_of("is_correct")),
    _held("result", correct=_of("is_correct", lambda flag: not flag)),
    *(_held("result", is_correct=value) for value in (GONE, None, "true", 1)),
    _fine("time", time_spent_ms=GONE, time_spent=_of("time_spent_ms")),
    _fine("time", time_spent_ms=GONE, time_spent=_as_text("time_spent_ms")),
    _fine("time", time_spent=_of("time_spent_ms", float)),
    *(_fine("time", time_spent_ms=value)
      for value in (_as_text("time_spent_ms"), _of("time_spent_ms", Int64), 5.5, "12.25", -5, 0)),
    _held("time", time_spent=_of("time_spent_ms", lambda ms: ms + 1)),
    *(_held("time", time_spent_ms=value) for value in (GONE, None, "fast", float("nan"), True)),
    *(_fine("seconds", time_spent_seconds=value) for value in (GONE, None, _as_text("time_spent_seconds"), 99)),
    _held("seconds", time_spent_seconds="9 s"),
    _fine("moment", attempt_timestamp=GONE, timestamp=_of("attempt_timestamp")),
    _fine("moment", timestamp=_of("attempt_timestamp")),
    _fine("moment", attempt_timestamp=MOMENT),
    _fine("moment", attempt_timestamp=GONE),
    _held("moment", timestamp=MOMENT),
    *(_fine("answer", correct_answer=value) for value in (GONE, None, "")),
    _held("answer", correct_answer=7),
    *(_fine("difficulty", difficulty=value) for value in (GONE, None, "", "Easy", "$hard", "a.b")),
    *(_held("difficulty", difficulty=value) for value in (7, "a\0b")),
    *(_fine("topics", topics=value) for value in (
        GONE, None, [], ["Algebra", "Algebra", "Sets"], ["", "$x", "a.b", "é", "10"],
    )),
    *(_held("topics", topics=value) for value in ("Algebra", [1], [None], ["a\0b"], {})),
    _fine("more", note={"seen": True}, hints=[1, 2]),
    Spoiler("more", {"_id": ObjectId(), "note": None}, held=False, first=True),
)  # fmt: skip

SPOILERS = (*_DOCUMENT, *(Spoiler(one.slot, one.fields, one.held, True, one.first) for one in _IN_ATTEMPT))


def spoil(document: Document, spoiler: Spoiler, chance: random.Random) -> Document:
    """The document as the spoiler leaves it."""
    attempts = document.get("problems_attempted")
    if not spoiler.in_attempt:
        return _set(document, spoiler)
    if not isinstance(attempts, list) or not attempts or not isinstance(attempts[0], dict):
        return document
    place = chance.randrange(len(attempts) - 1)
    spoiled = [_set(one, spoiler) if number == place else one for number, one in enumerate(attempts)]
    return document | {"problems_attempted": spoiled}


def _set(one: Document, spoiler: Spoiler) -> Document:
    values = {name: value(one) if callable(value) else value for name, value in spoiler.fields.items()}
    changed = values | one | values if spoiler.first else one | values
    return {name: value for name, value in changed.items() if value is not GONE}


def generated(count: int, seed: int) -> tuple[list[Document], set[Any], dict[str, Any]]:
    """Documents with up to five spoilers each, every spoiler alone once; the `_id`s that must be held; the users by name."""
    maker, chance = Maker(datetime(2026, 3, 1, tzinfo=UTC), seed), random.Random(seed)
    documents: list[Document] = []
    held: set[Any] = set()
    for number in range(count):
        chosen = [SPOILERS[number]] if number < len(SPOILERS) else _several(chance)
        is_held = any(spoiler.held for spoiler in chosen)
        names = [*maker.users] if is_held else [*maker.users, *["nobody"] * 20]
        document = maker.document(maker.attempts(chance.randint(2, 9)), chance.choice(names))
        for spoiler in sorted(chosen, key=lambda one: not one.in_attempt):
            document = spoil(document, spoiler, chance)
        if is_held:
            held.add(document["_id"])
        if number >= len(SPOILERS) and chance.random() < 0.3:
            document = {name: document[name] for name in chance.sample([*document], len(document))}
        if (
            number >= len(SPOILERS)
            and isinstance(some := document.get("problems_attempted"), list)
            and chance.random() < 0.3
        ):
            document["problems_attempted"] = [_shuffled(one, chance) for one in some]
        documents.append(document)
    return documents, held, maker.users


def _several(chance: random.Random) -> list[Spoiler]:
    """Spoilers that do not meet; most of them such as can be repaired."""
    pool = [one for one in SPOILERS if not one.held or chance.random() < 0.1]
    chosen: dict[tuple[str, bool], Spoiler] = {}
    for one in chance.sample(pool, chance.randint(0, 5)):
        chosen.setdefault((one.slot, one.in_attempt), one)
    if ("problems_attempted", False) in chosen:  # it would take the spoiled attempts away
        chosen = {
            place: one for place, one in chosen.items() if not one.in_attempt and one.slot not in ("score", "times")
        }
    if ("times", False) in chosen:  # seconds without milliseconds are those of the attempts
        chosen.pop(("time", True), None)
    return [*chosen.values()]


def _shuffled(one: Any, chance: random.Random) -> Any:
    return {name: one[name] for name in chance.sample([*one], len(one))} if isinstance(one, dict) else one
