"""Reads definitions of constraints and indexes as the catalogue prints them, to ask their conditions of rows."""

from __future__ import annotations

import re
from dataclasses import dataclass

_AFTER_CHECK = re.compile(r"(?: NO INHERIT| NOT VALID| NOT ENFORCED)*$")
_WORD = re.compile(r"[^\s(\",]+")
_NO_NULLS = "NULLS NOT DISTINCT"


@dataclass(frozen=True)
class Keys:
    """What a unique index or an exclusion constraint compares."""

    items: list[tuple[str, str]]  # an expression, and the operator that must not hold between two rows
    predicate: str | None  # which rows it is about
    nulls_differ: bool


def condition_of_check(definition: str) -> str:
    """The condition of `CHECK (…)`."""
    return _AFTER_CHECK.sub("", definition).removeprefix("CHECK ")


def keys_of(definition: str) -> Keys:
    """What `UNIQUE (…)`, `CREATE UNIQUE INDEX … USING btree (…) WHERE …` or `EXCLUDE USING gist (…) WHERE (…)` compares."""
    using = definition.find(" USING ")
    start = definition.index("(", max(using, 0))
    end = _closing(definition, start)
    before, inside, after = definition[:start], definition[start + 1 : end], definition[end + 1 :]
    items = [_item(one) for one in _split(inside)]
    _, has_predicate, predicate = after.partition(" WHERE ")
    if predicate.startswith("("):
        predicate = predicate[: _closing(predicate, 0) + 1]
    return Keys(items, predicate if has_predicate else None, _NO_NULLS not in before and _NO_NULLS not in after)


def _item(text: str) -> tuple[str, str]:
    """`lower(name) COLLATE "C" text_ops DESC` compares `lower(name)` by `=`; `during WITH &&` compares it by `&&`."""
    if text.startswith("("):
        end = _closing(text, 0) + 1
    elif text.startswith('"'):
        end = _end_of_quoted(text, 0) + 1
    else:
        word = _WORD.match(text)
        assert word is not None
        end = word.end()
        if text[end : end + 1] == "(":
            end = _closing(text, end) + 1
    _, has_operator, operator = text[end:].rpartition(" WITH ")
    return text[:end], operator if has_operator else "="


def _split(text: str) -> list[str]:
    """At commas that stand in no parentheses and no quotes."""
    parts, begin, place = list[str](), 0, 0
    while place < len(text):
        if text[place] == "(":
            place = _closing(text, place)
        elif text[place] in "\"'":
            place = _end_of_quoted(text, place)
        elif text[place] == ",":
            parts.append(text[begin:place].strip())
            begin = place + 1
        place += 1
    return [*parts, text[begin:].strip()]


def _closing(text: str, start: int) -> int:
    """Where the parenthesis closes that opens at `start`."""
    depth, place = 0, start
    while True:
        if text[place] in "\"'":
            place = _end_of_quoted(text, place)
        elif text[place] == "(":
            depth += 1
        elif text[place] == ")":
            depth -= 1
            if not depth:
                return place
        place += 1


def _end_of_quoted(text: str, start: int) -> int:
    """Where a quoted name or text ends; a doubled quote is part of it."""
    place = start + 1
    while True:
        place = text.index(text[start], place)
        if text[place + 1 : place + 2] != text[start]:
            return place
        place += 2
