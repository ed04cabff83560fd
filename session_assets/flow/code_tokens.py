"""What a scan of one source finds, whatever the language: tokens that hold a name, and where reading stopped."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

IDENTIFIER, STRING, COMMENT = "identifier", "string", "comment"
ACTIVE = (IDENTIFIER, STRING)


class Hit(NamedTuple):
    """A token that holds a name: kind, line from 1, the names it holds (the longest first), whether it is one of them."""

    kind: str
    line: int
    names: tuple[str, ...]
    exact: bool


@dataclass
class Scan:
    """Tokens of one source. `reason` names why it was not read to its end, `line` where."""

    hits: list[Hit] = field(default_factory=list[Hit])
    reason: str | None = None
    line: int | None = None
    skipped: bool = False
    may_hold: bool = False

    @property
    def state(self) -> str:
        return "skipped" if self.skipped else "partly" if self.reason else "scanned"

    def count(self, kind: str) -> int:
        return sum(hit.kind == kind for hit in self.hits)
