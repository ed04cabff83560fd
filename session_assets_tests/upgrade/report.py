"""One line for each comparison: `held` or `broken`, and what."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

_SHOWN = 400


@dataclass
class Report:
    """Says each comparison as it is made, and keeps those that are broken."""

    say: Callable[[str], None] = print
    held: list[str] = field(default_factory=list[str])
    broken: list[str] = field(default_factory=list[str])

    def equal(self, what: str, wanted: Any, found: Any) -> None:
        """Both are the same; else the line says where they first differ."""
        self.true(what, wanted == found, "" if wanted == found else difference(wanted, found))

    def true(self, what: str, is_held: bool, why: str = "") -> None:
        (self.held if is_held else self.broken).append(what)
        self.say(f"{'held  ' if is_held else 'broken'} {what}{f': {why}' if why and not is_held else ''}")

    @contextmanager
    def part(self, what: str) -> Iterator[None]:
        """An error inside breaks this part; the others go on."""
        try:
            yield
        except Exception as error:
            self.true(what, False, f"{type(error).__name__}: {error}")


def difference(wanted: Any, found: Any) -> str:
    """Where two snapshots first differ, short enough for a line."""
    if isinstance(wanted, Mapping) and isinstance(found, Mapping):
        lacking, more = ([key for key in one if key not in other] for one, other in ((wanted, found), (found, wanted)))
        changed = [key for key in wanted if key in found and wanted[key] != found[key]]
        counts = f"{len(lacking)} are gone, {len(more)} are new, {len(changed)} are changed"
        if changed:
            return f"{counts}; {_short(changed[0])}: {difference(wanted[changed[0]], found[changed[0]])}"
        return f"{counts}; for example {_short((lacking or more)[0])}"
    if isinstance(wanted, list) and isinstance(found, list):
        lacking, more = _lacking(wanted, found), _lacking(found, wanted)
        return f"{len(lacking)} are gone ({_short(lacking[:1])}), {len(more)} are new ({_short(more[:1])})"
    return f"{_short(wanted)} is {_short(found)} now"


def _lacking(some: Collection[Any], others: Collection[Any]) -> list[Any]:
    return [one for one in some if one not in others]


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "…"
