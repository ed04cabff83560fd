"""The drop folder: which files are there, which are complete, and private copies of them that nobody changes."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import re
import secrets
import signal
from pathlib import Path

from session_assets.drops.content import open_drop
from session_assets.errors import BadInput
from session_assets.masking import mask_emails, safe_text

DONE_SUFFIX = ".done"
_UNFINISHED = (".part", ".tmp")
_READ = 1024 * 1024
_LONGEST_NAME = 200  # names that are made of it fit into the 255 of a file system

Look = tuple[int, int]
"""Size in bytes and time of the last change in ns."""


class StillChanging(BadInput):
    """The file changed while it was copied: somebody still writes it. Look again later."""


def find_drops(folder: Path, *, beside: tuple[str, ...] = ()) -> list[Path]:
    """What lies in the folder to be taken up, by name: symlinks too, which reading refuses with a reason.

    `beside`: endings of files that lie beside drops and are none, such as mappings.
    """
    ignored = (*beside, DONE_SUFFIX, *_UNFINISHED)
    return sorted(
        path
        for path in folder.iterdir()
        if not path.name.startswith(".")
        and not path.name.endswith(ignored)
        and (path.is_symlink() or not path.is_dir())
    )


def look(path: Path) -> Look:
    """How the file looks now."""
    seen = path.lstat()
    return seen.st_size, seen.st_mtime_ns


def is_complete(path: Path, previous: Look | None) -> bool:
    """Whether `{name}.done` lies beside the file, or it still looks as at the previous look. A file that is gone is not.

    A marker that is older than the file is that of an earlier one. A file that somebody has open for writing is not at rest.
    """
    try:
        now = look(path)
    except FileNotFoundError:
        return False
    try:
        if look(path.with_name(path.name + DONE_SUFFIX))[1] >= now[1]:
            return True
    except FileNotFoundError:
        pass
    return previous is not None and now == tuple(previous) and not is_open_for_writing(path)


def is_open_for_writing(path: Path) -> bool:
    """Whether a process of this machine is known to write the file; False where the system cannot tell.

    Linux gives a read lease on a file only while nobody has it open for writing.
    """
    if not hasattr(fcntl, "F_SETLEASE"):
        return False
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return False
    try:
        fcntl.fcntl(descriptor, fcntl.F_SETSIG, signal.SIGURG)  # to us if a writer comes now; it is ignored
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_RDLCK)
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    except OSError as error:
        return error.errno == errno.EAGAIN
    finally:
        os.close(descriptor)
    return False


def fingerprint(path: Path) -> str:
    """The SHA-256 of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def drop_key(path: Path, sha256: str) -> str:
    """The partition of a file: its name, and the first 12 characters of its fingerprint."""
    return f"{_safe_name(path)}@{sha256[:12]}"


def private_copy(path: Path, folder: Path) -> tuple[Path, str, int]:
    """Copy a file into a folder of ours, readable by us alone; the copy, its sha256 and its size.

    Raises `StillChanging` where the file changes meanwhile, `BadInput` where it is no regular file.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = folder / f".{secrets.token_hex(8)}.part"
    digest, size = hashlib.sha256(), 0
    with open_drop(path) as source:
        before = os.fstat(source.fileno())
        try:
            with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb") as copy:
                while chunk := source.read(_READ):
                    digest.update(chunk)
                    size += len(chunk)
                    copy.write(chunk)
                copy.flush()
                os.fsync(copy.fileno())
            after = os.fstat(source.fileno())
            is_same = (before.st_size, before.st_mtime_ns) == (after.st_size, after.st_mtime_ns)
            if not is_same or size != before.st_size or look(path) != (size, before.st_mtime_ns):
                raise StillChanging(
                    f"{safe_text(path)}: changed while it was copied. It is taken up when it stays as it is."
                )
            final = folder / f"{digest.hexdigest()[:12]}-{_safe_name(path)}"
            draft.replace(final)
        finally:
            draft.unlink(missing_ok=True)
    return final, digest.hexdigest(), size


def _safe_name(path: Path) -> str:
    name = re.sub(r"[^A-Za-z0-9._-]", "_", mask_emails(path.name))  # partition keys are shown everywhere
    return name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME // 2]}__{name[-_LONGEST_NAME // 2 + 2 :]}"
