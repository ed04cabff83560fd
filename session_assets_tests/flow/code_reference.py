"""The count of names that Python's own `tokenize` gives, written down apart from the scanner."""

from __future__ import annotations

import sysconfig
import token
import tokenize
from collections import Counter
from pathlib import Path

_STRINGS = {"STRING", "FSTRING_MIDDLE", "TSTRING_MIDDLE"}
_KINDS = {"NAME": "identifier", "COMMENT": "comment"} | dict.fromkeys(_STRINGS, "string")


def counted(path: Path, name: str) -> Counter[tuple[str, int]]:
    """How many tokens hold a name, by kind and by the line where they begin, as far as the file can be tokenized."""
    found: Counter[tuple[str, int]] = Counter()
    try:
        with path.open("rb") as file:
            for one in tokenize.tokenize(file.readline):
                kind = _KINDS.get(token.tok_name[one.type])
                if kind and name in one.string:
                    found[kind, one.start[0] + one.string[: one.string.index(name)].count("\n")] += 1
    except (tokenize.TokenError, SyntaxError):
        return found
    return found


def standard_library(every: int) -> list[Path]:
    """Each n-th file of CPython's standard library with its tests, and all files that are meant to be bad."""
    root = Path(sysconfig.get_path("stdlib"))
    files = [path for path in sorted(root.rglob("*.py")) if "site-packages" not in path.parts]
    return [path for place, path in enumerate(files) if place % every == 0 or "bad" in path.name]
