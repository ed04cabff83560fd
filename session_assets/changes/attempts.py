"""The attempts of a ledger: which there are on a plan and a target, which of them are broken, and how one begins.

{base}/attempts/{plan_id}/{number}-{time}-{random}/…   see `attempt.py`
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterable

from session_assets.changes.attempt import Attempt, BrokenAttempt
from session_assets.changes.recordings import Recording, Recordings, intact
from session_assets.changes.target import Known
from session_assets.errors import DamagedFile
from session_assets.storage import Storage


class Attempts:
    """The attempts of one ledger, below its folder `base`; without `target` those on all targets."""

    def __init__(self, storage: Storage, base: str, target: Known | None, recorded: Recordings) -> None:
        self._storage = storage
        self._base = base
        self._target = target
        self._recorded = recorded

    def all(self, plan_id: str) -> tuple[list[Attempt], list[BrokenAttempt]]:
        """The attempts on a plan, oldest first, and those that cannot be read. Of a plan that is being purged, some are gone."""
        folder = f"{self._base}/attempts/{plan_id}"
        attempts: list[Attempt] = []
        broken: list[BrokenAttempt] = []
        is_recorded = bool(names := self._storage.names(folder)) and bool(self._recorded.names(plan_id))
        for name in names:
            try:
                attempt = Attempt.find(self._storage, f"{folder}/{name}")
            except DamagedFile as error:
                broken.append(BrokenAttempt.look(self._storage, f"{folder}/{name}", error))
                continue
            if attempt is not None:
                attempts.append(attempt)
            elif is_recorded:
                broken.append(BrokenAttempt.look(self._storage, f"{folder}/{name}"))
        if self._target is None or not attempts:
            return attempts, broken
        is_old = any(one.target is None for one in attempts)
        recorded = [*intact(self._recorded.of_plan(plan_id))] if is_old else []
        return [one for one in attempts if self._is_on_mine(one, recorded)], broken

    def start(
        self,
        plan_id: str,
        partitions: Iterable[str],
        *,
        batch_size: int,
        run_id: str,
        undoes: dict[str, int] | None = None,
        undoes_too: dict[str, list[int]] | None = None,
        rest_of: dict[str, int] | None = None,
    ) -> Attempt:
        """Begin an attempt: an apply, or where `undoes` maps partitions to attempt numbers, a revert."""
        base, at = f"{self._base}/attempts/{plan_id}", time.time_ns()
        number = 1 + max((int(name.partition("-")[0]) for name in self._storage.names(base)), default=0)
        # its own folder, also where two start at once on other partitions
        folder = f"{base}/{number:05d}-{at:020d}-{secrets.token_hex(4)}"
        attempt = Attempt(
            self._storage, folder, number, plan_id, tuple(partitions), batch_size, run_id, at, undoes,
            None if self._target is None else self._target.id, undoes_too, rest_of,
        )  # fmt: skip
        attempt.save()
        return attempt

    def _is_on_mine(self, attempt: Attempt, recorded: list[Recording]) -> bool:
        """Whether an attempt was on this target; `recorded` are all recordings of its plan.

        Attempts of version 0.1 name no target. One that planned first is of the target on which its run recorded the plan.
        Any other may be of each target on which the plan was recorded before it began.
        """
        assert self._target is not None
        if attempt.target is not None:
            return self._target.owns(attempt.target, None)
        made = [one for one in recorded if one.run_id == attempt.run_id]
        before = [one for one in recorded if one.at_ns <= attempt.at_ns]
        return any(self._target.owns(one.target, one.source) for one in made or before)


def blamed(broken: Iterable[BrokenAttempt], partition: str, since_ns: int = 0) -> DamagedFile | None:
    """The damaged file of an attempt in a partition that began since a time, or at one that nobody can tell."""
    return next(
        (one.error for one in broken if partition in one.partitions and (one.at_ns or since_ns) >= since_ns), None
    )


def counted(found: Attempt | DamagedFile, partition: str) -> Attempt | DamagedFile | None:
    """An apply that finished a partition, or the damaged file that hides whether it did."""
    try:
        return found if isinstance(found, DamagedFile) or found.is_counted(partition) else None
    except DamagedFile as error:
        return error
