"""UTF-8 chunks of a dropped file → text lines, in bounded memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from enum import StrEnum

LIMIT = 1024 * 1024  # bytes of a line, and of a record
RAW_CHARACTERS = 200


class Reason(StrEnum):
    """Why a record is rejected."""

    RAGGED = "its number of fields is not that of the header"
    QUOTES = "its quotes do not match"
    TOO_LONG = "longer than 1 MiB"
    ENCODING = "not valid in the encoding of the file"
    NUL = "holds a NUL character"
    NOT_JSON = "not a JSON object"
    NOT_STORABLE = "a value cannot be stored"
    TIMESTAMP = "timestamp missing, or not in the unit that the mapping gives"
    NO_OFFSET = "timestamp without a time zone (write Z or +02:00)"
    NO_TYPE = "event type is empty"


class RecordTooLong(Exception):
    """A record of many lines has grown beyond the limit."""


class Lines:
    """Physical lines of UTF-8 chunks, with their ends; LF, CRLF and CR end one. At most 1 MiB of a line is held.

    A line that cannot be used comes out empty or altered; the reason is in `bad` until `take_bad`.
    """

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._lines: list[bytes] = []
        self._next = 0
        self._tail = b""
        self._ended = False
        self.line = 0  # number of the line given last, from 1
        self.first = ""  # first line of the record
        self.record_bytes = 0  # since the reader of records set it to 0
        self.batch_bytes = 0
        self.bad: list[Reason] = []

    def __iter__(self) -> Lines:
        return self

    def __next__(self) -> str:
        if self.record_bytes > LIMIT:
            raise RecordTooLong
        if self._next == len(self._lines) and not self._fill():
            raise StopIteration
        raw = self._lines[self._next]
        self._next += 1
        self.line += 1
        size = len(raw)
        if size > LIMIT:
            return self._too_long(raw)
        try:
            text = raw.decode()
        except UnicodeDecodeError:
            text = raw.decode(errors="replace")
            self.bad.append(Reason.ENCODING)
        if "\0" in text:
            self.bad.append(Reason.NUL)
        if not self.record_bytes:
            self.first = text
        self.record_bytes += size
        self.batch_bytes += size
        return text

    def peek(self, check: Callable[[bytes | None], None]) -> None:
        """Call `check` with the first line, or None where there is not one byte."""
        check(self._lines[0] if self._fill() else None)

    def take_bad(self) -> Reason | None:
        """Why a line since the last call is bad, if one is."""
        reason = self.bad[0] if self.bad else None
        self.bad.clear()
        return reason

    def _too_long(self, raw: bytes) -> str:
        self.bad.append(Reason.TOO_LONG)
        if not self.record_bytes:
            self.first = raw[: 4 * RAW_CHARACTERS].decode(errors="replace")
        self.record_bytes += 1
        return "\n"

    def _fill(self) -> bool:
        """The next lines, where there are any. What goes beyond the limit of a line is thrown away as it is read."""
        lines: list[bytes] = []
        while not lines and not self._ended:
            chunk = next(self._chunks, None)
            if chunk is None:
                self._ended = True
                lines = [self._tail] if self._tail else []
                break
            lines = (self._tail + chunk).splitlines(keepends=True)
            is_whole = not lines or lines[-1].endswith(b"\n")  # after a CR, the LF may be in the next chunk
            self._tail = b"" if is_whole else lines.pop()
            if len(self._tail) > LIMIT and not self._tail.endswith(b"\r"):
                self._tail = self._tail[: LIMIT + 1]
        self._lines, self._next = lines, 0
        return bool(lines)


def shortened(text: str) -> str:
    """At most 200 characters, without the line end."""
    text = text.rstrip("\r\n")
    return text if len(text) <= RAW_CHARACTERS else text[: RAW_CHARACTERS - 1] + "…"
