"""A file of a multipart request, streamed to a private file: never held in memory, never in a folder that others read."""

from __future__ import annotations

import asyncio
import codecs
import hashlib
import os
import re
import secrets
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request

from session_assets.api.patience import awaited, too_long
from session_assets.errors import UsageError
from session_assets.kintell.attempt import require_timezone
from session_assets.kintell.jobs import Policy, Source

FIELD = "file"
OPTIONS = ("encoding", "timezone", "policy", "dryRun", "createUsers")
"""Fields of a form that say how the file is read and loaded."""
_SPELLINGS = {name.lower(): name for name in OPTIONS}
_OPTION_BYTES = 200
_BLOCK = 1024 * 1024  # bytes that are parsed, hashed and written together
_FRAMING = 64 * 1024  # bytes of a request that are not of its file
_NAME = 200  # characters of a file name that are kept
_HOW = "as curl -F does."
_FLAG = {"type": "string", "enum": ["true", "false"]}
_PROPERTIES: dict[str, Any] = {
    FIELD: {"type": "string", "format": "binary", "description": "A CSV file."},
    "encoding": {"type": "string", "description": "Of a file that is not UTF-8 and carries no mark, such as latin-1."},
    "timezone": {"type": "string", "description": "Of dates without an offset, such as Europe/London."},
    "policy": {
        "type": "string",
        "enum": ["update", "skip", "replace"],
        "description": "For sessions that are there and say something else; replace also empties what a blank cell names.",
    },
    "dryRun": {**_FLAG, "description": "Say what an import would do, and do nothing."},
    "createUsers": {**_FLAG, "description": "First make a user of every e-mail that nobody has."},
}


def body(*fields: str, required: Sequence[str] = ()) -> dict[str, Any]:
    """The form of a route, for its documentation."""
    schema = {"type": "object", "required": [*required], "properties": {name: _PROPERTIES[name] for name in fields}}
    return {"requestBody": {"required": bool(required), "content": {"multipart/form-data": {"schema": schema}}}}


@dataclass(frozen=True)
class Form:
    """What came beside the file, checked."""

    encoding: str | None = None
    timezone: str | None = None
    policy: Policy | None = None
    dry_run: bool = False
    create_users: bool = False

    @staticmethod
    def of(fields: Mapping[str, str]) -> Form:
        """Raises 422 for a value that is none of its field."""
        policy = fields.get("policy") or None
        if policy not in (None, "update", "skip", "replace"):
            raise HTTPException(422, "policy: say update, skip or replace.")
        encoding, timezone = fields.get("encoding") or None, fields.get("timezone") or None
        try:
            "".encode(encoding or "utf-8")
            require_timezone(timezone, "timezone")
        except (LookupError, ValueError):
            raise HTTPException(422, "encoding: there is no such text encoding. Say, for example, latin-1.") from None
        except UsageError as error:
            raise HTTPException(422, str(error)) from None
        flags = [_flag(name, fields) for name in ("dryRun", "createUsers")]
        return Form(encoding, timezone, policy, *flags)

    def asked(self) -> dict[str, Any]:
        """The options that are given, as a job remembers them."""
        given = {"encoding": self.encoding, "timezone": self.timezone, "policy": self.policy}
        return {name: value for name, value in given.items() if value} | (
            {"create_users": True} if self.create_users else {}
        )


def _flag(name: str, fields: Mapping[str, str]) -> bool:
    text = fields.get(name, "").lower()
    if text not in ("", "true", "false", "1", "0"):
        raise HTTPException(422, f"{name}: say true or false.")
    return text in ("true", "1")


@dataclass(frozen=True)
class Upload:
    """A file as it was sent. `name` is what the sender calls it: it is shown, and never part of a path."""

    draft: Path
    name: str
    source: Source


@dataclass(frozen=True)
class Received:
    """A form: its file, if it brings one, and its other fields."""

    upload: Upload | None
    form: Form


