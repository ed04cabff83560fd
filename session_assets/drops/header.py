"""The first record of a CSV file: its columns, the delimiter that they tell, or the one reason why they cannot be told."""

from __future__ import annotations

import csv
import re
from codecs import BOM_UTF8
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from session_assets.drops.encodings import suggest_encoding
from session_assets.drops.error_file import ERROR_COLUMNS, ERROR_ROW, ESCAPED_VALUE, RAW
from session_assets.drops.limits import MOST_COLUMNS, RECORD_LIMIT
from session_assets.errors import BadInput
from session_assets.masking import safe_text

DELIMITERS = (",", ";", "\t")
_WORDS = {",": "comma", ";": "semicolon", "\t": "tab", " ": "space"}
_OTHERS = ("|", " ", ":", "^", "~", "\x1f")
_LINE = re.compile(rb"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+")
_SHOWN = 20  # names in a message
_LONGEST = 40  # characters of a name in a message


@dataclass(frozen=True)
class Advice:
    """How a user says what the file does not tell; `{}` stands for the value."""

    encoding: str
    delimiter: str
    taken: Sequence[str] = DELIMITERS
    """The delimiters that are tried."""


@dataclass(frozen=True)
class Names:
    """The columns of a file, by their places from 0."""

    names: tuple[str, ...]
    """All of them, as in the file; in an error file without the mark against formulas."""
    delimiter: str
    seen: str | None
    """Another delimiter that the first line seems to have, if any."""

    @property
    def width(self) -> int:
        return len(self.names)

    @property
    def is_error_file(self) -> bool:
        return ERROR_ROW in map(plain, self.names)

    @property
    def raw(self) -> int | None:
        """Where an error file holds records that could not be split."""
        names = [*map(plain, self.names)]
        return names.index(RAW) if self.is_error_file and RAW in names else None

    @property
    def own(self) -> list[int]:
        """Places of the source's columns: all but those that an error file adds."""
        added = set(ERROR_COLUMNS) if self.is_error_file else set[str]()
        return [place for place, name in enumerate(self.names) if plain(name) not in added]

    def why_missing(self, advice: Advice) -> str:
        """What may be the reason that a column is missing, and the columns that were found."""
        if odd := [name for name in self.names if '"' in name or "\n" in name or "\r" in name]:
            return f"The quotes of the header do not match, see {shown(odd)}. Correct its first line."
        if self.seen is not None:
            return (
                f"The header seems to be separated by {in_words(self.seen)}; it was read with"
                f" {' or '.join(map(in_words, advice.taken))}. {advice.delimiter.format(self.seen)}"
            )
        return f"Found: {shown(self.names)}."


@dataclass(frozen=True)
class First:
    """The first record that is no empty line, read with one delimiter: its fields, or what is wrong with it."""

    fields: list[str] | None
    problem: str
    raw: bytes  # its first line
    line: int  # where it begins, from 1
    consumed: int
    lines: int


def read_names(buffer: bytes, known: Collection[str], advice: Advice, where: str) -> tuple[Names, First]:
    """The header of a file that begins so. `known` are names that tell the delimiter, in lower case.

    Raises `BadInput` if there is none that can be read, or if it has too many columns.
    """
    tried = {delimiter: _first_record(buffer, delimiter) for delimiter in advice.taken}
    first = tried[advice.taken[0]]
    naive = {delimiter: _known(_parts(first.raw, delimiter), known) for delimiter in (*advice.taken, *_OTHERS)}
    read = {
        delimiter: (_known(one.fields, {*known, *ERROR_COLUMNS}), len(one.fields))
        for delimiter, one in tried.items()
        if one.fields is not None
    }
    best = max(read, key=lambda delimiter: read[delimiter], default=None)
    for delimiter, one in tried.items():
        hides = best is not None and (naive[delimiter], len(_parts(one.raw, delimiter))) > read[best]
        if one.fields is None and (best is None or (hides and one.problem == "quotes")):
            raise BadInput(f"{where}: {_problem(one, advice)}")
    assert best is not None, "some delimiter reads the header, or each of them has a problem"
    chosen = tried[best]
    fields = chosen.fields or []
    if len(fields) > MOST_COLUMNS:
        raise BadInput(
            f"{where}: its header has {len(fields):,} columns; at most {MOST_COLUMNS:,} are read. Leave out those that are not"
            " needed, or bring the file in parts."
        )
    is_error_file = ERROR_ROW in map(plain, fields)
    names = tuple(re.sub(ESCAPED_VALUE, r"\1", name) for name in fields) if is_error_file else tuple(fields)
    other = max(naive, key=lambda delimiter: naive[delimiter])
    seen = other if other != best and naive[other] > max(1, read[best][0]) else None
    return Names(names, best, seen), chosen


