"""A repair never makes a document poorer: what the attempts or problems can no longer prove is listed, never written.

An inflated figure is no proof of a source that was larger: with all attempts and problems there, it is repaired.
"""

from __future__ import annotations

import copy
import random
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import bson
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pymongo import MongoClient

from session_assets.contest.model import HELD
from session_assets.embedded.contest_sample import seed_session
from session_assets.embedded.contest_truth import CATALOGUE, Maker
from session_assets.pipeline import Planned
from session_assets.settings import Settings
from session_assets_tests.contest.scenario import Document, Slice, reasons_of
from session_assets_tests.counts import examples

SHRINK = "would_shrink"
TIMES = ("total_time_ms", "total_time_seconds", "total_time_minutes")
FIGURES = ("total_attempted", "score", *TIMES)
KINDS = {"topics": "topic_performance", "difficulty": "difficulty_performance"}


@pytest.fixture
def slice_(mongo_uri: str, tmp_path: Path) -> Iterator[Slice]:
    with MongoClient[Document](mongo_uri, tz_aware=True) as client:
        yield Slice.of(client.get_default_database(), tmp_path)


def maker(seed: int = 7) -> Maker:
    return Maker(datetime(2026, 3, 1, tzinfo=UTC), seed)


def full() -> Document:
    """A right document of 25 attempts at all problems."""
    made = maker()
    return made.document(made.attempts(25), "solver1") | {"user_id": "gone"}


def lacking(document: Document, *names: str) -> Document:
    """The document, its attempts without what only their problems tell."""
    attempts = [
        {name: value for name, value in one.items() if name not in names} for one in document["problems_attempted"]
    ]
    return document | {"problems_attempted": attempts}


def planned(slice_: Slice, document: Document, problems: list[Document] = CATALOGUE, **env: str) -> Planned:
    slice_.database.problems.delete_many({})
    slice_.database.sessions.delete_many({})
    if problems:
        slice_.database.problems.insert_many([*map(dict, problems)])
    slice_.database.sessions.insert_one(copy.deepcopy(document))
    object.__setattr__(slice_.contest, "settings", Settings.from_env(env))
    return slice_.plan()


def found(slice_: Slice, document: Document, problems: list[Document] = CATALOGUE, **env: str) -> tuple[int, set[str]]:
    """Rows planned, and the reasons that are listed."""
    plan = planned(slice_, document, problems, **env)
    return plan.plan.rows, set().union(*reasons_of(plan).values())


# -- attempts that are gone --------------------------------------------------------------------------------------------

CUTS: dict[str, Callable[[Document], Document]] = {
    "emptied": lambda one: one | {"problems_attempted": []},
    "cut": lambda one: one | {"problems_attempted": one["problems_attempted"][:5]},
    "emptied, the count under its old name": lambda one: (
        _without(one, "total_attempted") | {"attempted": 25, "problems_attempted": []}
    ),
    "cut, the count as text": lambda one: (
        one | {"total_attempted": "25", "problems_attempted": one["problems_attempted"][:5]}
    ),
    "cut, and no count": lambda one: (
        _without(one, "total_attempted") | {"problems_attempted": one["problems_attempted"][:5]}
    ),
    "cut, and no count, figures as text": lambda one: (
        _without(one, "total_attempted", *TIMES)
        | {
            "problems_attempted": one["problems_attempted"][:5],
            "performance_metrics": _texts(one["performance_metrics"]),
        }
    ),
    "emptied, and only a score": lambda one: (
        _without(one, "total_attempted", "performance_metrics", *KINDS.values()) | {"problems_attempted": []}
    ),
    "emptied, and no analytics": lambda one: (
        _without(one, "performance_metrics", *KINDS.values()) | {"problems_attempted": []}
    ),
    "cut with the count, but not the times": lambda one: (
        one | {"total_attempted": 5, "problems_attempted": one["problems_attempted"][:5]}
    ),
    "cut, no count, times of what is left": lambda one: (
        _without(one, "total_attempted") | _left(one, "problems_attempted", *TIMES)
    ),
    "cut with the count, no score and no times": lambda one: (
        _without(one, "score", *TIMES) | _left(one, "problems_attempted", "total_attempted")
    ),
    "cut with the count, the score and the times": lambda one: one | _left(one, "problems_attempted", *FIGURES),
    "cut with all but topics and difficulties": lambda one: (
        _without(one, "performance_metrics") | _left(one, "problems_attempted", *FIGURES)
    ),
    "cut, a score to work out": lambda one: _without(_cut_earlier(one), "score"),
}


def _without(document: Document, *names: str) -> Document:
    return {name: value for name, value in document.items() if name not in names}


def _texts(value: Any) -> Any:
    return {name: _texts(one) for name, one in value.items()} if isinstance(value, dict) else str(value)


def _left(document: Document, *names: str) -> Document:
    """Fields of the document that only the first five attempts make."""
    small = _cut_earlier(document) | {"total_attempted": 5}
    return {name: small[name] for name in names}


