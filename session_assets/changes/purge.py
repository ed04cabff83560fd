"""Takes old plans out of a ledger: those that nothing stands on and that nobody touched for long.

Kept are, for each database and partition, the newest plan, the newest apply, and the newest apply that is not undone; every plan
with an attempt that was stopped; and whatever was touched since. A plan goes in an order in which it reads as complete until
its last recording is gone, and as gone from then on; a purge that was killed is finished by the next one.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import unquote

from session_assets.changes.change_set import Part
from session_assets.changes.ledger import Ledger
from session_assets.changes.recordings import LostRecording, Recording
from session_assets.changes.revert import to_undo
from session_assets.changes.targets import Targets
from session_assets.errors import DamagedFile, PlanRefused
from session_assets.failpoints import failpoint
from session_assets.storage import Storage


@dataclass(frozen=True)
class OldPlan:
    """A plan that can go. `touched` is UTC seconds since the epoch; the rows are 0 where the plan is half gone."""

    plan_id: str
    rows: int
    touched: float


class Purge:
    """What can go from the ledger of a loop, of what was not touched since a moment."""

    def __init__(self, storage: Storage, loop: str, before: datetime) -> None:
        self._storage = storage
        self._ledger = Ledger(storage, loop)
        self._base = self._ledger.base
        self._before = before.timestamp()

    def partitions(self) -> set[str]:
        """Every partition that the ledger names: what must be locked while something is removed."""
        found = {unquote(name) for name in self._storage.names(f"{self._base}/parts")}
        for recording in self._ledger.recordings():
            found.update(recording.partitions)
        for plan_id in self._storage.names(f"{self._base}/attempts"):
            found.update(*(attempt.partitions for attempt in self._ledger.attempts(plan_id)))
        return found

    def targets(self) -> set[str]:
        """What locks of the targets of this home are named after: whoever works on one of them must be locked out."""
        return {target.coarse for _, target in Targets(self._storage).all()}

    def old_plans(self) -> list[OldPlan]:
        """The plans that can go, those that were touched first before the others."""
        recordings = defaultdict[str, list[Recording]](list)
        for recording in self._ledger.recordings():
            recordings[recording.plan_id].append(recording)
        kept = self._newest(recordings) | self._in_force(recordings) | self._damaged()
        found: list[OldPlan] = []
        for plan_id in self._plan_ids():
            parts = self._parts_of(plan_id) or ()
            rows = sum(part.rows for part in parts)
            touched = self._touched(plan_id, recordings[plan_id], parts)
            is_begun = not recordings[plan_id] and self._ledger.purged_at(plan_id) is not None
            if is_begun or (plan_id not in kept and touched < self._before):
                found.append(OldPlan(plan_id, rows, touched))
        return sorted(found, key=lambda one: one.touched)

    def old_parts(self, leaving: Iterable[str] = ()) -> list[str]:
        """Folders of rows that no plan names, but for plans that are `leaving`, and that were not touched lately.

        None as long as a plan is damaged: its rows would be taken away with those of no plan.
        """
        plans = [self._parts_of(plan_id) for plan_id in set(self._plan_ids()) - set(leaving)]
        if None in plans:
            return []
        named = {self._ledger.part_folder(part) for parts in plans for part in parts or ()}
        base = f"{self._base}/parts"
        folders = (
            f"{base}/{one}/{name}" for one in self._storage.names(base) for name in self._storage.names(f"{base}/{one}")
        )
        return [one for one in folders if one not in named and self._storage.modified(one) < self._before]

    def remove(self) -> tuple[list[OldPlan], list[str]]:
        """Remove what can go, and return it. The partitions must be locked."""
        plans = self.old_plans()
        for plan in plans:
            self._remove_plan(plan.plan_id)
        parts = self.old_parts()
        for folder in parts:
            failpoint("purge.part")
            self._storage.remove_in_order(folder, "done.json")
        return plans, parts

    def _remove_plan(self, plan_id: str) -> None:
        self._ledger.note_purge(plan_id)
        for name in self._ledger.recorded.remove(plan_id):
            failpoint("purge.recording")
            self._storage.remove_file(name)
        folder = f"{self._base}/attempts/{plan_id}"
        for name in self._storage.names(folder):  # oldest first: numbers go on after the newest that is left
            failpoint("purge.attempt")
            self._storage.remove_in_order(f"{folder}/{name}", "started.json")
        self._storage.remove_in_order(folder)
        failpoint("purge.plan")
        self._storage.remove_file(self._ledger.plan_name(plan_id))

    # -- what is kept --------------------------------------------------------------------------------------------------

    def _newest(self, recordings: dict[str, list[Recording]]) -> set[str]:
        """The plan that was made last of each partition of each database."""
        newest: dict[tuple[str | None, str], tuple[int, str]] = {}
        for plan_id, made in recordings.items():
            for one in made:
                for partition in one.partitions:
                    key = (one.target or one.source, partition)
                    newest[key] = max(newest.get(key, (0, "")), (one.at_ns, plan_id))
        return {plan_id for _, plan_id in newest.values()}

    def _in_force(self, recordings: dict[str, list[Recording]]) -> set[str]:
        """Plans with a stopped attempt, or with the newest apply of a partition, or the newest that is not undone."""
        kept: set[str] = set()
        applied: dict[tuple[str | None, str], tuple[int, str]] = {}
        standing: dict[tuple[str | None, str], tuple[int, str]] = {}
        for plan_id in self._storage.names(f"{self._base}/attempts"):
            sources = {one.target or one.source for one in recordings[plan_id]} or {None}
            attempts = self._ledger.attempts(plan_id)
            if any(not one.is_finished(partition) for one in attempts for partition in one.partitions):
                kept.add(plan_id)
                continue
            try:
                counted = [
                    (partition, one.at_ns)
                    for one in attempts
                    for partition in (() if one.is_revert else filter(one.is_counted, one.partitions))
                ]
                undoable = self._undoable(plan_id)
            except DamagedFile:
                kept.add(plan_id)
                continue
            for source in sources:
                for partition, at_ns in counted:
                    applied[source, partition] = max(applied.get((source, partition), (0, "")), (at_ns, plan_id))
                for partition, at_ns in undoable:
                    standing[source, partition] = max(standing.get((source, partition), (0, "")), (at_ns, plan_id))
        return kept | {plan_id for _, plan_id in (*applied.values(), *standing.values())}

    def _undoable(self, plan_id: str) -> list[tuple[str, int]]:
        """The partitions of a plan that a revert would undo, with the time of the newest apply. Raises `DamagedFile`."""
        if not self._storage.exists(self._ledger.plan_name(plan_id)):
            return []
        found, damaged = to_undo(self._ledger, self._ledger.stored_plan(plan_id))
        if damaged:
            raise DamagedFile(plan_id, "; ".join(damaged.values()))
        return [(partition, one.at_ns) for partition, one in found.items()]

    def _damaged(self) -> set[str]:
        """Plans of which a recording, an attempt or the list of parts cannot be read: nobody can tell more, so they are kept."""
        lost = {one.plan_id for one in self._ledger.recorded.newest_first() if isinstance(one, LostRecording)}
        for plan_id in self._plan_ids():
            if self._ledger.all_attempts(plan_id)[1] or self._parts_of(plan_id) is None:
                lost.add(plan_id)
        return lost

    # -- what there is -------------------------------------------------------------------------------------------------

    def _plan_ids(self) -> list[str]:
        """Of plans, and of attempts whose plan is gone."""
        plans = {name.removesuffix(".json") for name in self._storage.names(f"{self._base}/plans")}
        return sorted(plans | set(self._storage.names(f"{self._base}/attempts")))

    def _parts_of(self, plan_id: str) -> tuple[Part, ...] | None:
        """The parts of a plan: nothing if it is half purged, None if it is damaged."""
        try:
            return self._ledger.stored_plan(plan_id).parts
        except PlanRefused:
            return ()
        except DamagedFile:
            return None

    def _touched(self, plan_id: str, recordings: Iterable[Recording], parts: Iterable[Part]) -> float:
        names = [
            self._ledger.plan_name(plan_id),
            f"{self._base}/attempts/{plan_id}",
            *map(self._ledger.part_folder, parts),
        ]
        return max([one.at_ns / 1e9 for one in recordings] + [self._storage.modified(name) for name in names])