def plain(name: str) -> str:
    """A name as it is compared."""
    return name.strip().lower()


def shown(names: Sequence[str]) -> str:
    """Names that fit a message: a file that is no CSV may hold anything here."""
    texts = [
        safe_text(name if len(name) <= _LONGEST else f"{name[: _LONGEST - 1]}…").strip() for name in names[:_SHOWN]
    ]
    printable = ["".join(one if one.isprintable() else "?" for one in text) or "(no name)" for text in texts]
    return ", ".join(printable) + (" …" if len(names) > _SHOWN else "")


def repeated(names: Sequence[str]) -> list[str]:
    """The names that are there more than once, each once."""
    return [name for name, count in Counter(names).items() if count > 1]


def in_words(delimiter: str) -> str:
    return _WORDS.get(delimiter, f"`{delimiter}`" if delimiter.isprintable() else repr(delimiter))


def _first_record(buffer: bytes, delimiter: str) -> First:
    feed = _Feed(buffer)
    reader = csv.reader(feed, delimiter=delimiter, strict=True)
    while True:
        feed.begin()
        fields, problem = None, ""
        try:
            fields = next(reader)
        except StopIteration:
            return First(None, "empty", b"", 1, feed.consumed, feed.lines)
        except _TooLarge:
            problem = "large" if feed.lines < feed.line else "quotes"
        except csv.Error:
            problem = "quotes"
        if fields == []:
            continue
        if fields is not None:
            problem = "encoding" if feed.is_bad else "nul" if any("\0" in one for one in fields) else ""
        elif b"\0" in feed.raw:
            problem = "nul"
        return First(None if problem else fields, problem, feed.raw, feed.line, feed.consumed, feed.lines)


class _TooLarge(Exception):
    """The first record grows beyond the limit."""


class _Feed:
    """Physical lines for `csv.reader`; knows where the record at hand begins, and what is wrong with it."""

    def __init__(self, buffer: bytes) -> None:
        self._lines = _LINE.finditer(buffer)
        self.consumed = self.lines = 0
        self.begin()

    def begin(self) -> None:
        """A new record begins with the next line."""
        self.line, self.raw, self.is_bad, self._size = self.lines + 1, b"", False, 0

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        raw = next(self._lines).group()
        self.lines += 1
        self.consumed += len(raw)
        self._size += len(raw)
        is_first, kept = not self.raw, raw[:RECORD_LIMIT]
        self.raw = self.raw or kept
        if self._size > RECORD_LIMIT:
            self.lines -= 1
            raise _TooLarge
        try:
            return (raw.removeprefix(BOM_UTF8) if is_first else raw).decode()
        except UnicodeDecodeError:
            self.is_bad = True
            return raw.decode(errors="replace")


def _parts(line: bytes, delimiter: str) -> list[str]:
    """A line cut at every delimiter, without quotes."""
    return [part.replace('"', "") for part in line.decode(errors="replace").split(delimiter)]


def _known(names: Sequence[str], known: Collection[str]) -> int:
    return len({*map(plain, names)} & {*known})


def _problem(first: First, advice: Advice) -> str:
    line = f"line {first.line}:"
    match first.problem:
        case "empty":
            return "no header: it holds empty lines alone. Its first line must name its columns."
        case "quotes":
            return f"{line} the quotes of the header do not match. Correct that line."
        case "large":
            return f"{line} no CSV header: the line is longer than {RECORD_LIMIT:,} bytes."
        case "nul":
            wide = suggest_encoding(first.raw)
            other = f"UTF-16 without a mark: {advice.encoding.format(wide or 'utf-16-le')}"
            return (
                f"{line} the header holds NUL bytes: this is {other}"
                if wide
                else (f"{line} the header holds NUL bytes: this is a binary file, or {other}")
            )
        case _:
            found = suggest_encoding(first.raw)
            maybe = f"It may be {found}: " if found else ""
            return (
                f"{line} the header is not valid in the encoding of the file. {maybe}"
                f"{advice.encoding.format(found or 'latin-1')}"
            )
