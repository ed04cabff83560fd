"""The error file of a drop: the rejected rows with their reasons, safe in a spreadsheet, and imported again without loss.

Format (S4): UTF-8 without BOM; the source's columns, `_raw` where a record could not be split (base64), `_error_row`,
`_error_line`, and `_error_message` last. A value that a spreadsheet would take for a formula carries a leading `'`, which the
reader takes off again; so does one that begins with `'`.
"""

from __future__ import annotations

import base64
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import polars as pl

ERROR_ROW, ERROR_LINE, ERROR_MESSAGE, RAW = "_error_row", "_error_line", "_error_message", "_raw"
ERROR_COLUMNS = (ERROR_ROW, ERROR_LINE, ERROR_MESSAGE, RAW)
"""What an error file adds to the columns of its source. A file that carries `_error_row` is an error file."""
_SIGNS = "=+@\ufe62\ufe63\ufe66\ufe6b\uff0b\uff0d\uff1d\uff20\u207a\u207b\u207c\u208a\u208b\u208c\u2212\\-"
_BLANKS = "\x01-\x20\x7f-\xa0\u1680\u180e\u2000-\u200f\u2028-\u202f\u205f-\u206f\u3000\ufeff"
_FORMULA = f"[{_BLANKS}]*[{_SIGNS}]|[\t\r']"
FORMULA = re.compile(f"(?:{_FORMULA})")
"""The beginning of a value that a spreadsheet may take for a formula: a sign, also full-width, small or raised, also after
blanks and characters that nobody sees; tab, CR; and `'`, so that the mark itself comes back."""
ESCAPED_VALUE = f"^'({_FORMULA})"
"""A value of an error file with the mark that keeps a spreadsheet from taking it for a formula; for `re` and for Polars."""

_NEEDS_QUOTES = re.compile(r'[",;\t\r\n]|^[\s\ufeff]|\s$')


def error_lines(header: Sequence[str], rejected: Iterable[pl.DataFrame], *, with_raw: bool) -> Iterator[str]:
    """The lines of an error file. In: the source's columns, and frames with `row`, `line`, `fields`, `raw`, `message`.

    Without `with_raw` none has a `raw`.
    """
    added = [*([RAW] if with_raw else []), ERROR_ROW, ERROR_LINE, ERROR_MESSAGE]
    yield _line([*map(escaped, header), *added])
    nothing = [""] * len(header)
    for frame in rejected:
        for row, line, fields, raw, message in frame.select("row", "line", "fields", "raw", "message").iter_rows():
            values = nothing if fields is None else ["" if value is None else escaped(value) for value in fields]
            packed = [base64.b64encode(raw).decode() if raw is not None else ""] if with_raw else []
            yield _line([*values, *packed, str(row), str(line), escaped(message)])


def write_error_file(path: Path, header: Sequence[str], rejected: Iterable[pl.DataFrame], *, with_raw: bool) -> int:
    """Write an error file, readable by its owner alone, whole or not at all; returns its number of rows."""
    return write_lines(path, error_lines(header, rejected, with_raw=with_raw)) - 1


def write_lines(path: Path, lines: Iterable[str]) -> int:
    """Write a file of these lines, readable by its owner alone, whole or not at all; returns their number."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    draft = path.with_name(f".{path.name}.{os.getpid()}.part")
    count = 0
    try:
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8", newline="") as file:
            for text in lines:
                file.write(text)
                count += 1
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
    return count


def escaped(value: str) -> str:
    """A value that no spreadsheet takes for a formula."""
    return f"'{value}" if FORMULA.match(value) else value


def _line(values: Sequence[str]) -> str:
    return ",".join(_cell(value) for value in values) + "\n"


def _cell(value: str) -> str:
    return f'"{value.replace(chr(34), chr(34) * 2)}"' if _NEEDS_QUOTES.search(value) else value
