"""The append-only ledger: what was planned, what each attempt intended before it wrote, and what came of it.

    ledger/{loop}/parts/{partition}/{digest}/000.parquet …   rows of `CHANGES`, immutable, then `done.json`
    ledger/{loop}/plans/{plan_id}.json                       immutable
    ledger/{loop}/recorded/{time}-{plan_id}.json             one each time a plan was made
    ledger/{loop}/attempts/{plan_id}/{number}/…              see `attempt.py`
    ledger/{loop}/purged/{plan_id}.json                      of plans that were removed, see `purge.py`

Without it a killed apply could not be told from a finished one, and nothing could be undone.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl

from session_assets.changes.attempt import Attempt
from session_assets.changes.change_set import Digest, Part, Plan, conform, plan_id_of
from session_assets.changes.target import Known
from session_assets.changes.targets import Targets
from session_assets.compact import compact
from session_assets.errors import PlanRefused
from session_assets.partition_files import PartitionWriter
from session_assets.storage import Storage, file_name


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


class Ledger:
    """The ledger of one loop, that is of one collection and kind of change.

    Plans belong to a target: those of another one are passed over, and refused when named. Without `target` all are seen, but
    nothing can be recorded.
    """

    def __init__(self, storage: Storage, loop: str, target: Known | None = None) -> None:
        self._storage = storage
        self.loop = loop
        self.target = target
        self.base = self._base = f"ledger/{file_name(loop)}"

    # -- plans ---------------------------------------------------------------------------------------------------------

    def record(self, writer: PlanWriter, run_id: str, partitions: Iterable[str], summary: dict[str, Any]) -> Plan:
        """Store a finished plan and note that it was made now, on the target of this ledger."""
        if self.target is None:
            raise ValueError("a plan is recorded on a target")
        parts = tuple(writer.finish(self._store_part))
        plan = Plan(self.loop, plan_id_of(self.loop, parts, self.target.id, summary.get("mapping", "")), parts)
        name = self.plan_name(plan.plan_id)
        if not self._storage.exists(name):
            self._storage.write_json(name, {"loop": self.loop, "parts": [asdict(part) for part in parts]})
        at = time.time_ns()
        recording = Recording(at, plan.plan_id, run_id, tuple(partitions), summary, target=self.target.id)
        self._storage.write_json(f"{self._base}/recorded/{at:020d}-{plan.plan_id}.json", asdict(recording))
        return plan

    def plan(self, plan_id: str) -> Plan:
        """A stored plan of this target; raises `PlanRefused` when there is none, when it was purged, or is of another target."""
        purged, recorded = self.purged_at(plan_id), self.recording_names(plan_id)
        if purged is not None and not recorded:
            raise PlanRefused(
                f"plan {plan_id} of {self.loop} was removed by the purge of {purged}: it can neither be applied nor undone any"
                f" more. `session-assets plan {self.loop}` makes a plan of how the documents stand now."
            )
        plan = self.stored_plan(plan_id)
        if self.target is not None and not any(map(self._is_mine, self._read(recorded))):
            raise PlanRefused(self._of_another(plan_id, recorded) if recorded else self._no_plan(plan_id))
        return plan

    def stored_plan(self, plan_id: str) -> Plan:
        """As `plan`, also where a purge is half-way through it."""
        try:
            stored = self._storage.read_json(self.plan_name(plan_id))
        except FileNotFoundError:
            raise PlanRefused(self._no_plan(plan_id)) from None
        return Plan(self.loop, plan_id, tuple(Part(**part) for part in stored["parts"]))

    def rows(self, part: Part) -> Iterator[pl.DataFrame]:
        """The rows of a part, a file at a time, always in the same order."""
        for number in range(part.files):
            yield self._storage.read_parquet(f"{self.part_folder(part)}/{number:03d}.parquet")

    def recordings(self) -> Iterator[Recording]:
        """All recordings of this target, the newest first; those that a purge removes meanwhile are left out."""
        folder = f"{self._base}/recorded"
        names = (f"{folder}/{name}" for name in reversed(self._storage.names(folder)))
        yield from filter(self._is_mine, self._read(names))

    def _read(self, names: Iterable[str]) -> Iterator[Recording]:
        for name in names:
            stored: dict[str, Any] | None = self._storage.find_json(name)
            if stored is not None:
                stored["partitions"] = tuple(stored["partitions"])
                yield Recording(**stored)

    def _is_mine(self, recording: Recording) -> bool:
        return self.target is None or self.target.owns(recording.target, recording.source)

    def _no_plan(self, plan_id: str) -> str:
        return f"{self.loop} has no plan {plan_id}. `session-assets plan {self.loop}` makes one and prints its id."

    def _of_another(self, plan_id: str, recorded: list[str]) -> str:
        """Why a plan is refused: which target it is of, and what to do."""
        targets, old = Targets(self._storage), next(self._read(reversed(recorded)))
        other = old.target or old.source or "unknown"
        assert self.target is not None
        return (
            f"plan {plan_id} was made on another target: {targets.shown(other)}. The settings lead to {self.target.shown}."
            " Nothing was looked at. Correct the settings. If it is the same collection, restored, renamed or moved:"
            f" session-assets target accept {other} {self.target.id} --note WHY"
        )

    def recorded_at(self, plan_id: str) -> int:
        """When a plan was last made on this target, in ns since the epoch."""
        return max(self.recorded_times(plan_id), default=0)

    def recorded_times(self, plan_id: str) -> list[int]:
        """All times at which a plan was made on this target, in ns since the epoch, oldest first."""
        return [one.at_ns for one in self._read(self.recording_names(plan_id)) if self._is_mine(one)]

    def recording_names(self, plan_id: str) -> list[str]:
        """Files of the recordings of a plan, oldest first."""
        folder = f"{self._base}/recorded"
        return [f"{folder}/{name}" for name in self._storage.names(folder) if name.endswith(f"-{plan_id}.json")]

    def pending(self, partitions: Iterable[str] | None = None) -> dict[str, list[str]]:
        """Newest plan of each partition that is not applied yet: plan_id → partitions.

        A plan is pending for a partition while no attempt on it began after it was last made, or while that attempt is
        an unfinished apply; an unfinished revert is finished by `revert`. Older plans are superseded: they are applied
        only when named. A partition in which the newest plan changes nothing is not pending.
        """
        wanted = None if partitions is None else set(partitions)
        seen: set[str] = set()
        result: dict[str, list[str]] = {}
        for recording in self.recordings():
            fresh = [key for key in recording.partitions if key not in seen and (wanted is None or key in wanted)]
            seen.update(recording.partitions)
            parts = self.plan(recording.plan_id).parts if fresh else ()
            changed = {part.partition for part in parts if part.rows}.intersection(fresh)
            attempts = self.attempts(recording.plan_id) if changed else []
            for key in changed:
                newest = next((attempt for attempt in reversed(attempts) if key in attempt.partitions), None)
                if newest is None or newest.at_ns < recording.at_ns or newest.is_stopped_apply(key):
                    result.setdefault(recording.plan_id, []).append(key)
            if wanted is not None and wanted <= seen:
                break
        return {plan_id: sorted(keys) for plan_id, keys in result.items()}

    def planned_by(self, run_id: str) -> set[str]:
        """The partitions that a run has planned."""
        made = (recording for recording in self.recordings() if recording.run_id == run_id)
        return {partition for recording in made for partition in recording.partitions}

    # -- attempts ------------------------------------------------------------------------------------------------------

    def attempts(self, plan_id: str) -> list[Attempt]:
        """All attempts on a plan on this target, oldest first, but for those that are half gone."""
        folder = f"{self._base}/attempts/{plan_id}"
        found = (Attempt.find(self._storage, f"{folder}/{number}") for number in self._storage.names(folder))
        attempts = [attempt for attempt in found if attempt is not None]
        if self.target is None or not attempts:
            return attempts
        recorded = [*self._read(self.recording_names(plan_id))] if any(one.target is None for one in attempts) else []
        return [one for one in attempts if self._is_on_mine(one, recorded)]

    def _is_on_mine(self, attempt: Attempt, recorded: list[Recording]) -> bool:
        """Whether an attempt was on this target; `recorded` are all recordings of its plan.

        Attempts of version 0.1 name no target. One that planned first is of the target on which its run recorded the plan.
        Any other may be of each target on which the plan was recorded before it began.
        """
        assert self.target is not None
        if attempt.target is not None:
            return self.target.owns(attempt.target, None)
        made = [one for one in recorded if one.run_id == attempt.run_id]
        before = [one for one in recorded if one.at_ns <= attempt.at_ns]
        return any(map(self._is_mine, made or before))

    def last_applies(self, partitions: Iterable[str]) -> dict[str, tuple[Plan, Attempt]]:
        """The newest finished apply of each partition, with its plan."""
        wanted = set(partitions)
        newest: dict[str, tuple[str, Attempt]] = {}
        for plan_id in self._storage.names(f"{self._base}/attempts"):
            for attempt in self.attempts(plan_id):
                for partition in wanted.intersection(attempt.partitions):
                    known = newest.get(partition)
                    if attempt.is_revert or (known is not None and known[1].at_ns > attempt.at_ns):
                        continue
                    if attempt.is_counted(partition):
                        newest[partition] = (plan_id, attempt)
        plans = {plan_id: self.stored_plan(plan_id) for plan_id, _ in newest.values()}
        return {partition: (plans[plan_id], attempt) for partition, (plan_id, attempt) in newest.items()}

    def start_attempt(
        self,
        plan: Plan,
        partitions: Iterable[str],
        *,
        batch_size: int,
        run_id: str,
        undoes: dict[str, int] | None = None,
        undoes_too: dict[str, list[int]] | None = None,
        rest_of: dict[str, int] | None = None,
    ) -> Attempt:
        """Begin an attempt: an apply, or where `undoes` maps partitions to attempt numbers, a revert."""
        base = f"{self._base}/attempts/{plan.plan_id}"
        number = 1 + max((int(name.partition("-")[0]) for name in self._storage.names(base)), default=0)
        folder = (
            f"{base}/{number:05d}-{secrets.token_hex(4)}"  # its own, also where two start at once on other partitions
        )
        attempt = Attempt(
            self._storage, folder, number, plan.plan_id, tuple(partitions), batch_size, run_id, time.time_ns(), undoes,
            None if self.target is None else self.target.id, undoes_too, rest_of,
        )  # fmt: skip
        attempt.save()
        return attempt

    # -- names, and what a purge notes ---------------------------------------------------------------------------------

    def note_purge(self, plan_id: str) -> None:
        """Note that a plan is being removed: from its last recording on it reads as gone."""
        self._storage.write_json(self._purged_name(plan_id), {"on": f"{datetime.now(UTC):%Y-%m-%d}"})

    def purged_at(self, plan_id: str) -> str | None:
        """The day on which a plan was removed, or None. It may have been made again since."""
        noted = self._storage.find_json(self._purged_name(plan_id))
        return None if noted is None else noted["on"]

    def plan_name(self, plan_id: str) -> str:
        return f"{self._base}/plans/{file_name(plan_id)}.json"

    def part_folder(self, part: Part) -> str:
        return f"{self._base}/parts/{file_name(part.partition)}/{part.digest[:24]}"

    def _purged_name(self, plan_id: str) -> str:
        return f"{self._base}/purged/{file_name(plan_id)}.json"

    def _store_part(self, partition: str, digest: str, rows: int, files: list[Path]) -> Part:
        """Move the files of a part to their place, or find that the same rows stand there already."""
        part = Part(partition, digest, rows, len(files))
        folder = self.part_folder(part)
        if self._storage.exists(f"{folder}/done.json"):
            for file in files:
                file.unlink()
            return Part(partition, digest, rows, self._storage.read_json(f"{folder}/done.json")["files"])
        for number, file in enumerate(files):
            self._storage.put(f"{folder}/{number:03d}.parquet", file)
        self._storage.write_json(f"{folder}/done.json", {"files": len(files)})
        return part


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

    def finish(self, store: Callable[[str, str, int, list[Path]], Part]) -> list[Part]:
        """Hand over each part's files; returns the parts by partition."""
        files = self._files.finish()
        return [
            store(partition, digest.hex(), digest.rows, files[partition])
            for partition, digest in sorted(self._digests.items())
        ]
