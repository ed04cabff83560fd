"""What a change does to a document, in words that fit a table."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from itertools import islice

import polars as pl

from session_assets.graph.markdown import Markdown, md_table
from session_assets.stores.bson_documents import elements, from_elements, named_elements, to_extended_json

_STRING, _DOCUMENT, _ARRAY = 2, 3, 4
_LARGE = 4096  # bytes: more than is shown of a value
_SHOWN = 8  # changes of one document
_WRAPPED = re.compile(r'\{"\$(?:date|oid)": ?"([^"]*)"\}')


def preview_changes(rows: pl.DataFrame) -> Markdown:
    """A Markdown table of change rows: the key, why, and each touched field before → after."""
    lines = []
    for key, op, before, after, reasons in rows.select("key", "op", "before", "after", "reasons").iter_rows():
        change = "the document is deleted" if op == "delete" else _difference(before, after)
        lines.append((_plain(key), op, ", ".join(reasons), change))
    return md_table(lines, ["key", "change", "reasons", "before → after"])


def _difference(before: bytes, after: bytes) -> str:
    found = list(islice(_differences(before, after, ""), _SHOWN + 1))
    return "; ".join([*found[:_SHOWN], *(["…"] if len(found) > _SHOWN else [])]) or "the order of fields"


def _differences(before: bytes, after: bytes, path: str) -> Iterator[str]:
    """Each changed value, also within documents and lists of documents; what a replaced document no longer has comes last."""
    old, new = elements(before), elements(after)
    for name, element in new.items():
        other = old.get(name)
        if other == element:
            continue
        if other is not None and _holds_documents(other) and _holds_documents(element):
            yield from _differences(_inner(other), _inner(element), f"{path}{name}.")
        else:
            yield f"{path}{name}: {_value(other, name)} → {_value(element, name)}"
    if path or "_id" in new:
        yield from (f"{path}{name}: {_value(old[name], name)} → missing" for name in old if name not in new)


def _holds_documents(element: bytes) -> bool:
    """Whether an element is a document, or a list that begins with one."""
    if element[0] != _ARRAY:
        return element[0] == _DOCUMENT
    first = next(named_elements(_inner(element)), None)
    return first is not None and first[1][0] == _DOCUMENT


def _inner(element: bytes) -> bytes:
    return element[element.index(0, 1) + 1 :]


def _value(element: bytes | None, name: str) -> str:
    if element is None:
        return "missing"
    if _holds_documents(element):
        return f"{len(elements(_inner(element)))} {'items' if element[0] == _ARRAY else 'fields'}"
    if len(element) > _LARGE:
        return _beginning(element)
    text = to_extended_json(from_elements([element]), relaxed=True)
    return _plain(text.removeprefix(f'{{"{name}": ').removesuffix("}"))


def _beginning(element: bytes) -> str:
    """As much as is shown of a large value, without decoding the rest of it."""
    if element[0] == _STRING:
        text = _inner(element)[4 : 4 + _LARGE].decode(errors="replace")
        return f"{json.dumps(text, ensure_ascii=False)[:-1]}…"
    if element[0] != _ARRAY:
        return f"{len(element):,} bytes"
    shown: list[str] = []
    for name, item in named_elements(_inner(element)):
        shown.append(_value(item, name))
        if sum(map(len, shown)) > _LARGE:
            break
    return f"[{', '.join(shown)}, …"


def _plain(text: str) -> str:
    """Dates and ObjectIds without the wrapping of Extended JSON."""
    return _WRAPPED.sub(r"\1", text)
