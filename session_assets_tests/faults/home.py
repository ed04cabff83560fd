"""Faults of a command's home: a full disk, files that may not grow, a disk that became read-only, a mode that forbids all."""

from __future__ import annotations

import os
import resource
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Event

import pytest

from session_assets_tests.faults.troubles import Trouble
from session_assets_tests.web.acceptance.terminal import Running

FULL_DISK, READ_ONLY, NO_PERMISSION, LIMIT = "disk full", "read-only", "no permission", "file size limit"
OF_HOMES = (FULL_DISK, READ_ONLY, NO_PERMISSION, LIMIT)
ON_A_DISK = (FULL_DISK, READ_ONLY)
"""Of a file system of the test's own."""
_LARGEST = 1024
_SECONDS = 10.0
_SERVE = """
    set -e; mkdir -p "$0"; mount -t tmpfs -o size=16m,mode=700 tmpfs "$0"; echo done
    while read -r order; do
        case $order in
            lock) mount --bind "$0" "$0"; mount -o remount,bind,ro "$0" ;;
            unlock) umount -l "$0" ;;
        esac
        echo done
    done
"""


class Disk:
    """A file system of 16 MiB, in the mount namespace of a process of ours; `folder` is where we see it."""

    def __init__(self, holder: subprocess.Popen[str], folder: Path) -> None:
        self._holder = holder
        self.folder = Path(f"/proc/{holder.pid}/root{folder}")

    def is_done(self, order: str = "") -> bool:
        """Whether the holder did what it was told, or began well."""
        assert self._holder.stdin is not None and self._holder.stdout is not None
        if order:
            self._holder.stdin.write(f"{order}\n")
            self._holder.stdin.flush()
        return self._holder.stdout.readline() == "done\n"


@contextmanager
def disk(folder: Path) -> Iterator[Disk]:
    """Skips the test where no file system can be made."""
    command = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", _SERVE, str(folder)]
    try:
        holder = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    except FileNotFoundError:
        pytest.skip("unshare is not installed")
    with holder:
        made = Disk(holder, folder)
        try:
            if not made.is_done() or not os.access(made.folder, os.W_OK):
                pytest.skip("no file system can be made here")
            yield made
        finally:
            holder.kill()


class FullDisk(Trouble):
    """Something else takes all that is free."""

    def __init__(self, disk: Disk) -> None:
        super().__init__()
        self._filler = disk.folder / "filler"

    def _begin(self) -> None:
        with self._filler.open("wb", buffering=0) as file, suppress(OSError):
            while True:
                file.write(bytes(4096))

    def _end(self) -> None:
        self._filler.unlink()


class ReadOnly(Trouble):
    """The disk is mounted again, read-only; what is open for writing stays so."""

    def __init__(self, disk: Disk) -> None:
        super().__init__()
        self._disk = disk

    def _begin(self) -> None:
        assert self._disk.is_done("lock")

    def _end(self) -> None:
        assert self._disk.is_done("unlock")


class NoPermission(Trouble):
    """Somebody changes the mode of the home. The command must obey modes: see `modes`."""

    def __init__(self, home: Path) -> None:
        super().__init__()
        self._home = home

    def _begin(self) -> None:
        self._home.chmod(0)

    def _end(self) -> None:
        self._home.chmod(0o700)


class FileLimit(Trouble):
    """The kernel refuses files of more than 1 KiB."""

    def __init__(self) -> None:
        super().__init__()
        self._pid, self._is_known = 0, Event()

    def meets(self, running: Running) -> None:
        self._pid = running.pid
        self._is_known.set()

    def _begin(self) -> None:
        assert self._is_known.wait(_SECONDS)
        resource.prlimit(self._pid, resource.RLIMIT_FSIZE, (_LARGEST, resource.RLIM_INFINITY))

    def _end(self) -> None:
        """It went with the process."""