@asynccontextmanager
async def received(request: Request, folder: Path, most: int, seconds: float) -> AsyncIterator[Received]:
    """The form of a request, its file in a draft of our own, mode 0600, which is gone after the block unless it was moved.

    Files are read in the block until so many seconds after the beginning, and as long as the caller waits.

    Raises 408 for more than so many seconds, 413 for more than `most` bytes, 415 for another kind of body, 400 if it cannot be
    read, 422 for a field that is wrong.
    """
    for name in request.query_params:
        if meant := _SPELLINGS.get(_plain(name)):
            raise HTTPException(422, f"Send {meant} as a field of the form, not in the address. Nothing was done.")
    kind, options = parse_options_header(request.headers.get("content-type", ""))
    length = request.headers.get("content-length", "")
    if kind != b"multipart/form-data":
        if kind or length not in ("", "0"):
            raise HTTPException(415, f"Send the file as multipart/form-data in the field {FIELD}: {_HOW}")
        async with awaited(request, time.monotonic() + seconds, seconds):
            yield Received(None, Form())
        return
    if length.isdigit() and int(length) > most + _FRAMING:
        raise _too_large(most)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    deadline = time.monotonic() + seconds
    draft = folder / f".{secrets.token_hex(8)}.part"
    try:
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb") as file:
            parts = _Parts(file, options.get(b"boundary", b""), most)
            block = bytearray()
            try:
                async with asyncio.timeout(seconds):
                    async for chunk in request.stream():
                        block += chunk
                        if len(block) >= _BLOCK:
                            await run_in_threadpool(parts.feed, bytes(block))
                            block.clear()
            except TimeoutError:
                raise too_long(seconds) from None
            await run_in_threadpool(parts.end, bytes(block))
        source = Source(parts.digest.hexdigest(), parts.size)
        form = Form.of(parts.options)
        async with awaited(request, deadline, seconds):
            yield Received(None if parts.name is None else Upload(draft, parts.name, source), form)
    finally:
        draft.unlink(missing_ok=True)


def _plain(name: str) -> str:
    return name.replace("_", "").replace("-", "").lower()


def _require_spelled(field: str) -> None:
    """Raises 422 for `dry_run` and the like: if it were passed over, a rehearsal would be an import."""
    meant = _SPELLINGS.get(_plain(field))
    if meant is not None and field != meant:
        raise HTTPException(422, f"There is no field of this spelling: say {meant}. Nothing was done.")


class _Parts:
    """The parts of a body: that of the file is written, the options are kept, others are passed over."""

    def __init__(self, file: Any, boundary: bytes, most: int) -> None:
        self._file, self._most, self._read = file, most, 0
        self._header, self._value, self._disposition = b"", b"", b""
        self._is_file = self._is_whole = False
        self._option: str | None = None
        self._values: dict[str, bytearray] = {}
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

    @property
    def options(self) -> dict[str, str]:
        return {name: codecs.decode(value, "utf-8", "replace").strip() for name, value in self._values.items()}

    def end(self, block: bytes) -> None:
        self.feed(block)
        if not self._is_whole:  # cut off: the rest of the file would be missing
            raise _unreadable()
        self._file.flush()
        os.fsync(self._file.fileno())

    def _on_end(self) -> None:
        self._is_whole = True

    def _begin(self) -> None:
        self._disposition, self._is_file, self._option = b"", False, None

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
        name, field = options.get(b"filename", b""), codecs.decode(options.get(b"name", b""), "utf-8", "replace")
        _require_spelled(field)
        if field in OPTIONS and not name:
            self._option = field
            self._values[field] = bytearray()
            return
        if options.get(b"name") != FIELD.encode() or not name:
            return
        if self.name is not None:
            raise HTTPException(400, "The request brings several files. Send one at a time.")
        self.name, self._is_file = _shown(name), True

    def _on_data(self, data: bytes, start: int, end: int) -> None:
        if self._option is not None:
            value = self._values[self._option]
            value += data[start:end]
            if len(value) > _OPTION_BYTES:
                raise HTTPException(422, f"The field {self._option} is longer than {_OPTION_BYTES} bytes. Correct it.")
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
