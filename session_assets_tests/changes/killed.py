"""An apply, a revert or a purge in a process of its own that dies at a failpoint, in the middle of a write, or when told to.

Processes come from a fork server that has loaded everything, so that a kill costs a fraction of a second.
"""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import polars as pl
from pymongo import MongoClient

from session_assets.changes import revert as revert_module
from session_assets.changes import session as session_module
from session_assets.changes.apply import apply_part
from session_assets.changes.purge import Purge
from session_assets.changes.store import Written
from session_assets.stores.mongo_changes import MongoStore
from session_assets_tests.changes.scenario import Loop
from session_assets_tests.fork_server import CONTEXT


@dataclass(frozen=True)
class Work:
    """What the process does: `apply`, `revert` of a plan, or `purge` of all that nothing stands on."""

    uri: str
    base: str
    folder: Path
    plan_id: str
    action: str = "apply"
    workers: int = 2
    failpoints: str = ""
    half_write: int = 0  # the write in the middle of which the process dies


class HalfWriting(MongoStore):
    """Dies in the middle of a write."""

    left = 0

    def write(self, changes: pl.DataFrame) -> Written:
        HalfWriting.left -= 1
        if HalfWriting.left == 0:
            super().write(changes.head(changes.height // 2))
            os.kill(os.getpid(), signal.SIGKILL)
        return super().write(changes)


class _Loop(Loop):
    @property
    def store(self) -> HalfWriting:
        return HalfWriting(self.collection, "WEB_MONGO_URI")


def _work(work: Work) -> None:
    os.environ["SESSION_ASSETS_FAILPOINTS"] = work.failpoints
    HalfWriting.left = work.half_write
    session_module.apply_part = partial(apply_part, workers=work.workers)
    revert_module.apply_part = partial(apply_part, workers=work.workers)
    with MongoClient(work.uri) as client:
        loop = _Loop.new(client.get_default_database()["documents"], work.folder, base=work.base)
        if work.action == "purge":
            Purge(loop.storage, loop.ledger.loop, datetime.now(UTC) + timedelta(days=1)).remove()
            return
        plan = loop.ledger.plan(work.plan_id)
        loop.apply() if work.action == "apply" else loop.revert(plan)


def run(work: Work, *, kill_after: float | None = None) -> bool:
    """Do the work; returns whether the process was killed."""
    process = CONTEXT.Process(target=_work, args=(work,))
    process.start()
    if kill_after is not None:
        time.sleep(kill_after)
        process.kill()
    process.join(60)
    assert process.exitcode in (0, -signal.SIGKILL), process.exitcode
    return process.exitcode != 0
