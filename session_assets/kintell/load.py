"""The way of batches from the validated file into the store: two at a time, committed in order, resumable at each of them."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

from session_assets.errors import SessionAssetsError
from session_assets.kintell.batch import Batch, Written
from session_assets.kintell.jobs import Conflict, Job
from session_assets.progress import tell

_TRIES = 8  # of a batch whose rows somebody else writes at the same moment
_LANES = 2


class Lane(Protocol):
    """A transaction of the store, as `stores.kintell_load.Lane`."""

    def write(self, batch: Batch, *, alone: bool = ...) -> Written: ...
    def commit(self, batch: Batch, written: Written, previous: int) -> bool: ...
    def rollback(self) -> None: ...
    def close(self) -> None: ...


@dataclass(frozen=True)
class Loaded:
    """Where the import stands: the last row of the last committed batch, and whether it stopped because a pause was asked."""

    last_row: int
    paused: bool


def load_batches(
    job: Job, batches: Iterable[Batch], open_lane: Callable[[], Lane], *, after_row: int | None = None
) -> Loaded:
    """Write all batches that follow the job's checkpoint, or another row, in order; tells progress as `kintell rows`.

    Whatever is raised, exactly the batches up to the job's checkpoint are committed: resume from there. Raises what the
    lanes raise, and `SessionAssetsError` where others keep writing the same rows.
    """
    lanes: list[Lane] = []
    try:
        lanes.extend(open_lane() for _ in range(_LANES))
        with ThreadPoolExecutor(_LANES, "kintell-lane") as pool:
            return _Loading(job, lanes, pool, job.last_processed_row if after_row is None else after_row).run(batches)
    finally:
        for lane in lanes:
            lane.close()


@dataclass(frozen=True)
class _Pending:
    batch: Batch
    lane: Lane
    written: Future[Written]


class _Loading:
    def __init__(self, job: Job, lanes: list[Lane], pool: ThreadPoolExecutor, last_row: int) -> None:
        self._job = job
        self._free = deque(lanes)
        self._pool = pool
        self._pending: deque[_Pending] = deque()
        self._last_row = last_row
        self._paused = False

    def run(self, batches: Iterable[Batch]) -> Loaded:
        for batch in batches:  # read while the lanes are at work
            if not self._free:
                self._settle()
            if self._paused:
                break
            lane = self._free.popleft()
            self._pending.append(_Pending(batch, lane, self._pool.submit(lane.write, batch)))
        while self._pending and not self._paused:
            self._settle()
        self._give_up()
        return Loaded(self._last_row, self._paused)

    def _settle(self) -> None:
        """Commit the oldest batch; where it met another writer, it and its follower are written again one by one."""
        first = self._pending.popleft()
        try:
            written = first.written.result()
        except Conflict:
            again = [first, *self._give_up()]
            for one in again:
                if not self._paused:
                    self._alone(one)
                self._free.append(one.lane)
            return
        self._commit(first.batch, first.lane, written)
        self._free.append(first.lane)

    def _give_up(self) -> list[_Pending]:
        """Take back what is written and not committed."""
        given_up = list(self._pending)
        self._pending.clear()
        for one in given_up:
            if not isinstance(one.written.exception(), Conflict):
                one.lane.rollback()
        return given_up

    def _alone(self, one: _Pending) -> None:
        for trial in range(_TRIES):
            try:
                written = one.lane.write(one.batch, alone=True)
            except Conflict as error:
                if trial == _TRIES - 1:
                    raise SessionAssetsError(
                        f"Rows up to {one.batch.last_row} of {self._job.file_name} could not be written in {_TRIES} tries"
                        f" ({error}): others write the same sessions. Resume job {self._job.id} when they have finished."
                    ) from None
                time.sleep(0.05 * 2**trial)
            else:
                self._commit(one.batch, one.lane, written)
                return

    def _commit(self, batch: Batch, lane: Lane, written: Written) -> None:
        self._paused = lane.commit(batch, written, self._last_row)
        self._last_row = batch.last_row
        tell("kintell rows", batch.last_row, self._job.total_rows)
