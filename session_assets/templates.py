"""Columns, and texts that are put together from several columns: the words that all mapping files share.

`page: path` reads one column; `page: /article/{article}` reads a column and puts text around it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import polars as pl

from session_assets.errors import BadInput

_PLACEHOLDER = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")
_COLUMN_NAME = re.compile(r"[\w$ -]+")


@dataclass(frozen=True)
class Value:
    """A column, or a template of columns: literal texts and column names in turn, a text first."""

    parts: tuple[str, ...]

    @property
    def columns(self) -> tuple[str, ...]:
        return self.parts[1::2]

    @property
    def column(self) -> str | None:
        """The column, where it is one without any text around it."""
        return self.parts[1] if len(self.parts) == 3 and not self.parts[0] and not self.parts[2] else None

    def text(self) -> pl.Expr:
        """The text of each row; null where a column of it is null or empty."""
        filled = [pl.col(name).replace("", None) for name in self.columns]
        if self.column is not None:
            return filled[0]
        pieces = [pl.lit(part) if place % 2 == 0 else filled[place // 2] for place, part in enumerate(self.parts)]
        return pl.concat_str(pieces, ignore_nulls=False)


def parse_value(text: str, key: str, where: str) -> Value:
    """The column or template that a text gives. Raises `BadInput` naming the file (`where`) and the key."""
    if "{" not in text and "}" not in text:
        return Value(("", text, ""))
    parts, literal, end = [], "", 0
    for found in _PLACEHOLDER.finditer(text):
        literal += text[end : found.start()]
        end = found.end()
        if found[0] in ("{{", "}}"):
            literal += found[0][0]
        elif found[1] is None or not _COLUMN_NAME.fullmatch(found[1]):
            raise BadInput(
                f"{where}: {key}: {found[0]!r} in {text!r} is no placeholder; write {{column name}}, nothing else."
            )
        else:
            parts += [literal, found[1]]
            literal = ""
    if not parts:
        raise BadInput(f"{where}: {key}: {text!r} names no column, so that all events would have the same.")
    return Value((*parts, literal + text[end:]))
