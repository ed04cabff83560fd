"""Markdown for Dagster's pages. It is built here and nowhere else, so that no text from outside acts on its readers.

Documents, files, error messages and replies of stores hold what strangers typed. Dagster renders Markdown with pictures, links
and HTML: a page named `![](/graphql?query=mutation…)` once started a job when an operator opened its preview. `escaped` is the
one way for such a text into Markdown, and the type `Markdown` keeps it apart from plain text: `md` takes nothing else.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

import dagster as dg

from session_assets.masking import MOST, safe_text, shown

_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;", "|": "&#124;", "\\": "&#92;"}
_PLAIN = {entity: character for character, entity in _ENTITIES.items()}
_SPECIAL = re.compile(
    r"[&<>\\`*\[\]~!$^#]"
    r"|(?<![^\W_])_|_(?![^\W_])"  # within a word it means nothing
    r"|\.(?=[^\W\d_])"  # renderers make links of `example.com`
)
_BLOCK = re.compile(r"^(\d*)(?=[-+=]|[.)](?:\s|$))")  # a list, a heading by its underline
_WORD = re.compile(r"[^\s|]+")
_LINK = re.compile(r"//|www\.|(?<!\*)@", re.IGNORECASE)  # `m***@example.com` is none
_COMMAND = re.compile(r"`([^`]+)`")
_ESCAPED = re.compile(
    r"(?P<fence>`+)(?P<code>.+?)(?<!`)(?P=fence)(?!`)|\\(?P<mark>[!-/:-@\[-`{-~])|(?P<entity>&[a-z0-9#]+;)"
)


class Markdown(str):
    """Text that a renderer may read; what comes from outside is escaped in it. A paragraph, table or picture, or several."""

    __slots__ = ()


def md(text: Markdown) -> dg.MarkdownMetadataValue:
    """An entry of metadata that Dagster renders."""
    return dg.MetadataValue.md(text)


def escaped(value: object, most: int = MOST) -> Markdown:
    """A text of any origin on one line, masked, at most `most` characters of it: renderers show it, and do nothing else.

    What looks like a link is shown as code, because some renderers make links of escaped text, too.
    """
    return _paragraph(_inline(shown(value, most)))


def prose(text: str) -> Markdown:
    """A sentence of ours: commands between backticks are code, the rest is escaped."""
    parts = _COMMAND.split(text)
    return _paragraph(
        "".join(_code(part) if place % 2 else _inline(safe_text(part)) for place, part in enumerate(parts))
    )


def md_table(rows: Iterable[Sequence[Any]], header: Sequence[str]) -> Markdown:
    """A table; its cells are escaped where they are no Markdown."""
    lines = [_row(header), "|" + "---|" * len(header), *map(_row, rows)]
    return Markdown("\n".join(lines) if len(lines) > 2 else "nothing")


def image(title: str, media_type: str, base64: str) -> Markdown:
    """A picture that is part of the text itself: nothing is requested for it."""
    return Markdown(f"![{escaped(title)}](data:{media_type};base64,{base64})")


def sentences(parts: Iterable[Markdown]) -> Markdown:
    """Pieces after each other, in one paragraph; empty ones are left out."""
    return Markdown(" ".join(part for part in parts if part))


def paragraphs(parts: Iterable[Markdown]) -> Markdown:
    """Pieces below each other."""
    return Markdown("\n\n".join(parts))


def plain(text: str) -> str:
    """The text that was escaped, for readers that render nothing: mails, programs. Commands keep their backticks."""
    return _ESCAPED.sub(_unescape, text)


def _row(values: Iterable[Any]) -> str:
    return f"| {' | '.join(_cell(value) for value in values)} |"


def _cell(value: Any) -> Markdown:
    return value if isinstance(value, Markdown) else escaped("" if value is None else value)


def _paragraph(inline: str) -> Markdown:
    """The text of a line, so that its beginning makes no list, heading or block of code."""
    return Markdown(_BLOCK.sub(r"\1\\", inline.strip()))


def _inline(text: str) -> str:
    return _WORD.sub(_word, text).replace("|", _ENTITIES["|"])


def _word(found: re.Match[str]) -> str:
    return _code(found[0]) if _LINK.search(found[0]) else _SPECIAL.sub(_character, found[0])


def _character(found: re.Match[str]) -> str:
    return _ENTITIES.get(found[0]) or f"\\{found[0]}"


def _code(text: str) -> str:
    """Code: the one construct in which nothing else is looked for. Longer fences than the text has hold it together."""
    if "|" in text:  # it would end a cell of a table
        return _ENTITIES["|"].join(_code(part) if part else "" for part in text.split("|"))
    fence = "`" * (max(map(len, re.findall("`+", text)), default=0) + 1)
    space = " " if text.startswith("`") or text.endswith("`") else ""
    return f"{fence}{space}{text}{space}{fence}"


def _unescape(found: re.Match[str]) -> str:
    if found["mark"] or found["entity"]:
        return found["mark"] or _PLAIN.get(found["entity"], found["entity"])
    code = found["code"]
    if not _LINK.search(code):
        return found[0]
    return code[1:-1] if code[:1] == code[-1:] == " " else code
