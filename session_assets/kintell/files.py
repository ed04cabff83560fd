"""Files that were taken up for an import: found, copied where nobody changes them, kept until the job is over, and removed then.

What is known of a file is in the storage as `kintell/files/{partition}/file.json`, its private copy below SESSION_ASSETS_HOME.
"""

from __future__ import annotations

import hashlib
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path

from session_assets.drops.folder import drop_key, find_drops, fingerprint, private_copy
from session_assets.errors import BadInput
from session_assets.kintell.jobs import Job, Source, SourceChanged
from session_assets.masking import safe_text
from session_assets.settings import Settings
from session_assets.storage import Storage, file_name
from session_assets.stores.kintell_jobs import JobStore
from session_assets.stores.postgres_target import postgres_target

FOLDER = "kintell"
_COPIES = "imports"  # the folder of private copies
_NEEDED = "imports_needed"
"""The folder of empty files {sha256}.{database}: a job of that database goes on from the copy of these bytes."""
_DAYS_KEPT = 30


@dataclass(frozen=True)
class Taken:
    """A file that was taken up: its private copy, and what tells it from others."""

    partition: str
    file_name: str
    sha256: str
    byte_size: int
    copy: str

    @property
    def source(self) -> Source:
        return Source(self.sha256, self.byte_size)


class Files:
    """The files of one database's imports. Databases that share a home share the copy of the same bytes; the last removes it."""

    def __init__(self, settings: Settings, storage: Storage, jobs: JobStore) -> None:
        self.settings = settings
        self.storage = storage
        self.jobs = jobs

    def take(self, partition: str, path: Path | None) -> Taken:
        """Copy a file that a partition stands for, from `path` or the drop folder; the copy at hand is used where it is gone.

        Raises `BadInput` where there is no such file, or where it changes meanwhile.
        """
        known = self.taken(partition)
        original = path or self._dropped(partition)
        if original is None:
            if known is None or not Path(known.copy).exists():
                folder = self.settings.drops / FOLDER
                raise BadInput(f"{folder} holds no file for {partition}. Drop it there again, or give its path.")
            return known
        copy, sha256, size = private_copy(original, self.copies)
        if drop_key(original, sha256) != partition:
            copy.unlink(missing_ok=True)
            raise BadInput(
                f"{safe_text(original.name)} is not the file that {partition} stands for: its content has changed."
            )
        name = original.name.encode(errors="replace").decode()  # a name may hold bytes that are no UTF-8
        taken = Taken(partition, name, sha256, size, str(copy))
        self.note(taken)
        return taken

    @property
    def copies(self) -> Path:
        """The folder of private copies."""
        return self.settings.home / _COPIES

    def note(self, taken: Taken) -> None:
        """Remember a file that was taken up."""
        self.storage.write_json(self._name(taken.partition, "file.json"), asdict(taken))
        self._need(taken.sha256).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._need(taken.sha256).touch()

    def taken(self, partition: str) -> Taken | None:
        name = self._name(partition, "file.json")
        return Taken(**self.storage.read_json(name)) if self.storage.exists(name) else None

    def job_of(self, partition: str) -> Job | None:
        """The job of a partition's bytes, unless it was rolled back."""
        taken = self.taken(partition)
        return self.jobs.find(taken.source) if taken else None

    def partition_of(self, job: Job) -> str | None:
        """The partition whose private copy holds a job's bytes, where there is one still."""
        for name in self.storage.names("kintell/files"):
            path = f"kintell/files/{name}/file.json"
            taken = Taken(**self.storage.read_json(path)) if self.storage.exists(path) else None
            if taken and (taken.sha256, taken.byte_size) == (job.sha256, job.byte_size) and Path(taken.copy).exists():
                return taken.partition
        return None

    def release(self, taken: Taken) -> None:
        """Remove the private copy of a job that is over, unless a job of another database goes on from it."""
        self._need(taken.sha256).unlink(missing_ok=True)
        if taken.sha256 not in self._needed_elsewhere():
            Path(taken.copy).unlink(missing_ok=True)

    def forget(self, job: Job) -> None:
        """Remove the private copies of a job that was rolled back, unless its bytes are imported anew, here or elsewhere."""
        if job.sha256 and job.byte_size is not None and self.jobs.find(Source(job.sha256, job.byte_size)) is None:
            self._need(job.sha256).unlink(missing_ok=True)
            if job.sha256 not in self._needed_elsewhere():
                for path in self.copies.glob(f"{job.sha256[:12]}-*"):
                    path.unlink(missing_ok=True)

    def sweep(self) -> None:
        """Remove private copies that nobody came back for: after a day, or after 30 where a job can be resumed from them."""
        folder = self.copies
        for path in (self.settings.home / _NEEDED).glob("*.*"):
            with suppress(FileNotFoundError):
                if time.time() - path.lstat().st_mtime > _DAYS_KEPT * 86_400:
                    path.unlink()
        resumable = {job.sha256 for job in self.jobs.unfinished() if job.sha256}
        kept = {sha256[:12] for sha256 in resumable | self._needed_elsewhere()}
        for path in [*folder.iterdir()] if folder.is_dir() else []:
            with suppress(FileNotFoundError):
                days = (time.time() - path.lstat().st_mtime) / 86_400
                if days > (_DAYS_KEPT if path.name[:12] in kept else 1):
                    path.unlink()

    @cached_property
    def _database_id(self) -> str:
        with self.jobs.database.connected("kintell files") as connection:
            now = postgres_target(connection)
        return hashlib.sha256(now.coarse.encode()).hexdigest()[:12]

    def _need(self, sha256: str) -> Path:
        return self.settings.home / _NEEDED / f"{sha256}.{self._database_id}"

    def _needed_elsewhere(self) -> set[str]:
        """The SHA-256 of copies that jobs of other databases go on from."""
        found = [path.name.split(".") for path in (self.settings.home / _NEEDED).glob("*.*")]
        return {sha256 for sha256, database in found if database != self._database_id}

    def _dropped(self, partition: str) -> Path | None:
        folder = self.settings.drops / FOLDER
        if folder.is_dir():
            prefix = partition.rsplit("@", 1)[0]
            for path in find_drops(folder):
                if path.is_symlink() or not path.is_file() or not drop_key(path, "").startswith(f"{prefix}@"):
                    continue
                if drop_key(path, fingerprint(path)) == partition:
                    return path
        return None

    def _name(self, partition: str, name: str) -> str:
        return f"kintell/files/{file_name(partition)}/{name}"


def require_unchanged(taken: Taken) -> None:
    copy = Path(taken.copy)
    if Source.of(copy) != taken.source:
        copy.unlink(missing_ok=True)
        raise SourceChanged(
            f"{safe_text(taken.file_name)}: somebody changed its private copy, which was removed now. Nothing of it was imported."
            " Bring the original file again: `session-assets import FILE`."
        )
