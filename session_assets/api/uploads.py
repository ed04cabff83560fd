"""A file of a multipart request, streamed to a private file: never held in memory, never in a folder that others read."""

from __future__ import annotations

import codecs
import hashlib
import os
import re
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request

from session_assets.kintell.jobs import Source

FIELD = "file"
_BLOCK = 1024 * 1024  # bytes that are parsed, hashed and written together
_FRAMING = 64 * 1024  # bytes of a request that are not of its file
_NAME = 200  # characters of a file name that are kept
_HOW = "as curl -F does."
BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": [FIELD],
                    "properties": {FIELD: {"type": "string", "format": "binary", "description": "A CSV file."}},
                }
            }
        },
    }
}
"""For the documentation of a route."""


@dataclass(frozen=True)
class Upload:
    """A file as it was sent. `name` is what the sender calls it: it is shown, and never part of a path."""

    draft: Path
    name: str
    source: Source


@asynccontextmanager
async def received(request: Request, folder: Path, most: int) -> AsyncIterator[Upload | None]:
    """The file of a request in a draft of our own, mode 0600, which is gone after the block unless it was moved.

    None where the request brings no file. Raises 413 for more than `most` bytes, 415 for another kind of body, 400 where it
    cannot be read.
    """
    kind, options = parse_options_header(request.headers.get("content-type", ""))
    length = request.headers.get("content-length", "")
    if kind != b"multipart/form-data":
        if kind or length not in ("", "0"):
            raise HTTPException(415, f"Send the file as multipart/form-data in the field {FIELD}: {_HOW}")
        yield None
        return
    if length.isdigit() and int(length) > most + _FRAMING:
        raise _too_large(most)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = folder / f".{secrets.token_hex(8)}.part"
    try:
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb") as file:
            parts = _Parts(file, options.get(b"boundary", b""), most)
            block = bytearray()
            async for chunk in request.stream():
                block += chunk
                if len(block) >= _BLOCK:
                    await run_in_threadpool(parts.feed, bytes(block))
                    block.clear()
            await run_in_threadpool(parts.end, bytes(block))
        yield None if parts.name is None else Upload(draft, parts.name, Source(parts.digest.hexdigest(), parts.size))
    finally:
        draft.unlink(missing_ok=True)


class _Parts:
    """The parts of a body: that of the file is written, others are passed over."""

    def __init__(self, file: Any, boundary: bytes, most: int) -> None:
        self._file, self._most, self._read = file, most, 0
        self._header, self._value, self._disposition = b"", b"", b""
        self._is_file = self._is_whole = False
        self.name: str | None = None
        self.size = 0
        self.digest = hashlib.sha256()
        try:
            self._parser = MultipartParser(
                boundary,
                {
                    "on_part_begin": self._begin,
                    "on_header_field": self._on_field,
                    "on_header_value": self._on_value,
                    "on_header_end": self._on_header,
                    "on_headers_finished": self._on_headers,
                    "on_part_data": self._on_data,
                    "on_end": self._on_end,
                },
            )
        except FormParserError:
            raise _unreadable() from None

    def feed(self, block: bytes) -> None:
        self._read += len(block)
        if self._read > self._most + _FRAMING:
            raise _too_large(self._most)
        try:
            self._parser.write(block)
        except FormParserError:
            raise _unreadable() from None
        if self._read - self.size > _FRAMING:
            raise HTTPException(413, f"The request brings too much beside its file. Send the field {FIELD} alone.")

    def end(self, block: bytes) -> None:
        self.feed(block)
        if not self._is_whole:  # cut off: the rest of the file would be missing
            raise _unreadable()
        self._file.flush()
        os.fsync(self._file.fileno())

    def _on_end(self) -> None:
        self._is_whole = True

    def _begin(self) -> None:
        self._disposition, self._is_file = b"", False

    def _on_field(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]

    def _on_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _on_header(self) -> None:
        if self._header.lower() == b"content-disposition":
            self._disposition = self._value
        self._header = self._value = b""

    def _on_headers(self) -> None:
        _, options = parse_options_header(self._disposition)
        name = options.get(b"filename", b"")
        if options.get(b"name") != FIELD.encode() or not name:
            return
        if self.name is not None:
            raise HTTPException(400, "The request brings several files. Send one at a time.")
        self.name, self._is_file = _shown(name), True

    def _on_data(self, data: bytes, start: int, end: int) -> None:
        if not self._is_file:
            return
        self.size += end - start
        if self.size > self._most:
            raise _too_large(self._most)
        view = memoryview(data)[start:end]
        self.digest.update(view)
        self._file.write(view)


def _shown(name: bytes) -> str:
    """The last part of what the sender calls the file, as text that can be shown and stored."""
    text = re.split(r"[\\/]", codecs.decode(name, "utf-8", "replace"))[-1]
    return "".join(one for one in text if one.isprintable())[-_NAME:].strip() or "upload.csv"


def _too_large(most: int) -> HTTPException:
    return HTTPException(
        413,
        f"The file is larger than {most:,} bytes. Import it from a terminal or the drop folder, or raise"
        " SESSION_ASSETS_API_MAX_UPLOAD_MB.",
    )


def _unreadable() -> HTTPException:
    return HTTPException(400, f"The body cannot be read as multipart/form-data, or breaks off. Send it {_HOW}")
