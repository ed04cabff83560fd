"""Documents with their facts, as stored between the steps of a run: Parquet, some files a partition."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from session_assets.changes.target import Known
from session_assets.changes.targets import Targets
from session_assets.errors import PlanRefused, SessionAssetsError
from session_assets.storage import Storage, file_name

_FRAME_ROWS = 10_000


@dataclass(frozen=True)
class StoredFacts:
    """The newest facts of each partition of a slice."""

    storage: Storage
    slice_: str
    mapping: str = ""
    """Digest of the mapping that the documents were read with; facts of another one are not used."""

    def frames(self, partition: str) -> Iterator[pl.DataFrame]:
        """The stored facts of a partition, some files at a time: all documents of a session are in the same frame."""
        folder = self._folder(partition)
        current = self._current(partition)
        names = (f"{folder}/{current['run_id']}/{number:03d}.parquet" for number in range(current["files"]))
        frames: list[pl.DataFrame] = []
        for name in names:
            frames.append(self.storage.read_parquet(name))
            if sum(frame.height for frame in frames) >= _FRAME_ROWS:
                yield pl.concat(frames)
                frames = []
        if frames:
            yield pl.concat(frames)

    def count(self, partition: str) -> int:
        """How many documents were read for the stored facts of a partition."""
        return self._current(partition)["documents"]

    def require(self, partition: str, target: Known) -> None:
        """Raise `PlanRefused` where the stored facts of a partition were worked out on another target (E2)."""
        found = self.storage.read_json(f"{self._folder(partition)}/current.json").get("target")
        if found not in target.names:
            raise PlanRefused(
                f"the facts of {partition} were worked out on another target ({Targets(self.storage).shown(str(found))});"
                f" the settings lead to {target.shown}. Materialize {self.slice_}/session_facts again, then plan."
            )

    def publish(self, partition: str, files: list[Path], run_id: str, documents: int, target: Known) -> None:
        """Make some local Parquet files the facts of a partition of a target, in place of older ones."""
        folder = self._folder(partition)
        for number, file in enumerate(files):
            self.storage.put(f"{folder}/{run_id}/{number:03d}.parquet", file)
        current: dict[str, Any] = {"run_id": run_id, "files": len(files), "documents": documents, "target": target.id}
        if self.mapping:
            current["mapping"] = self.mapping
        self.storage.write_json(f"{folder}/current.json", current)
        for name in self.storage.names(folder):
            if name not in (run_id, "current.json"):
                self.storage.remove(f"{folder}/{name}")

    def _current(self, partition: str) -> dict[str, Any]:
        """What is noted of the newest facts. Raises `SessionAssetsError` where they were made under another mapping."""
        current = self.storage.read_json(f"{self._folder(partition)}/current.json")
        if current.get("mapping", "") != self.mapping:
            raise SessionAssetsError(
                f"{self.slice_}: the stored facts of {partition} were made under another mapping file than the one that is set"
                f" now. Materialize {self.slice_}/session_facts again, then what follows it."
            )
        return current

    def _folder(self, partition: str) -> str:
        return f"{self.slice_}/session_facts/{file_name(partition)}"
