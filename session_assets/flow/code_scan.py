"""One file or blob to its tokens, and many of them on several processes.

A source that no token can hold a name in is not tokenized at all. Needs no Dagster and no Polars: workers start in a moment.
"""

from __future__ import annotations

import multiprocessing
import os
import stat
from collections.abc import Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

from session_assets.flow import code_python
from session_assets.flow.code_names import Names
from session_assets.flow.code_tokens import Scan

PYTHON, SQL = "python", "sql"
LANGUAGES = {
    **dict.fromkeys((".py", ".pyi", ".pyw"), PYTHON),
    **dict.fromkeys((".js", ".jsx", ".mjs", ".cjs"), "javascript"),
    **dict.fromkeys((".ts", ".mts", ".cts"), "typescript"),
    ".tsx": "tsx",
    ".sql": SQL,
}
OTHER = "other"
_CHUNK_BYTES, _CHUNK_FILES = 1 << 20, 200
_WORTH_A_PROCESS = 4 << 20  # bytes
_MARKS = {b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}


@dataclass(frozen=True)
class Source:
    """What is to be scanned: a file, or the content of a blob. `name` is its path below the root."""

    name: str
    language: str
    size: int
    path: str | None = None
    content: bytes | None = None


def language_of(name: str) -> str:
    """The language of a file by its suffix; `other` where it is of none."""
    return LANGUAGES.get(os.path.splitext(name)[1].lower(), OTHER)  # noqa: PTH122 - a path in git


def scan_source(source: Source, names: Names, largest: int) -> Scan:
    """The tokens of one source, or why it cannot be read. Never raises for what a file holds."""
    content = source.content
    if content is None:
        content = _read(source, names, largest)
        if isinstance(content, Scan):
            return content
    return scan_content(content, source.language, names, largest)


def scan_content(content: bytes, language: str, names: Names, largest: int) -> Scan:
    """The tokens of bytes in a language."""
    if language == OTHER:
        return _other(content, names)
    if len(content) > largest:
        return Scan(reason="too_large", skipped=True, may_hold=_holds(content, names))
    text, is_whole = _decoded(content, language)
    if "\0" in text:  # also UTF-16 that does not say so
        may_hold = _may_hold(text.replace("\0", ""), language, names)
        return Scan(reason="binary", skipped=True, may_hold=may_hold)
    is_whole = is_whole and (not _holds(content, names) or bool(names.plain.search(text)))  # else by a false cookie
    if not _may_hold(text, language, names):
        found = Scan()
    elif language == PYTHON:
        found = code_python.scan(text, names)
    elif language == SQL:
        from session_assets.flow import code_sql

        found = code_sql.scan(text, names)
    else:
        from session_assets.flow import code_script

        found = code_script.scan(text, names, language)
    if found.reason or not is_whole:
        found.may_hold = _may_hold(text, language, names) or _holds(content, names)
    if not is_whole and found.reason is None:
        found.reason = "undecodable"
    return found


def _other(content: bytes, names: Names) -> Scan:
    """A file of another kind is searched for the bytes of a name, and never counted."""
    if (encoding := _MARKS.get(content[:2])) is not None:
        content = content.decode(encoding, errors="replace").encode(errors="replace")
    if not _holds(content, names):
        return Scan(skipped=True)
    return Scan(reason="binary" if b"\0" in content else "other_language", skipped=True, may_hold=True)


def _holds(content: bytes, names: Names) -> bool:
    return any(name.encode() in content for name in names.names)


def _may_hold(text: str, language: str, names: Names) -> bool:
    """Whether a token of a text can hold a name: never wrong about a no."""
    if language == PYTHON:
        return names.may_hold(text)
    if language == SQL:
        return bool(names.spelled.search(text))  # in any case
    return bool(names.plain.search(text)) or names.is_spelled(text)


def scan_many(sources: Iterable[Source], names: Names, largest: int, processes: int) -> Iterator[tuple[Source, Scan]]:
    """All sources, on as many processes where there is enough to read; in no fixed order. Content is not given back."""
    work = partial(_scan_chunk, names=names, largest=largest)
    yield from spread(sources, work, processes)


def spread(sources: Iterable[Source], work: Any, processes: int) -> Iterator[Any]:
    """Results of `work` over chunks of sources, each a list."""
    chunks = _chunks(sources)
    first: list[list[Source]] = []
    size = 0
    for chunk in chunks:
        first.append(chunk)
        size += sum(one.size for one in chunk)
        if size > _WORTH_A_PROCESS:
            break
    if size <= _WORTH_A_PROCESS or processes < 2:
        for chunk in (*first, *chunks):
            yield from work(chunk)
        return
    with ProcessPoolExecutor(processes, mp_context=multiprocessing.get_context("spawn")) as pool:
        running: set[Future[list[Any]]] = {pool.submit(work, chunk) for chunk in first}
        for chunk in chunks:
            running.add(pool.submit(work, chunk))
            while len(running) > 2 * processes:
                done, running = wait(running, return_when=FIRST_COMPLETED)
                for one in done:
                    yield from one.result()
        for one in running:
            yield from one.result()


def _scan_chunk(chunk: list[Source], names: Names, largest: int) -> list[tuple[Source, Scan]]:
    return [(Source(one.name, one.language, one.size, one.path), scan_source(one, names, largest)) for one in chunk]


def _chunks(sources: Iterable[Source]) -> Iterator[list[Source]]:
    chunk: list[Source] = []
    size = 0
    for source in sources:
        chunk.append(source)
        size += source.size
        if size > _CHUNK_BYTES or len(chunk) >= _CHUNK_FILES:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk


def _read(source: Source, names: Names, largest: int) -> bytes | Scan:
    """The bytes of a regular file that is no link, however it is swapped meanwhile; a huge one is not read."""
    assert source.path is not None
    try:
        handle = os.open(source.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        is_link = Path(source.path).is_symlink()
        return Scan(reason="symlink" if is_link else "unreadable", skipped=True, may_hold=not is_link)
    with os.fdopen(handle, "rb") as file:
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode):
            return Scan(reason="not_a_file", skipped=True)
        if status.st_size > largest:
            if source.language == OTHER:
                return _searched(file, names)
            return Scan(reason="too_large", skipped=True, may_hold=True)
        return file.read()


def _searched(file: BinaryIO, names: Names) -> Scan:
    """A large file of another kind, piece by piece, unless it is binary."""
    longest, before = max(map(len, names.names)), b""
    while piece := file.read(_CHUNK_BYTES):
        if b"\0" in piece:
            break
        if _holds(before + piece, names):
            return Scan(reason="other_language", skipped=True, may_hold=True)
        before = piece[-longest:]
    return Scan(skipped=True)


def _decoded(content: bytes, language: str) -> tuple[str, bool]:
    if language == PYTHON:
        return code_python.decode(content)
    encoding = _MARKS.get(content[:2], "utf-8-sig")
    try:
        return content.decode(encoding), True
    except UnicodeDecodeError:
        return content.decode(encoding, errors="replace"), False
