"""The analytics of contest sessions by an aggregation: MongoDB completes and counts the attempts, and no code of the facts runs.

Traps: a `$set` or `$project` stage cannot use a field that it makes itself, so each step is a stage. `$round` rounds half to
even. A topic that stands twice in one attempt counts once, as `$setUnion` does it. `null` as `localField` would match problems
without a `contest_id`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import bson
import polars as pl
from pymongo.database import Database

from session_assets.contest.model import PROBLEMS, SESSIONS
from session_assets.stores.bson_batch import Batch
from session_assets.stores.bson_documents import CODEC, RAW_VALUES, id_of
from session_assets.stores.bson_frames import keys_of
from session_assets.stores.mongo import attempt

_CHUNK = 1000
_NOTHING = ["missing", "undefined", "null"]
_ONE_TEXT = {"$type": "string", "$not": {"$type": "array"}}  # `$type` alone also matches lists that hold one
_FIGURES = (
    "total_attempted", "total_correct", "total_time_ms", "total_time_seconds", "total_time_minutes", "accuracy",
    "average_ms", "average_seconds", "average_correct_ms", "average_incorrect_ms", "fastest_correct_ms",
    "slowest_correct_ms",
)  # fmt: skip
_NAMES, _NUMBERS, _SHARES = pl.List(pl.String), pl.List(pl.Int64), pl.List(pl.Float64)
RECOUNTED = pl.Schema(
    {
        "key": pl.String,
        "whole_times": pl.Boolean,  # of all attempts
        **dict.fromkeys(_FIGURES, pl.Float64),
        **{
            f"{kind}_{name}": dtype
            for kind in ("topics", "difficulties")
            for name, dtype in {"name": _NAMES, "attempted": _NUMBERS, "correct": _NUMBERS, "accuracy": _SHARES}.items()
        },
    }
)
"""Figures of a session as `contest.model.FACT_COLUMNS`; topics and difficulties as lists side by side, in any order."""


class ContestRecounts:
    """Recounts sessions on the server."""

    def __init__(self, database: Database[Any], variable: str) -> None:
        self._sessions = database[SESSIONS]
        self._variable = variable

    def of(self, keys: pl.Series) -> Iterator[pl.DataFrame]:
        """Recounts of documents by their keys: frames of `RECOUNTED`. Documents that are gone are left out."""
        for start in range(0, len(keys), _CHUNK):
            ids = [id_of(key) for key in keys[start : start + _CHUNK].to_list()]
            yield self._frame(recount_stages({"_id": {"$in": ids}}))

    def unchanged(self, documents: pl.DataFrame) -> pl.DataFrame:
        """Of `key` and `document`, those that still stand as they were read."""
        raw = self._sessions.with_options(codec_options=RAW_VALUES)
        query = {"_id": {"$in": [id_of(key) for key in documents["key"].to_list()]}}
        found = attempt(self._variable, lambda: [bytes(one.raw) for one in raw.find(query)])
        return documents.join(
            pl.DataFrame({"document": found}, schema={"document": pl.Binary}), on="document", how="semi"
        )

    def _frame(self, stages: list[dict[str, Any]]) -> pl.DataFrame:
        def read() -> bytes:
            return b"".join(self._sessions.aggregate_raw_batches(stages, allowDiskUse=True))

        data = attempt(self._variable, read)
        rows = bson.decode_all(data, CODEC)
        columns: dict[str, Any] = {name: [row.get(name) for row in rows] for name in RECOUNTED.names() if name != "key"}
        return pl.DataFrame({"key": keys_of(Batch(data)) if rows else [], **columns}, schema=RECOUNTED, strict=False)


# -- stages ------------------------------------------------------------------------------------------------------------


def recount_stages(query: dict[str, Any]) -> list[dict[str, Any]]:
    """The aggregation over the sessions that match."""
    return [
        {"$match": query},
        {"$project": {"attempts": _each("$problems_attempted", _attempt()), "contest": _contest()}},
        {"$set": {"contest": {"$cond": [_lacks(), {"$ifNull": ["$contest", False]}, False]}}},
        {"$lookup": _problems()},
        {"$project": {"attempts": _each("$attempts", _filled())}},
        {"$set": {"right": {"$filter": {"input": "$attempts", "cond": "$$this.right"}}}},
        {"$project": _sums()},
        {"$set": {"wrong": {"$subtract": ["$total_attempted", "$total_correct"]}}},
        {"$set": {"topics": _counts("topic"), "difficulties": _counts("difficulty")}},
        {"$set": _accuracies("topics") | _accuracies("difficulties")},
        {"$project": _figures()},
    ]


def _attempt() -> dict[str, Any]:
    """An attempt under its new names; what says nothing is null."""
    return {
        "number": _number("$$this.problem_number"),
        "right": {"$eq": [_first("$$this.is_correct", "$$this.correct"), True]},
        "ms": _number(_first("$$this.time_spent_ms", "$$this.time_spent")),
        "difficulty": _text("$$this.difficulty"),
        "topics": {"$cond": [_is_filled("$$this.topics"), "$$this.topics", None]},
    }


def _contest() -> dict[str, Any]:
    """`AMC10A_2022` of `AMC 10A` and 2022."""
    year = {"$convert": {"input": _number("$year"), "to": "long", "onError": None, "onNull": None}}
    name = {"$replaceAll": {"input": _text("$contest"), "find": " ", "replacement": ""}}
    return {"$concat": [name, "_", {"$toString": year}]}


def _lacks() -> dict[str, Any]:
    return {"$or": [{"$in": [None, "$attempts.difficulty"]}, {"$in": [None, "$attempts.topics"]}]}


def _problems() -> dict[str, Any]:
    """The problems of the contest, where an attempt lacks something; each as what makes it the same as another."""
    usable = {
        "$and": [
            _is_filled("$topics"),
            {"$allElementsTrue": [_each("$topics", _is_name("$$this"))]},
        ]
    }
    answer = {"$ifNull": [_text("$answer"), _text("$correct_answer")]}
    difficulty = {"$cond": [_is_name("$difficulty"), _text("$difficulty"), None]}
    said = {"answer": answer, "difficulty": difficulty, "topics": {"$cond": [usable, "$topics", None]}}
    return {
        "from": PROBLEMS,
        "localField": "contest",
        "foreignField": "contest_id",
        "pipeline": [
            {"$match": {"contest_id": _ONE_TEXT, "problem_number": {"$type": ["int", "long", "double"]}}},
            {"$project": {"_id": 0, "number": "$problem_number", "said": said}},
        ],
        "as": "problems",
    }


def _filled() -> dict[str, Any]:
    """An attempt with what its problem says, where all problems of its number say the same."""
    same = {"$filter": {"input": "$problems", "as": "problem", "cond": {"$eq": ["$$problem.number", "$$this.number"]}}}
    said = {"$setUnion": [{"$map": {"input": same, "as": "problem", "in": "$$problem.said"}}]}
    one = {"$cond": [{"$eq": [{"$size": "$$said"}, 1]}, {"$first": "$$said"}, None]}
    attempt = {
        "right": "$$this.right",
        "ms": "$$this.ms",
        "difficulty": {"$ifNull": ["$$this.difficulty", "$$problem.difficulty", None]},
        "topics": {"$setUnion": [{"$ifNull": ["$$this.topics", "$$problem.topics", []]}]},
    }
    return {"$let": {"vars": {"said": said}, "in": {"$let": {"vars": {"problem": one}, "in": attempt}}}}


def _sums() -> dict[str, Any]:
    def flat(attempts: str) -> dict[str, Any]:
        return {
            "$reduce": {
                "input": f"{attempts}.topics",
                "initialValue": [],
                "in": {"$concatArrays": ["$$value", "$$this"]},
            }
        }

    def said(attempts: str) -> dict[str, Any]:
        return {"$filter": {"input": f"{attempts}.difficulty", "cond": {"$ne": ["$$this", None]}}}

    return {
        "total_attempted": {"$size": "$attempts"},
        "total_correct": {"$size": "$right"},
        "total_time_ms": {"$sum": "$attempts.ms"},
        "correct_ms": {"$sum": "$right.ms"},
        "fastest_correct_ms": {"$min": "$right.ms"},
        "slowest_correct_ms": {"$max": "$right.ms"},
        "whole_times": {"$allElementsTrue": [_each("$attempts.ms", {"$eq": ["$$this", {"$floor": "$$this"}]})]},
        "topic_all": flat("$attempts"),
        "topic_right": flat("$right"),
        "difficulty_all": said("$attempts"),
        "difficulty_right": said("$right"),
    }


def _counts(kind: str) -> dict[str, Any]:
    def count(names: str) -> dict[str, Any]:
        same = {"$filter": {"input": names, "as": "one", "cond": {"$eq": ["$$one", "$$this"]}}}
        return {"$size": same}

    item = {"name": "$$this", "attempted": count(f"${kind}_all"), "correct": count(f"${kind}_right")}
    return _each({"$setUnion": [f"${kind}_all"]}, item)


def _accuracies(kind: str) -> dict[str, Any]:
    return {f"{kind}_accuracy": _each(f"${kind}", _share("$$this.correct", "$$this.attempted"))}


def _figures() -> dict[str, Any]:
    time, wrong_ms = "$total_time_ms", {"$subtract": ["$total_time_ms", "$correct_ms"]}
    lists = {
        f"{kind}_{name}": f"${kind}.{name}"
        for kind in ("topics", "difficulties")
        for name in ("name", "attempted", "correct")
    }
    return {
        "total_attempted": 1,
        "total_correct": 1,
        "total_time_ms": 1,
        "total_time_seconds": _rounded({"$divide": [time, 1000]}),
        "total_time_minutes": _rounded({"$divide": [time, 60000]}),
        "accuracy": _share("$total_correct", "$total_attempted"),
        "average_ms": _average(time, "$total_attempted"),
        "average_seconds": _average({"$divide": [time, 1000]}, "$total_attempted"),
        "average_correct_ms": _average("$correct_ms", "$total_correct"),
        "average_incorrect_ms": _average(wrong_ms, "$wrong"),
        "fastest_correct_ms": 1,
        "slowest_correct_ms": 1,
        "whole_times": 1,
        **lists,
        "topics_accuracy": 1,
        "difficulties_accuracy": 1,
    }


# -- expressions -------------------------------------------------------------------------------------------------------


def _each(items: Any, result: dict[str, Any]) -> dict[str, Any]:
    return {"$map": {"input": {"$cond": [{"$isArray": [items]}, items, []]}, "in": result}}


def _first(*values: str) -> dict[str, Any]:
    """The first of some fields that says something."""
    result: Any = None
    for value in reversed(values):
        result = {"$cond": [{"$in": [{"$type": value}, _NOTHING]}, result, value]}
    return result


def _number(value: Any) -> dict[str, Any]:
    """A number, also one that is written as text, else null."""
    usable = {"$in": [{"$type": value}, ["int", "long", "double", "string"]]}
    return {"$cond": [usable, {"$convert": {"input": value, "to": "double", "onError": None, "onNull": None}}, None]}


def _text(value: str) -> dict[str, Any]:
    """A text that is not empty, else null."""
    return {"$cond": [{"$and": [{"$eq": [{"$type": value}, "string"]}, {"$ne": [value, ""]}]}, value, None]}


def _is_name(value: str) -> dict[str, Any]:
    """Whether a value is text that can be the name of a field."""
    without_nul = {"$eq": [{"$indexOfBytes": [value, "\0"]}, -1]}
    return {"$cond": [{"$eq": [{"$type": value}, "string"]}, without_nul, False]}


def _is_filled(value: str) -> dict[str, Any]:
    return {"$and": [{"$isArray": [value]}, {"$ne": [value, []]}]}


def _rounded(value: Any) -> dict[str, Any]:
    return {"$round": [value, 2]}


def _average(total: Any, count: str) -> dict[str, Any]:
    return {"$cond": [{"$gt": [count, 0]}, _rounded({"$divide": [total, count]}), 0.0]}


def _share(correct: str, attempted: str) -> dict[str, Any]:
    return _average({"$multiply": [100, correct]}, attempted)