def _cut_earlier(document: Document) -> Document:
    """A document whose analytics were lost before this rule: they are those of the five attempts that are left."""
    made = maker()
    small = made.document(document["problems_attempted"][:5], "solver1")
    return small | {name: document[name] for name in ("_id", "session_id", "total_attempted", "user_id")}


@pytest.mark.parametrize("cut", CUTS)
def test_a_document_with_fewer_attempts_than_it_says_is_listed_and_not_planned(slice_: Slice, cut: str) -> None:
    rows, reasons = found(slice_, CUTS[cut](full()))
    assert (rows, SHRINK in reasons) == (0, True), reasons


def test_a_person_may_allow_it(slice_: Slice) -> None:
    document = CUTS["cut"](full())
    rows, reasons = found(slice_, document, SESSION_ASSETS_ALLOW_SHRINK="true")
    assert (rows, SHRINK in reasons) == (1, False)
    assert "attempts_differ" in reasons


def test_the_list_says_what_the_document_says_and_what_its_source_has(slice_: Slice) -> None:
    plan = planned(slice_, CUTS["cut"](full()))
    assert plan.tally.total_classes()["listed"] == 1
    assert {"attempts_differ", "times_differ", SHRINK} <= plan.tally.total_reasons().keys()
    (row,) = pl.read_parquet(Path(plan.lists[SHRINK]) / "*.parquet").rows(named=True)
    assert row["stored"].startswith("attempted=25 ") and "topics=30" in row["stored"]
    assert row["expected"].startswith("attempted=5 ")


def test_a_count_that_is_larger_than_the_attempts_is_only_listed_where_nothing_is_recounted(slice_: Slice) -> None:
    assert found(slice_, full() | {"total_attempted": 26}) == (0, {"attempts_differ", "user_gone"})
    document = _without(full(), "shuffle") | {"total_attempted": 26}
    assert found(slice_, document) == (1, {"incomplete", "attempts_differ", "user_gone"})


# -- problems that are gone --------------------------------------------------------------------------------------------

FROM_PROBLEM = ("correct_answer", "difficulty", "topics")
GONE: dict[str, list[Document]] = {
    "missing": [],
    "renamed field": [
        {"contest" if name == "contest_id" else name: value for name, value in one.items()} for one in CATALOGUE
    ],
    "lacking one": CATALOGUE[1:],
    "topics and difficulties gone": [_without(one, "topics", "difficulty") for one in CATALOGUE],
    "topics of another type": [one | {"topics": "Algebra", "difficulty": 3} for one in CATALOGUE],
}


@pytest.mark.parametrize("problems", GONE)
@pytest.mark.parametrize("lacks", [FROM_PROBLEM, ("topics",), ("difficulty",)])
def test_topics_that_the_problems_no_longer_tell_stay(slice_: Slice, lacks: tuple[str, ...], problems: str) -> None:
    document = lacking(full(), *lacks)
    assert found(slice_, document)[0] == 1  # with its problems it is repaired
    rows, reasons = found(slice_, document, GONE[problems])
    assert (rows, SHRINK in reasons) == (0, True), reasons


@pytest.mark.parametrize("problems", ["missing", "renamed field"])
def test_a_document_without_analytics_gets_none_without_a_single_problem(slice_: Slice, problems: str) -> None:
    rows, reasons = found(slice_, seed_session(), GONE[problems])
    assert (rows, SHRINK in reasons) == (0, True), reasons
    assert found(slice_, seed_session(), CATALOGUE[1:])[0] == 1  # an unknown problem is left, and listed


def test_attempts_that_say_all_themselves_need_no_problems(slice_: Slice) -> None:
    document = _without(full(), "performance_metrics", *KINDS.values())
    assert found(slice_, document, []) == (1, {"incomplete", "user_gone"})


# -- times -------------------------------------------------------------------------------------------------------------


def test_seconds_that_the_attempts_prove_are_not_lost_to_milliseconds_that_they_do_not(slice_: Slice) -> None:
    rows, reasons = found(slice_, full() | {"total_time_ms": 0})
    assert (rows, SHRINK in reasons) == (0, True), reasons


# -- inflated figures --------------------------------------------------------------------------------------------------


def _metrics(change: Callable[[Document], None]) -> Callable[[Document], None]:
    return lambda one: change(one["performance_metrics"])


INFLATED: dict[str, Callable[[Document], object]] = {
    "a total": _metrics(lambda one: one["total_metrics"].update(total_attempted=99)),
    "correct": _metrics(lambda one: one["total_metrics"].update(total_correct=99)),
    "time": _metrics(lambda one: one["total_metrics"].update(total_time_ms=10**9)),
    "a topic": lambda one: one["topic_performance"]["Algebra"].update(attempted=99),
    "a topic in both places": lambda one: [
        each["Algebra"].update(attempted=20, correct=9, accuracy=45.0)
        for each in (one["topic_performance"], one["performance_metrics"]["topic_metrics"])
    ],
    "a topic of its own": lambda one: one["topic_performance"].update(
        Sets={"attempted": 4, "correct": 1, "accuracy": 25.0}
    ),
    "a difficulty": lambda one: one["difficulty_performance"]["easy"].update(attempted=99, correct=50),
    "all of it, twice": lambda one: one.update(
        performance_metrics=_doubled(one["performance_metrics"]),
        topic_performance=_doubled(one["topic_performance"]),
        difficulty_performance=_doubled(one["difficulty_performance"]),
    ),
    "seconds": lambda one: one.update(total_time_seconds=10**6),
}


