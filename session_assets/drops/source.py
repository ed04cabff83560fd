"""A dropped file as a buffer of UTF-8 that is filled and consumed, with its place and its fingerprint."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from session_assets.drops import limits, stopping
from session_assets.drops.content import Damaged, open_drop, other_format, utf8_chunks
from session_assets.errors import BadInput


class Source:
    """One pass over a file. `rows` and `lines` count what was read; `sha256` and `size` of the file are known at its end."""

    def __init__(self, path: Path, encoding: str | None, name: str) -> None:
        """`name` is what messages call the file; `encoding` of a file that is not UTF-8 and carries no mark."""
        self._path, self._encoding = path, encoding
        self.name = name
        self.buffer, self.is_last = b"", False
        self.rows = self.lines = 0
        self.bytes_read = 0
        self.sha256, self.size = "", path.lstat().st_size if path.exists() else 0
        self._chunks: Iterator[bytes] = iter(())
        self._tee: _Tee | None = None

    @contextmanager
    def opened(self) -> Iterator[None]:
        """The file, open and with its first block. Raises `BadInput` if it is empty, no text, or cut off."""
        with open_drop(self._path) as raw:
            tee = self._tee = _Tee(raw)
            self.buffer, self.is_last, self.rows, self.lines = b"", False, 0, 0
            self._chunks = utf8_chunks(
                io.BufferedReader(tee, limits.RECORD_LIMIT), self._encoding, most=limits.most_expanded(self.size)
            )
            try:
                self.fill(limits.BLOCK)
                self._require_text()
                yield
            except Damaged as error:
                raise BadInput(
                    f"{self.name}: its gzip data is cut off or damaged after {self.rows:,} readable rows (line {self.lines:,}):"
                    f" {error}. Nothing of it is used. Bring the complete file again."
                ) from error
            except UnicodeError as error:  # of what is not valid in it the decoder makes records
                raise BadInput(
                    f"{self.name}: cannot be read as {self._encoding}: {error}. Say another encoding, for example latin-1 or"
                    " utf-16-le."
                ) from None
            self.sha256, self.size = tee.digest.hexdigest(), tee.size

    def fill(self, least: int) -> None:
        """Read on until the buffer holds so many bytes, or the file ends."""
        stopping.look()
        parts, size = [self.buffer], len(self.buffer)
        while size < least and not self.is_last:
            chunk = next(self._chunks, None)
            if chunk is None:
                self.is_last = True
            else:
                parts.append(chunk)
                size += len(chunk)
        self.buffer = b"".join(parts)
        self.bytes_read = self._tee.size if self._tee else 0

    def consume(self, size: int, lines: int) -> None:
        self.buffer = self.buffer[size:]
        self.lines += lines

    def count(self, rows: int) -> None:
        """Count rows that were read. Raises `BadInput` for more of them than the bytes of the file account for."""
        stopping.look()
        self.rows += rows
        most = limits.most_rows(self.size)
        if self.rows > most:
            raise BadInput(
                f"{self.name}: it holds more than {most:,} rows, which is too many for a file of {self.size:,} bytes. Nothing of"
                " it is used. Bring it uncompressed if its rows are really so short and so much alike."
            )

    def skip_line(self) -> None:
        """Go to the end of a line that is too large, holding little of it."""
        while True:
            end = min((at for at in (self.buffer.find(b"\n"), self.buffer.find(b"\r")) if at >= 0), default=-1)
            if end >= 0 and (self.is_last or end + 1 < len(self.buffer)):
                end += 2 if self.buffer[end : end + 2] == b"\r\n" else 1
                self.consume(end, 1)
                return
            if self.is_last:
                self.consume(len(self.buffer), 1)
                return
            self.buffer = self.buffer[-1:] if end >= 0 else b""
            self.fill(limits.BLOCK)

    def _require_text(self) -> None:
        if not self.buffer:
            raise BadInput(f"{self.name}: empty. Bring a file with data.")
        if kind := other_format(self.buffer):
            raise BadInput(f"{self.name}: this is {kind}, not CSV or NDJSON, plain or gzip. Save it as one of them.")


class _Tee(io.RawIOBase):
    """A raw file that fingerprints what is read from it."""

    def __init__(self, raw: io.FileIO) -> None:
        self._raw = raw
        self.digest = hashlib.sha256()
        self.size = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        count = self._raw.readinto(buffer) or 0
        self.digest.update(memoryview(buffer)[:count])
        self.size += count
        return count
