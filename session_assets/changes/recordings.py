"""Each time that a plan was made, noted twice: announced, then recorded. Which plan is the newest decides what is applied.

    {base}/announced/{time}-{plan_id}.json   the partitions and the target, written first
    {base}/recorded/{time}-{plan_id}.json    all that is told of the plan

Without the first, a lost recording would bring back an older plan of the same partitions, which must not be applied any more.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

from session_assets.errors import DamagedFile
from session_assets.sealed import find_sealed, write_sealed
from session_assets.storage import Storage

_YOUNG_NS = 10**9  # a plan that was announced so lately may be recorded just now
_NEEDS = ("at_ns", "plan_id", "run_id", "partitions", "summary")


@dataclass(frozen=True)
class Recording:
    """One time that a plan was made: `partitions` are all that were visited, also those without a change."""

    at_ns: int
    plan_id: str
    run_id: str
    partitions: tuple[str, ...]
    summary: dict[str, Any]
    source: str | None = None  # of version 0.1: the database, without its server's word
    target: str | None = None  # the id of the target

    def has_changes(self, partition: str) -> bool:
        """Whether the plan changes a partition, as far as the recording tells."""
        classes = self.summary.get("classes")
        return classes is None or classes.get(partition, {}).get("planned", 0) > 0


@dataclass(frozen=True)
class LostRecording:
    """A recording that is damaged or gone. `partitions` is None if its announcement does not tell them either."""

    at_ns: int
    plan_id: str
    partitions: tuple[str, ...] | None
    target: str | None
    error: DamagedFile


class Recordings:
    """The recordings of one ledger, below its folder `base`."""

    def __init__(self, storage: Storage, base: str) -> None:
        self._storage = storage
        self._recorded, self._announced = f"{base}/recorded", f"{base}/announced"

    def add(self, recording: Recording) -> None:
        name = f"{recording.at_ns:020d}-{recording.plan_id}.json"
        announced = {"partitions": list(recording.partitions), "target": recording.target}
        write_sealed(self._storage, f"{self._announced}/{name}", announced)
        write_sealed(self._storage, f"{self._recorded}/{name}", asdict(recording))

    def names(self, plan_id: str) -> list[str]:
        """The recordings of a plan, also those that are lost, oldest first."""
        return [name for name in self._names() if name.endswith(f"-{plan_id}.json")]

    def newest_first(self) -> Iterator[Recording | LostRecording]:
        """All recordings, also those that are lost; without those that a purge removes meanwhile."""
        for name in reversed(self._names()):
            found = self._look(name) or self._missing(name)
            if found is not None:
                yield found

    def of_plan(self, plan_id: str) -> Iterator[Recording | LostRecording]:
        """The recordings of a plan, oldest first."""
        for name in self.names(plan_id):
            found = self._look(name) or self._missing(name)
            if found is not None:
                yield found

    def remove(self, plan_id: str) -> Iterator[str]:
        """The files to remove, one after the other, so that a plan is purged."""
        for folder in (self._announced, self._recorded):
            yield from (f"{folder}/{name}" for name in self._storage.names(folder) if name.endswith(f"-{plan_id}.json"))

    def _names(self) -> list[str]:
        return sorted({name for folder in (self._announced, self._recorded) for name in self._storage.names(folder)})

    def _look(self, name: str) -> Recording | LostRecording | None:
        try:
            stored = find_sealed(self._storage, f"{self._recorded}/{name}", *_NEEDS)
        except DamagedFile as error:
            return self._lost(name, error)
        if stored is None:
            return None
        said: dict[str, Any] = {**stored.body, "partitions": tuple(stored.body["partitions"])}
        try:
            return Recording(**said)
        except TypeError:  # a file without a digest that names other things
            return self._lost(name, DamagedFile(f"{self._recorded}/{name}", "it is no recording"))

    def _missing(self, name: str) -> Recording | LostRecording | None:
        """What was announced and is not there: purged, lost, or just being recorded by somebody else."""
        while time.time_ns() - int(name.partition("-")[0]) < _YOUNG_NS:
            time.sleep(0.05)
            if (found := self._look(name)) is not None:
                return found
        if not self._storage.exists(f"{self._announced}/{name}"):
            return None
        return self._lost(name, DamagedFile(f"{self._recorded}/{name}", "it is missing"))

    def _lost(self, name: str, error: DamagedFile) -> LostRecording:
        at, _, plan_id = name.removesuffix(".json").partition("-")
        try:
            announced = find_sealed(self._storage, f"{self._announced}/{name}", "partitions")
        except DamagedFile:
            announced = None
        if announced is None:
            return LostRecording(int(at), plan_id, None, None, error)
        partitions = tuple(announced.body["partitions"])
        return LostRecording(int(at), plan_id, partitions, announced.body.get("target"), error)


def intact(found: Iterable[Recording | LostRecording]) -> Iterator[Recording]:
    """Those that can be read."""
    return (one for one in found if isinstance(one, Recording))
