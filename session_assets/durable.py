"""Local files that are whole or absent, ours alone, and still there after a power cut."""

from __future__ import annotations

import os
import shutil
import stat
from contextlib import suppress
from pathlib import Path


def private_folder(folder: Path) -> None:
    """Make a folder and those above it that are missing, all for us alone (`mkdir` takes the mode for the last only)."""
    if not folder.exists():
        private_folder(folder.parent)
        folder.mkdir(exist_ok=True, mode=0o700)
        sync(folder.parent)


def own_folder(folder: Path, mode: int = 0o700) -> None:
    """A folder of ours, made if it is missing, with this mode also if it was made with another one."""
    private_folder(folder)
    os.chmod(folder, mode)


def copy(source: Path, target: Path) -> None:
    """To another file system: copied next to the target, then renamed."""
    copy = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        shutil.copyfile(source, copy)
        os.chmod(copy, 0o600)
        sync(copy)
        os.replace(copy, target)
    finally:
        copy.unlink(missing_ok=True)


def written(path: Path) -> float:
    """When a file was written; 0 for a folder, and for a file that has gone meanwhile."""
    with suppress(FileNotFoundError):
        found = path.stat()
        return found.st_mtime if stat.S_ISREG(found.st_mode) else 0.0
    return 0.0


def sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
