"""Where Parquet and the ledger live: one base, a local path or an object-store URL.

Every write is whole or absent: local files are written beside their target, synced, and renamed; object stores put whole
objects. Files may hold before-images, so local ones are created with mode 0600.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast
from urllib.parse import quote

import polars as pl
import psutil
from upath import UPath

from session_assets.disk import number_of, refused
from session_assets.durable import copy, private_folder, sync, written
from session_assets.errors import SessionAssetsError, StoreUnavailable, UsageError
from session_assets.failpoints import failpoint
from session_assets.io_calls import io_call
from session_assets.masking import one_line, safe_text
from session_assets.parsed import parsed_json, parsed_parquet
from session_assets.settings import Settings

VARIABLE, HOME = "SESSION_ASSETS_STORAGE", "SESSION_ASSETS_HOME"


class Storage:
    """Files below one base, named by relative paths such as `ledger/web/plans/x.json`.

    All methods raise `StoreUnavailable` if the disk or the object store refuses: what is missing is no such refusal.
    """

    def __init__(self, base: str, scratch: Path) -> None:
        try:
            self._base = UPath(base)
            _ = self._base.fs
        except (ImportError, ValueError) as error:
            raise UsageError(f"{VARIABLE} cannot be used: {safe_text(error)}. See docs/databases.md.") from None
        self._local = self._base.protocol in ("", "file", "local")
        if self._local:
            self._base = UPath(self._base.path)  # `file:///x` is `/x`
        self._scratch = scratch

    def path(self, name: str) -> UPath:
        """The full path of a name, for people and for other readers of the files."""
        return self._base / name

    @contextmanager
    def scratch(self) -> Iterator[Path]:
        """A private local folder for spilled data, removed at the end. A disk that refuses it is told as `StoreUnavailable`."""
        with self._spilling():
            with self._making("folder"):
                self._sweep()
                folder = Path(tempfile.mkdtemp(dir=self._scratch, prefix=f"{os.getpid()}-"))
            try:
                yield folder
            finally:
                shutil.rmtree(folder, ignore_errors=True)

    def _sweep(self) -> None:
        """Remove what killed processes of this machine left behind."""
        for folder in self._scratch.glob("*-*"):
            pid = folder.name.split("-")[0]
            if folder.is_dir() and pid.isdigit() and not psutil.pid_exists(int(pid)):
                shutil.rmtree(folder, ignore_errors=True)

    @contextmanager
    def _making(self, kind: str) -> Iterator[None]:
        """A block that makes something in the folder for temporary files: whatever the system says is about that folder."""
        try:
            with io_call("scratch", kind):
                self._scratch.mkdir(parents=True, exist_ok=True, mode=0o700)
                yield
        except OSError as error:
            raise self._not_spilled(error.strerror or str(error)) from error

    def _not_spilled(self, why: str) -> StoreUnavailable:
        return StoreUnavailable("The folder for temporary files", HOME, f"{why}, in {self._scratch}")

    @contextmanager
    def _spilling(self) -> Iterator[None]:
        """A block that writes to the folder for temporary files; other files that it works on are not meant."""
        try:
            yield
        except SessionAssetsError:
            raise
        except Exception as error:
            file, why = getattr(error, "filename", None), refused(error)
            if why is None or (file and not Path(os.fsdecode(file)).is_relative_to(self._scratch)):
                raise
            raise self._not_spilled(why) from error

    @contextmanager
    def _using(self, kind: str, name: str = "") -> Iterator[None]:
        """A block that works on files below the base."""
        try:
            with io_call("storage", kind, name):
                yield
        except (FileNotFoundError, SessionAssetsError):
            raise
        except Exception as error:
            if self._local and number_of(error) is None:
                raise
            raise StoreUnavailable("The storage", VARIABLE, self._told(error)) from error

    def _told(self, error: Exception) -> str:
        """What was refused, without the URL of an object store, which may hold a secret, and without names of temporary files."""
        number = number_of(error)
        if self._local and number is not None:
            return f"{os.strerror(number)}, in {self._base.path}"
        return f"{type(error).__name__}, {one_line(error)}"

    def require_usable(self) -> None:
        """Raise `StoreUnavailable` if nothing can be read or written below the base. Changes nothing."""
        with self._using("look"):
            if not self._local:
                self._base.exists()
                return
            folder = Path(self._base.path)
            while not folder.exists():
                folder = folder.parent
            if not folder.is_dir():
                raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
            if not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
            if not shutil.disk_usage(folder).free:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def put(self, name: str, source: Path) -> None:
        """Move a finished local file to its name, durably, replacing what was there."""
        with self._using("put", name):
            self._put(name, source)

    def _put(self, name: str, source: Path) -> None:
        target = self.path(name)
        if not self._local:
            target.write_bytes(source.read_bytes())
            source.unlink()
            return
        local = Path(str(target))
        private_folder(local.parent)
        os.chmod(source, 0o600)
        sync(source)
        try:
            os.replace(source, local)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            copy(source, local)
            source.unlink()
        sync(local.parent)

    def write_bytes(self, name: str, content: bytes) -> None:
        """Write one file, durably."""
        with self._temporary() as temporary:
            temporary.write_bytes(content)
            self.put(name, temporary)

    def read_bytes(self, name: str) -> bytes:
        """The bytes of a name; raises FileNotFoundError."""
        with self._using("read", name):
            return self.path(name).read_bytes()

    def sha256(self, name: str) -> str:
        """The digest of the bytes of a name, in bounded memory; raises FileNotFoundError."""
        with self._using("digest", name), self.path(name).open("rb") as file:
            return hashlib.file_digest(cast(Any, file), "sha256").hexdigest()

    def write_json(self, name: str, value: Any) -> None:
        """Write one JSON object, durably."""
        self.write_bytes(name, json.dumps(value).encode())

    def read_json(self, name: str) -> Any:
        """The JSON object of a name; raises FileNotFoundError, and `DamagedFile` if it is none."""
        return parsed_json(name, self.read_bytes(name))

    def find_json(self, name: str) -> Any:
        """The JSON object of a name, or None where there is none."""
        try:
            return self.read_json(name)
        except FileNotFoundError:
            return None

    def write_parquet(self, name: str, frame: pl.DataFrame) -> None:
        """Write one frame, durably."""
        with self._temporary() as temporary:
            frame.write_parquet(temporary)
            self.put(name, temporary)

    @contextmanager
    def _temporary(self) -> Iterator[Path]:
        """A private local file, which is gone at the end unless it was put to its place."""
        with self._spilling():
            with self._making("file"):
                handle, name = tempfile.mkstemp(dir=self._scratch)
                os.close(handle)
            try:
                yield Path(name)
            finally:
                Path(name).unlink(missing_ok=True)

    def read_parquet(self, name: str) -> pl.DataFrame:
        """The frame of a name; raises FileNotFoundError, and `DamagedFile` if it is none."""
        if not self._local:
            return parsed_parquet(name, self.read_bytes(name))
        with self._using("read", name):
            return parsed_parquet(name, str(self.path(name)))

    def names(self, folder: str) -> list[str]:
        """Names of the entries directly below a folder, sorted; empty when it does not exist."""
        with self._using("list", folder):
            path = self.path(folder)
            if not path.exists():
                return []
            return sorted(entry.name for entry in path.iterdir() if not entry.name.startswith("."))

    def exists(self, name: str) -> bool:
        with self._using("exists", name):
            return self.path(name).exists()

    def remove(self, folder: str) -> None:
        """Remove a folder of derived files (never of the ledger)."""
        if folder.startswith("ledger"):
            raise ValueError("the ledger is append-only, but for a purge")
        self.remove_in_order(folder)

    def remove_in_order(self, folder: str, first: str | None = None) -> None:
        """Remove a folder; the file without which it does not count goes first, and stays gone whatever happens then."""
        if first is not None:
            self.remove_file(f"{folder}/{first}")
            failpoint("remove.rest")
        with self._using("remove", folder):
            path = self.path(folder)
            if not path.exists():
                return
            if self._local:
                shutil.rmtree(str(path))
            else:
                path.fs.rm(path.path, recursive=True)

    def remove_file(self, name: str) -> None:
        """Remove a file that may be gone already, durably."""
        with self._using("remove", name):
            path = self.path(name)
            if path.exists():
                path.unlink()
                if self._local:
                    sync(Path(str(path)).parent)

    def modified(self, name: str) -> float:
        """When a file, or the newest file below a folder, was written, in seconds since the epoch; 0 where there is none.

        Where a store does not tell, that is now: nothing counts as old.
        """
        with self._using("modified", name):
            path = self.path(name)
            if not path.exists():
                return 0.0
            if self._local:
                below = (Path(folder) / one for folder, _, files in os.walk(str(path)) for one in files)
                return max(map(written, (Path(str(path)), *below)))
            try:
                return max((path.fs.modified(one).timestamp() for one in path.fs.find(path.path)), default=0.0)
            except NotImplementedError:
                return time.time()


def require_usable() -> None:
    """Look whether the storage of the current environment can be used. Raises `UsageError`, `StoreUnavailable`."""
    settings = Settings.from_env()
    Storage(settings.storage, settings.home / "tmp").require_usable()


def file_name(text: str) -> str:
    """A text as one safe path segment, never hidden."""
    name = quote(text, safe="@+") or "_"
    return f"%2E{name[1:]}" if name.startswith(".") else name
