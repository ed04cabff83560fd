"""Small tables for people: Markdown for metadata (Dagster renders it better than its table type), column schemas."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import dagster as dg
import polars as pl

from session_assets.masking import safe_text


def markdown(rows: Iterable[Sequence[Any]], header: Sequence[str]) -> str:
    """A Markdown table; values are masked, and pipes and line breaks cannot break it."""
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    lines += ["| " + " | ".join(_cell(value) for value in row) + " |" for row in rows]
    return "\n".join(lines) if len(lines) > 2 else "nothing"


def column_schema(schema: pl.Schema) -> dg.TableSchema:
    """The columns of a frame, as the UI shows them."""
    return dg.TableSchema([dg.TableColumn(name, str(dtype)) for name, dtype in schema.items()])


def _cell(value: Any) -> str:
    text = safe_text("" if value is None else value).replace("|", "\\|").replace("\n", " ").replace("\r", " ")
    return text if len(text) <= 300 else text[:299] + "…"
