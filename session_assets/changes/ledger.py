"""The append-only ledger: what was planned, what each attempt intended before it wrote, and what came of it.

    ledger/{loop}/parts/…                                see `parts.py`
    ledger/{loop}/plans/{plan_id}.json                   immutable
    ledger/{loop}/announced/…, ledger/{loop}/recorded/…  written each time a plan is made, see `recordings.py`
    ledger/{loop}/attempts/{plan_id}/{number}-…/…        see `attempt.py`
    ledger/{loop}/purged/{plan_id}.json                  of plans that were removed, see `purge.py`

Without it a killed apply could not be told from a finished one, and nothing could be undone. Each file carries a digest of
itself, or the file that refers to it does. What is damaged refuses what depends on it, and nothing else (docs/reliability.md).
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

import polars as pl

from session_assets.changes.attempt import Attempt, BrokenAttempt
from session_assets.changes.attempts import Attempts, blamed, counted
from session_assets.changes.change_set import Part, Plan, plan_id_of
from session_assets.changes.parts import Parts, PlanWriter
from session_assets.changes.recordings import LostRecording, Recording, Recordings, intact
from session_assets.changes.target import Known
from session_assets.changes.targets import Targets
from session_assets.errors import DamagedFile, PlanRefused
from session_assets.sealed import find_sealed, read_sealed, write_sealed
from session_assets.storage import Storage, file_name


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
        self.parts = Parts(storage, self._base)
        self.recorded = Recordings(storage, self._base)
        self._attempts = Attempts(storage, self._base, target, self.recorded)
        self.damaged: dict[str, DamagedFile] = {}
        """Partitions of which `pending` could not tell what is pending, with the file that is to blame."""

    # -- plans ---------------------------------------------------------------------------------------------------------

    def record(self, writer: PlanWriter, run_id: str, partitions: Iterable[str], summary: dict[str, Any]) -> Plan:
        """Store a finished plan and note that it was made now, on the target of this ledger."""
        if self.target is None:
            raise ValueError("a plan is recorded on a target")
        parts = tuple(writer.finish(lambda part, files: self.parts.store(part, files, self._is_named)))
        plan = Plan(self.loop, plan_id_of(self.loop, parts, self.target.id, summary.get("mapping", "")), parts)
        plan = self._stored_before(plan.plan_id) or self._store(plan)
        at = time.time_ns()
        self.recorded.add(Recording(at, plan.plan_id, run_id, tuple(partitions), summary, target=self.target.id))
        return plan

    def plan(self, plan_id: str) -> Plan:
        """A stored plan of this target.

        Raises `PlanRefused` when there is none, when it was purged, or is of another target, and `DamagedFile`.
        """
        purged, recorded = self.purged_at(plan_id), [*self.recorded.of_plan(plan_id)]
        if purged is not None and not recorded:
            raise PlanRefused(
                f"plan {plan_id} of {self.loop} was removed by the purge of {purged}: it can neither be applied nor undone any"
                f" more. `session-assets plan {self.loop}` makes a plan of how the documents stand now."
            )
        plan = self.stored_plan(plan_id)
        if self.target is not None and not any(map(self._is_mine, intact(recorded))):
            lost = next((one.error for one in recorded if isinstance(one, LostRecording)), None)
            raise lost or PlanRefused(
                self._of_another(plan_id, [*intact(recorded)]) if recorded else self._no_plan(plan_id)
            )
        return plan

    def stored_plan(self, plan_id: str) -> Plan:
        """As `plan`, also where a purge is half-way through it."""
        name = self.plan_name(plan_id)
        try:
            stored = read_sealed(self._storage, name, "loop", "parts")
        except FileNotFoundError:
            if self.recorded.names(plan_id):
                raise DamagedFile(name, "it is missing") from None
            raise PlanRefused(self._no_plan(plan_id)) from None
        parts = tuple(map(Part.from_dict, stored.body["parts"]))
        if stored.sha256 is None and plan_id not in self._ids_of(plan_id, parts):
            raise DamagedFile(name, "it is another plan")
        return Plan(self.loop, plan_id, parts)

    def rows(self, part: Part) -> Iterator[pl.DataFrame]:
        """The rows of a part, a file at a time, always in the same order. Raises `DamagedFile`."""
        return self.parts.rows(part)

    def recordings(self) -> Iterator[Recording]:
        """All recordings of this target that can be read, the newest first; those that a purge removes meanwhile are left out."""
        yield from filter(self._is_mine, intact(self.recorded.newest_first()))

    def _stored_before(self, plan_id: str) -> Plan | None:
        """The plan as an earlier recording stored it; one that is damaged is written again, since its id says what is in it."""
        try:
            return self.stored_plan(plan_id)
        except (PlanRefused, DamagedFile):
            return None

    def _store(self, plan: Plan) -> Plan:
        body = {"loop": self.loop, "parts": [asdict(part) for part in plan.parts]}
        write_sealed(self._storage, self.plan_name(plan.plan_id), body)
        return plan

    def _ids_of(self, plan_id: str, parts: tuple[Part, ...]) -> set[str]:
        """What a plan of these parts may be called: of version 0.1 without its target, else on each that it was recorded on."""
        named = [(one.target, one.summary.get("mapping", "")) for one in intact(self.recorded.of_plan(plan_id))]
        return {
            plan_id_of(self.loop, parts, None),
            *(plan_id_of(self.loop, parts, target, mapping) for target, mapping in named if target is not None),
        }

    def _is_named(self, folder: str) -> bool:
        """Whether a plan names a folder of rows."""
        for name in self._storage.names(f"{self._base}/plans"):
            plan = self._stored_before(name.removesuffix(".json"))
            if plan is not None and any(self.part_folder(part) == folder for part in plan.parts):
                return True
        return False

    def _is_mine(self, recording: Recording) -> bool:
        return self.target is None or self.target.owns(recording.target, recording.source)

    def _no_plan(self, plan_id: str) -> str:
        return f"{self.loop} has no plan {plan_id}. `session-assets plan {self.loop}` makes one and prints its id."

    def _of_another(self, plan_id: str, recorded: list[Recording]) -> str:
        """Why a plan is refused: which target it is of, and what to do."""
        targets, old = Targets(self._storage), recorded[-1]
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
        """All times at which a plan was made on this target, in ns since the epoch, oldest first; also of damaged recordings."""
        return [
            one.at_ns for one in self.recorded.of_plan(plan_id) if isinstance(one, LostRecording) or self._is_mine(one)
        ]

    def pending(self, partitions: Iterable[str] | None = None) -> dict[str, list[str]]:
        """Newest plan of each partition that is not applied yet: plan_id → partitions.

        A plan is pending for a partition while no attempt on it began after it was last made, or while that attempt is
        an unfinished apply; an unfinished revert is finished by `revert`. Older plans are superseded: they are applied
        only when named. A partition in which the newest plan changes nothing is not pending. Those of which a damaged file leaves
        open what is pending are left out; `damaged` names them until this is asked again.
        """
        wanted = None if partitions is None else set(partitions)
        seen: set[str] = set()
        result: dict[str, list[str]] = {}
        self.damaged = {}
        lost: DamagedFile | None = None  # a recording that may have superseded all that are older
        for recording in self.recorded.newest_first():
            if not self._may_be_mine(recording):
                continue
            visited = self._visited(recording)
            fresh = [key for key in visited if key not in seen and (wanted is None or key in wanted)]
            seen.update(visited)
            for key, error in self._open(recording, fresh).items():
                if error or lost:
                    self.damaged[key] = error or lost  # pyright: ignore[reportArgumentType]
                else:
                    result.setdefault(recording.plan_id, []).append(key)
            if isinstance(recording, LostRecording) and recording.partitions is None:
                lost = lost or recording.error
            if wanted is not None and wanted <= seen:
                break
        return {plan_id: sorted(keys) for plan_id, keys in result.items()}

    def _may_be_mine(self, recording: Recording | LostRecording) -> bool:
        if isinstance(recording, Recording):
            return self._is_mine(recording)
        return recording.target is None or self.target is None or self.target.owns(recording.target, None)

    def _visited(self, recording: Recording | LostRecording) -> tuple[str, ...]:
        """The partitions of a recording; if that does not tell them any more, those that its plan changes."""
        if recording.partitions is not None:
            return recording.partitions
        plan = self._stored_before(recording.plan_id)
        return tuple(part.partition for part in plan.parts) if plan is not None else ()

    def _open(self, recording: Recording | LostRecording, fresh: list[str]) -> dict[str, DamagedFile | None]:
        """The partitions of a recording that are pending, each with what is damaged, if that stops it."""
        if not fresh:
            return {}
        broken = recording.error if isinstance(recording, LostRecording) else None
        try:
            changed = {part.partition for part in self.stored_plan(recording.plan_id).parts if part.rows}
        except DamagedFile as error:
            broken = broken or error
            changed = {key for key in fresh if isinstance(recording, LostRecording) or recording.has_changes(key)}
        changed = changed.intersection(fresh)
        attempts, stopped = self._attempts.all(recording.plan_id) if changed else ([], [])
        result: dict[str, DamagedFile | None] = {}
        for key in sorted(changed):
            newest = next((attempt for attempt in reversed(attempts) if key in attempt.partitions), None)
            if newest is None or newest.at_ns < recording.at_ns or newest.is_stopped_apply(key):
                result[key] = broken or blamed(stopped, key, recording.at_ns)
        return result

    def planned_by(self, run_id: str) -> set[str]:
        """The partitions that a run has planned."""
        made = (recording for recording in self.recordings() if recording.run_id == run_id)
        return {partition for recording in made for partition in recording.partitions}

    # -- attempts ------------------------------------------------------------------------------------------------------

    def attempts(self, plan_id: str) -> list[Attempt]:
        """All attempts on a plan on this target that can be read, oldest first, but for those that are half gone."""
        return self._attempts.all(plan_id)[0]

    def all_attempts(self, plan_id: str) -> tuple[list[Attempt], list[BrokenAttempt]]:
        """All attempts on a plan on this target, oldest first, and those that cannot be read."""
        return self._attempts.all(plan_id)

    def last_applies(self, partitions: Iterable[str]) -> dict[str, tuple[Plan, Attempt]]:
        """The newest finished apply of each partition, with its plan. Those that a damaged file leaves open are in `damaged`."""
        wanted, self.damaged = set(partitions), {}
        newest: dict[str, tuple[int, str, Attempt | DamagedFile]] = {}
        for plan_id in self._storage.names(f"{self._base}/attempts"):
            attempts, broken = self._attempts.all(plan_id)
            found = [(one.at_ns or 0, one.partitions, one.error) for one in broken]
            found += [(one.at_ns, one.partitions, one) for one in attempts if not one.is_revert]
            for at_ns, some, one in found:
                for key in wanted.intersection(some):
                    if key in newest and newest[key][0] > at_ns:
                        continue
                    told = counted(one, key)
                    if told is not None:
                        newest[key] = (at_ns, plan_id, told)
        result: dict[str, tuple[Plan, Attempt]] = {}
        for key, (_, plan_id, one) in newest.items():
            try:
                if isinstance(one, DamagedFile):
                    raise one
                result[key] = (self.stored_plan(plan_id), one)
            except DamagedFile as error:
                self.damaged[key] = error
        return result

    def start_attempt(self, plan: Plan, partitions: Iterable[str], **said: Any) -> Attempt:
        """Begin an attempt: an apply, or where `undoes` maps partitions to attempt numbers, a revert. See `Attempts.start`."""
        return self._attempts.start(plan.plan_id, partitions, **said)

    # -- names, and what a purge notes ---------------------------------------------------------------------------------

    def note_purge(self, plan_id: str) -> None:
        """Note that a plan is being removed: from its last recording on it reads as gone."""
        write_sealed(self._storage, self._purged_name(plan_id), {"on": f"{datetime.now(UTC):%Y-%m-%d}"})

    def purged_at(self, plan_id: str) -> str | None:
        """The day on which a plan was removed, or None. It may have been made again since."""
        noted = find_sealed(self._storage, self._purged_name(plan_id), "on")
        return None if noted is None else noted.body["on"]

    def plan_name(self, plan_id: str) -> str:
        return f"{self._base}/plans/{file_name(plan_id)}.json"

    def part_folder(self, part: Part) -> str:
        return self.parts.folder(part)

    def _purged_name(self, plan_id: str) -> str:
        return f"{self._base}/purged/{file_name(plan_id)}.json"
