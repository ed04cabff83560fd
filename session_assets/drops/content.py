"""The bytes of a dropped file: opened without following links, gunzipped, and as UTF-8 whatever its encoding."""

from __future__ import annotations

import codecs
import io
import os
import stat
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from session_assets.errors import BadInput
from session_assets.masking import safe_text

_READ = 256 * 1024
_GZIP = b"\x1f\x8b"
_UNDECODABLE = "session_assets.undecodable"
_BOMS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),  # before UTF-16 LE, whose mark it begins with
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_LONGEST_MARK = 4
_OTHER_FORMATS = {
    b"PK\x03\x04": "a ZIP archive or an Excel workbook",
    b"PAR1": "Parquet",
    b"\x28\xb5\x2f\xfd": "Zstandard",
    b"BZh": "bzip2",
    b"\xfd7zXZ": "xz",
    b"%PDF": "PDF",
}


class Damaged(Exception):
    """Compressed data that is cut off or altered, or that grows beyond all measure."""


def other_format(start: bytes) -> str | None:
    """What a file is that begins so, where it is a well-known format that is no text."""
    return next((name for magic, name in _OTHER_FORMATS.items() if start.startswith(magic)), None)


def open_drop(path: Path) -> io.FileIO:
    """A regular file, never through a symlink. Raises `BadInput` for anything else, and for a path with `..`."""
    shown = safe_text(path)
    if ".." in path.parts:
        raise BadInput(f"{shown}: a path with `..` is not read. Name the file by its own path.")
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except (OSError, ValueError) as error:
        if isinstance(error, OSError) and path.is_symlink():
            raise BadInput(f"{shown}: a symbolic link is not read. Drop the file itself.") from error
        raise BadInput(f"{shown}: cannot be opened: {safe_text(error)}.") from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise BadInput(f"{shown}: not a regular file. Drop the file itself.")
    return io.FileIO(descriptor)


def utf8_chunks(source: BinaryIO, encoding: str | None, *, most: int | None = None) -> Iterator[bytes]:
    """The content as UTF-8: gunzipped, without byte order mark, which outweighs `encoding` (default UTF-8).

    What cannot be decoded comes out as invalid UTF-8. Raises `Damaged`, also where gzip data expands to more than `most` bytes.
    """
    chunks = _read(source)
    start = next(chunks, b"")
    if start.startswith(_GZIP):
        chunks = _limited(_gunzipped(start, chunks), most)
        start = b""
        while len(start) < _LONGEST_MARK and (more := next(chunks, b"")):  # members may be shorter than a mark
            start += more
    mark, known = next(((mark, name) for mark, name in _BOMS if start.startswith(mark)), (b"", encoding or "utf-8"))
    if codecs.lookup(known).name in ("utf-8", "ascii"):
        if len(start) > len(mark):
            yield start[len(mark) :]
        yield from chunks
        return
    decoder = codecs.getincrementaldecoder(known)(_UNDECODABLE)
    yield decoder.decode(start[len(mark) :]).encode("utf-8", "surrogatepass")
    for chunk in chunks:
        yield decoder.decode(chunk).encode("utf-8", "surrogatepass")
    yield decoder.decode(b"", True).encode("utf-8", "surrogatepass")


def _read(source: BinaryIO) -> Iterator[bytes]:
    while chunk := source.read(_READ):
        yield chunk


def _gunzipped(start: bytes, chunks: Iterator[bytes]) -> Iterator[bytes]:
    """The content of one or more gzip members, at most 256 KiB at a time."""
    data: bytes | None = start
    while data:
        member = zlib.decompressobj(31)
        while not member.eof:
            if not data:
                raise Damaged("it ends too early")
            try:
                if content := member.decompress(data, _READ):
                    yield content
            except zlib.error as error:
                raise Damaged(str(error)) from error
            data = member.unconsumed_tail or (b"" if member.eof else next(chunks, b""))
        data = member.unused_data or next(chunks, b"")
        while data and not (data := data.lstrip(b"\0")):  # padding, as gzip allows after the last member
            data = next(chunks, b"")


def _limited(chunks: Iterator[bytes], most: int | None) -> Iterator[bytes]:
    """The same chunks, up to a number of bytes: a gzip bomb goes no further."""
    total = 0
    for chunk in chunks:
        total += len(chunk)
        if most is not None and total > most:
            raise Damaged(f"it expands to more than {most:,} bytes")
        yield chunk


def _mark_undecodable(error: UnicodeError) -> tuple[str, int]:
    """A lone surrogate, which is invalid as UTF-8, in place of what cannot be decoded."""
    if not isinstance(error, UnicodeDecodeError):
        raise error
    return "\udcff", error.end


codecs.register_error(_UNDECODABLE, _mark_undecodable)
