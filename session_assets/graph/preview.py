"""What a change does to a document, in words that fit a table."""

from __future__ import annotations

import re

import polars as pl

from session_assets.graph.tables import markdown
from session_assets.stores.bson_documents import elements, from_elements, to_extended_json

_WRAPPED = re.compile(r'\{"\$(?:date|oid)": ?"([^"]*)"\}')


def preview_changes(rows: pl.DataFrame) -> str:
    """A Markdown table of change rows: the key, why, and each touched field before → after."""
    lines = []
    for key, op, before, after, reasons in rows.select("key", "op", "before", "after", "reasons").iter_rows():
        change = "the document is deleted" if op == "delete" else _difference(before, after)
        lines.append((_plain(key), op, ", ".join(reasons), change))
    return markdown(lines, ["key", "change", "reasons", "before → after"])


def _difference(before: bytes, after: bytes) -> str:
    old, new = elements(before), elements(after)
    return "; ".join(
        f"{name}: {_value(old.get(name), name)} → {_value(element, name)}"
        for name, element in new.items()
        if old.get(name) != element
    )


def _value(element: bytes | None, name: str) -> str:
    if element is None:
        return "missing"
    text = to_extended_json(from_elements([element]), relaxed=True)
    return _plain(text.removeprefix(f'{{"{name}": ').removesuffix("}"))


def _plain(text: str) -> str:
    """Dates and ObjectIds without the wrapping of Extended JSON."""
    return _WRAPPED.sub(r"\1", text)
