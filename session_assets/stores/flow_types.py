"""Which types of columns the migration understands: ids that can be compared with each other, and times that can be ordered.

What is not understood is said with its types, and never judged: a comparison of `bigint` with `uuid` finds nothing, and nothing
found looks like nothing wrong.
"""

from __future__ import annotations

TEXTS = ("text", "character varying", "character", "citext")
LARGEST = {"smallint": 2**15 - 1, "integer": 2**31 - 1, "bigint": 2**63 - 1}
"""Types of whole numbers, each with its largest."""
WHOLE = tuple(LARGEST)
NUMBER = "^[0-9]{1,40}$"
"""How an id that is a number stands in a text, with zeros before it or without."""
_TIMES = ("timestamp", "date")
_FORMS = {"uuid": "^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$", "number": NUMBER}


def is_text(kind: str) -> bool:
    return kind.partition("(")[0] in TEXTS


def length(kind: str) -> int | None:
    """How many characters a text of this type may have; None if any number."""
    size = kind.partition("(")[2].removesuffix(")")
    return int(size) if is_text(kind) and size else None


def is_time(kind: str) -> bool:
    """Whether values of a type have an order in time that PostgreSQL knows."""
    return kind.startswith(_TIMES)


def can_be_compared(one: str, other: str) -> bool:
    """Whether ids of two types mean the same thing where their texts are equal."""
    if one == other or (is_text(one) and is_text(other)):
        return True
    kinds = {_kind(one), _kind(other)}
    return (len(kinds) == 1 and kinds != {""}) or ("text" in kinds and kinds <= {"text", "uuid", "number"})


def form(kind: str, target: str) -> str | None:
    """The regular expression that a text must match, in any case, to be an id of the target; None if any value is one."""
    return _FORMS.get(_kind(target)) if is_text(kind) else None


def _kind(name: str) -> str:
    if is_text(name):
        return "text"
    return "number" if name in WHOLE else name if name == "uuid" else ""