def _doubled(value: Any) -> Any:
    return {name: _doubled(one) for name, one in value.items()} if isinstance(value, dict) else 2 * (value or 0)


@pytest.mark.parametrize("lacks", [(), FROM_PROBLEM])
@pytest.mark.parametrize("figure", INFLATED)
def test_an_inflated_figure_with_a_full_source_is_repaired(slice_: Slice, figure: str, lacks: tuple[str, ...]) -> None:
    document = copy.deepcopy(full())
    INFLATED[figure](document)
    rows, reasons = found(slice_, lacking(document, *lacks))
    assert (rows, SHRINK in reasons) == (1, False), reasons


# -- any document ------------------------------------------------------------------------------------------------------


@examples(40)
@given(seed=st.integers(0, 10**6), count=st.integers(1, 25), keep=st.integers(0, 25), known=st.integers(0, 25))
def test_no_cut_of_attempts_or_problems_makes_a_document_poorer(
    slice_: Slice, seed: int, count: int, keep: int, known: int
) -> None:
    """Whatever is taken from its source: a planned document says at least what it said before."""
    chance, made = random.Random(seed), maker(seed)
    document = made.document(made.attempts(count), "solver1")
    kept = sorted(chance.sample(range(count), min(keep, count)))
    attempts = [document["problems_attempted"][place] for place in kept]
    for attempt in attempts:
        for name in chance.sample(FROM_PROBLEM, chance.randint(0, 3)):
            del attempt[name]
    cut = document | {"problems_attempted": attempts}
    for name in chance.sample(["shuffle", "score", *KINDS.values(), "performance_metrics"], chance.randint(0, 2)):
        del cut[name]
    plan = planned(slice_, cut, chance.sample(CATALOGUE, known))
    reasons = set().union(*reasons_of(plan).values())
    assert not plan.plan.rows or reasons.isdisjoint(HELD)
    for frame in slice_.ledger.rows(plan.plan.parts[0]) if plan.plan.rows else ():
        after = bson.decode(frame["after"][0])
        assert poorer(cut, after) == []
    if len(kept) < count and {*document} - {*cut} - {"shuffle"}:
        assert plan.plan.rows == 0  # a figure would be worked out from what is left


@examples(40)
@given(seed=st.integers(0, 10**6), count=st.integers(1, 25))
def test_any_inflated_figure_is_repaired_from_a_full_source(slice_: Slice, seed: int, count: int) -> None:
    chance, made = random.Random(seed), maker(seed)
    right = made.document(made.attempts(count), "solver1")
    document = copy.deepcopy(right)
    for attempt in document["problems_attempted"]:
        for name in chance.sample(FROM_PROBLEM, chance.randint(0, 3)):
            del attempt[name]
    for places in chance.sample(_figures(document), chance.randint(1, 3)):
        places[0][places[1]] = (places[0][places[1]] or 0) + chance.randint(1, 40)
    plan = planned(slice_, document)
    assert plan.plan.rows == 1, reasons_of(plan)
    (frame,) = slice_.ledger.rows(plan.plan.parts[0])
    after = bson.decode(frame["after"][0])
    assert {name: after[name] for name in ("performance_metrics", *KINDS.values())} == {
        name: right[name] for name in ("performance_metrics", *KINDS.values())
    }


def _figures(document: Document) -> list[tuple[Document, str]]:
    """All places of the counts that analytics hold."""
    metrics = document["performance_metrics"]
    maps = [metrics["topic_metrics"], metrics["difficulty_metrics"], *(document[name] for name in KINDS.values())]
    return [
        *((metrics["total_metrics"], name) for name in ("total_attempted", "total_correct", "total_time_ms")),
        *((counts, name) for one in maps for counts in one.values() for name in ("attempted", "correct")),
    ]


def poorer(before: Document, after: Document) -> list[str]:
    """What a document said more of before, in its attempts and in its counts."""
    lost = [] if after["problems_attempted"] or not before["problems_attempted"] else ["attempts"]
    for name in KINDS.values():
        lost += [f"{name} {key}" for key, old in (before.get(name) or {}).items() if _falls(old, after[name].get(key))]
    total = (before.get("performance_metrics") or {}).get("total_metrics") or {}
    now = after["performance_metrics"]["total_metrics"]
    return lost + [name for name, value in total.items() if value > now[name]]


def _falls(old: Document, new: Document | None) -> bool:
    return new is None or old["attempted"] > new["attempted"] or old["correct"] > new["correct"]
