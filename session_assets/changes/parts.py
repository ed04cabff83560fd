"""The rows of plans on disk, a part for each partition: stored once, and checked before and while they are read.

    {base}/parts/{partition}/{digest}/000.parquet …   rows of `CHANGES`, immutable, then `done.json`

A part that was replaced by other rows once wrote 224 wrong documents, and one that was cut in half was applied by half. So the
plan that names a part keeps the SHA-256 of each of its files. Parts of versions without these are checked against the digest of
their rows, which takes longer.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import count
from pathlib import Path

import polars as pl

from session_assets.changes.change_set import CHANGES, Digest, Part, conform
from session_assets.compact import compact
from session_assets.errors import DamagedFile
from session_assets.parsed import parsed_parquet
from session_assets.partition_files import PartitionWriter
from session_assets.sealed import read_sealed, write_sealed
from session_assets.storage import Storage, file_name

_OTHER_ROWS = "its rows are not those that were planned"
_OTHER_BYTES = "its bytes are not those that were planned"


class Parts:
    """The parts of one ledger, below its folder `base`."""

    def __init__(self, storage: Storage, base: str) -> None:
        self._storage = storage
        self._base = base
        self._whole: set[Part] = set()

    def folder(self, part: Part) -> str:
        copy = f"-{part.copy}" if part.copy else ""
        return f"{self._base}/parts/{file_name(part.partition)}/{part.digest[:24]}{copy}"

    def rows(self, part: Part) -> Iterator[pl.DataFrame]:
        """The rows of a part, a file at a time, always in the same order. Raises `DamagedFile`."""
        for number in range(part.files):
            yield self._read(part, number)

    def require(self, part: Part) -> None:
        """Raise `DamagedFile` if a file of the part is not as it was stored: asked before the first row is used."""
        if part in self._whole:
            return
        if part.sha256:
            for number, digest in enumerate(part.sha256):
                if self._digest(name := self._name(part, number)) != digest:
                    raise DamagedFile(name, _OTHER_BYTES)
        else:
            self._require_rows(part)
        self._whole.add(part)

    def store(self, new: Part, files: list[Path], is_named: Callable[[str], bool]) -> Part:
        """Move the files of a part to their place, or find that the same rows are there already.

        What is there and damaged stays as it is, since outcomes of attempts count its rows by their place: the new rows become
        another copy, of another plan. `is_named` tells whether a plan names a folder.
        """
        for copy in count():
            part = replace(new, copy=copy)
            folder = self.folder(part)
            if self._storage.exists(f"{folder}/done.json"):
                part = self._stored(part)
                if part is None:
                    continue
                for file in files:
                    file.unlink()
                return part
            if self._storage.names(folder) and is_named(folder):
                continue
            digests: list[str] = []
            for number, file in enumerate(files):
                with file.open("rb") as opened:
                    digests.append(hashlib.file_digest(opened, "sha256").hexdigest())
                self._storage.put(f"{folder}/{number:03d}.parquet", file)
            part = replace(part, files=len(files), sha256=tuple(digests))
            write_sealed(self._storage, f"{folder}/done.json", {"files": part.files, "sha256": digests})
            return part
        raise AssertionError("a count does not end")

    def _stored(self, part: Part) -> Part | None:
        """The part as it was stored by an earlier plan; None if it is damaged."""
        try:
            done = read_sealed(self._storage, f"{self.folder(part)}/done.json", "files").body
            part = replace(part, files=done["files"], sha256=tuple(done.get("sha256", ())))
            self._whole.discard(part)
            self.require(part)
        except DamagedFile:
            return None
        if part.sha256:
            return part
        return replace(part, sha256=tuple(self._digest(self._name(part, number)) for number in range(part.files)))

    def _read(self, part: Part, number: int) -> pl.DataFrame:
        name = self._name(part, number)
        try:
            if not part.sha256:
                return self._storage.read_parquet(name)
            content = self._storage.read_bytes(name)
        except FileNotFoundError:
            raise DamagedFile(name, "it is missing") from None
        if hashlib.sha256(content).hexdigest() != part.sha256[number]:
            raise DamagedFile(name, _OTHER_BYTES)
        return parsed_parquet(name, content)

    def _require_rows(self, part: Part) -> None:
        digest = Digest()
        for rows in self.rows(part):
            if not set(rows.columns) <= set(CHANGES):
                raise DamagedFile(self.folder(part), _OTHER_ROWS)
            digest.add(conform(rows))
        if part.rows and (digest.hex(), digest.rows) != (part.digest, part.rows):
            raise DamagedFile(self.folder(part), _OTHER_ROWS)

    def _digest(self, name: str) -> str:
        try:
            return self._storage.sha256(name)
        except FileNotFoundError:
            raise DamagedFile(name, "it is missing") from None

    def _name(self, part: Part, number: int) -> str:
        return f"{self.folder(part)}/{number:03d}.parquet"


class PlanWriter:
    """Collects change rows of many partitions in bounded memory. Keys must not repeat."""

    def __init__(self, scratch: Path) -> None:
        self._files = PartitionWriter(scratch)
        self._digests: dict[str, Digest] = {}

    def add(self, partition: str, rows: pl.DataFrame) -> None:
        """Add rows of one partition. Rows of one call stay in one file."""
        if rows.is_empty():
            return
        rows = compact(conform(rows))
        self._digests.setdefault(partition, Digest()).add(rows)
        self._files.add(partition, rows)

    def drop(self, partition: str) -> None:
        """Forget a partition that failed half-way."""
        self._digests.pop(partition, None)

    def finish(self, store: Callable[[Part, list[Path]], Part]) -> list[Part]:
        """Hand over each part's files; returns the parts by partition."""
        files = self._files.finish()
        return [
            store(Part(partition, digest.hex(), digest.rows, len(files[partition])), files[partition])
            for partition, digest in sorted(self._digests.items())
        ]
