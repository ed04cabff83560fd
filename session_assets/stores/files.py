"""Files of one folder as the documents of a loop: a change moves a file, and may rewrite it on the way.

copy → sync → read back → compare → remove the source. A target is never overwritten, links are never followed, and nothing is
removed that does not show exactly what the change set holds of it. Killed anywhere, the same change goes on.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

import polars as pl

from session_assets.changes.store import Left, State, Written
from session_assets.errors import BadInput
from session_assets.failpoints import failpoint
from session_assets.masking import safe_text

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(frozen=True)
class Image:
    """A file: where it stands below the root, its permissions, owner, time (ns) and bytes; and those of its folder."""

    path: str
    mode: int
    owner: tuple[int, int]
    mtime_ns: int
    folder_mode: int
    folder_owner: tuple[int, int]
    content: bytes

    def encode(self) -> bytes:
        about = {name: value for name, value in self.__dict__.items() if name != "content"}
        return json.dumps(about, sort_keys=True).encode() + b"\n" + self.content

    @staticmethod
    def decode(stored: bytes) -> Image:
        head, _, content = stored.partition(b"\n")
        about = json.loads(head)
        about["owner"], about["folder_owner"] = tuple(about["owner"]), tuple(about["folder_owner"])
        return Image(content=content, **about)


class _Stands(Enum):
    SAME = "same"
    ABSENT = "absent"
    OTHER = "other"


class FileStore:
    """Files below `root`. Raises `BadInput` for a path that leads out of it or through a link."""

    def __init__(self, root: Path) -> None:
        self._root = root

    # -- reading -------------------------------------------------------------------------------------------------------

    def read(self, path: str, largest: int) -> Image:
        """A regular file as it stands. Raises `OSError`, and `BadInput` for a link, a special file, or a larger one."""
        with self._folder(path) as (folder, name):
            handle = _opened(path, name, _FILE, folder)
            with os.fdopen(handle, "rb") as file:
                status, around = os.fstat(handle), os.fstat(folder)
                if not stat.S_ISREG(status.st_mode):
                    raise BadInput(f"{safe_text(path)} is no regular file.")
                if status.st_size > largest:
                    raise BadInput(f"{safe_text(path)} is larger than {largest:,} bytes.")
                content = file.read()
            owners = (status.st_uid, status.st_gid), (around.st_uid, around.st_gid)
            mode, folder_mode = stat.S_IMODE(status.st_mode), stat.S_IMODE(around.st_mode)
            return Image(path, mode, owners[0], status.st_mtime_ns, folder_mode, owners[1], content)

    def exists(self, path: str) -> bool:
        """Whether anything stands at a path, also a link that leads nowhere."""
        try:
            with self._folder(path) as (folder, name):
                os.lstat(name, dir_fd=folder)
                return True
        except FileNotFoundError:
            return False

    # -- the loop ------------------------------------------------------------------------------------------------------

    def look(self, changes: pl.DataFrame) -> list[State]:
        """The state of each row's file: bytes, permissions and place are compared; the time is restored, not compared."""
        return [self._state(Image.decode(before), Image.decode(after)) for before, after in _images(changes)]

    def obstacles(self, changes: pl.DataFrame) -> list[Left]:
        """What stops each row: its file is edited, or gone, or another file is where it would go."""
        return [self._obstacle(Image.decode(before), Image.decode(after)) for before, after in _images(changes)]

    def _obstacle(self, before: Image, after: Image) -> Left:
        source, target = self._stands(before), self._stands(after)
        if source is _Stands.SAME and target is _Stands.OTHER:
            return Left.PLACE_TAKEN
        return Left.GONE if source is target is _Stands.ABSENT else Left.EDITED

    def write(self, changes: pl.DataFrame) -> Written:
        """Move each file that stands exactly as `before`, or finish what was begun; never overwrite another."""
        result = Written()
        for row, (before, after) in enumerate(_images(changes)):
            try:
                done = self._move(Image.decode(before), Image.decode(after))
                (result.done if done else result.missed).add(row)
            except OSError as error:
                result.errors[row] = safe_text(f"{error.strerror or error}: not moved")
            except BadInput as error:
                result.errors[row] = safe_text(error)
        return result

    def image_after(self, before: bytes, after: bytes, removed: list[str]) -> bytes:
        """Moves are whole: what they leave is `after`."""
        return after

    def _state(self, before: Image, after: Image) -> State:
        source, target = self._stands(before), self._stands(after)
        if source is _Stands.SAME and target is _Stands.ABSENT:
            return State.BEFORE
        if source is _Stands.SAME and target is _Stands.SAME:
            return State.HALF
        return State.AFTER if source is _Stands.ABSENT and target is _Stands.SAME else State.OTHER

    def _stands(self, image: Image) -> _Stands:
        try:
            now = self.read(image.path, len(image.content))
        except FileNotFoundError:
            return _Stands.ABSENT
        except (OSError, BadInput):
            return _Stands.OTHER
        return _Stands.SAME if (now.content, now.mode) == (image.content, image.mode) else _Stands.OTHER

    def _move(self, before: Image, after: Image) -> bool:
        state = self._state(before, after)
        if state is State.BEFORE:
            ours = self._copy(after)
            failpoint("files.after_copy")
            if ours and self._stands(before) is _Stands.OTHER and self._stands(after) is _Stands.SAME:
                self._remove(after)  # edited meanwhile: a copy of what it was would stand in its way
        if self._state(before, after) is not State.HALF:  # read back, and the source once more
            return False
        with self._folder(after.path) as (folder, name), suppress(FileNotFoundError):
            os.unlink(_beside(name), dir_fd=folder)  # of an attempt that was killed just then
        failpoint("files.before_remove")
        self._remove(before)
        failpoint("files.after_remove")
        return True

    def _copy(self, image: Image) -> bool:
        """Write a file whole and synced, then give it its name; returns whether that was free."""
        is_free = True
        with self._folder(image.path, make=image) as (folder, name):
            beside = _beside(name)
            with suppress(FileNotFoundError):
                os.unlink(beside, dir_fd=folder)  # of a killed attempt
            try:
                _write(beside, folder, image)
                failpoint("files.after_temporary")
                try:
                    os.link(beside, name, src_dir_fd=folder, dst_dir_fd=folder, follow_symlinks=False)
                except FileExistsError:
                    is_free = False
                failpoint("files.after_link")
            finally:
                with suppress(FileNotFoundError):
                    os.unlink(beside, dir_fd=folder)
            os.fsync(folder)
        return is_free

    def _remove(self, image: Image) -> None:
        """Remove a file, and the folders that this leaves empty, but not the topmost."""
        with self._folder(image.path) as (folder, name):
            os.unlink(name, dir_fd=folder)
            os.fsync(folder)
        parts = image.path.split("/")[:-1]
        while len(parts) > 1:
            with self._folder("/".join(parts)) as (folder, name):
                try:
                    os.rmdir(name, dir_fd=folder)
                except OSError:  # not empty: others lie there
                    return
                os.fsync(folder)
            parts.pop()

    @contextmanager
    def _folder(self, path: str, make: Image | None = None) -> Iterator[tuple[int, str]]:
        """The folder of a path, opened step by step without following a link, and the last name; missing ones are made."""
        *folders, name = checked(path)
        handle = os.open(self._root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            for one in folders:
                if make is not None:
                    _make_folder(one, handle, make)
                inner = _opened(path, one, _FOLDER, handle)
                os.close(handle)
                handle = inner
            yield handle, name
        finally:
            os.close(handle)


def checked(path: str) -> list[str]:
    """The names of a path below the root. Raises `BadInput` where it would lead out of it."""
    parts = path.split("/")
    if any(part in ("", ".", "..") or "\0" in part for part in parts):
        raise BadInput(f"{safe_text(path)} is no path below the folder.")
    return parts


def _beside(name: str) -> str:
    """What a file is called until it is whole; hidden, and short enough for any file system."""
    return f".{hashlib.sha256(name.encode()).hexdigest()[:24]}.moving"


def _opened(path: str, name: str, flags: int, folder: int) -> int:
    try:
        return os.open(name, flags, dir_fd=folder)
    except OSError as error:
        if error.errno not in (errno.ENOTDIR, errno.ELOOP):
            raise
        raise BadInput(f"{safe_text(path)} leads through a link or a file.") from None


def _write(name: str, folder: int, image: Image) -> None:
    """A new file with all that an image says, synced."""
    handle = os.open(name, _NEW, 0o600, dir_fd=folder)
    with os.fdopen(handle, "wb") as file:
        file.write(image.content)
        file.flush()
        failpoint("files.half_written")
        _give(handle, image.owner)
        os.fchmod(handle, image.mode)
        os.utime(handle, ns=(image.mtime_ns, image.mtime_ns))
        os.fsync(handle)


def _make_folder(name: str, around: int, image: Image) -> None:
    try:
        os.mkdir(name, 0o700, dir_fd=around)
    except FileExistsError:
        return
    handle = os.open(name, _FOLDER, dir_fd=around)
    try:
        _give(handle, image.folder_owner)
        os.fchmod(handle, image.folder_mode)
        os.fsync(handle)
        os.fsync(around)
    finally:
        os.close(handle)


def _give(handle: int, owner: tuple[int, int]) -> None:
    """Keep an owner, where it is another. Raises `PermissionError` where we may not."""
    now = os.fstat(handle)
    if (now.st_uid, now.st_gid) != owner:
        os.fchown(handle, *owner)


def _images(changes: pl.DataFrame) -> Iterator[tuple[bytes, bytes]]:
    return changes.select("before", "after").iter_rows()
