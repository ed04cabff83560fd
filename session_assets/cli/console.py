"""Where a person reads."""

from __future__ import annotations

from rich.console import Console


def plain_console(width: int | None = None) -> Console:
    """A console that prints texts as they are: ids and names of files may look like markup or emoji codes."""
    return Console(soft_wrap=False, markup=False, emoji=False, width=width)
