"""An apply or a revert of stored files in a process of its own that dies at a failpoint or when it is told to."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from multiprocessing.synchronize import Event
from pathlib import Path

from session_assets_tests.flow.stored_scenario import Folder

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload([__name__])


def _work(action: str, base: Path, failpoints: str, plan_id: str, begun: Event) -> None:
    begun.set()
    os.environ["SESSION_ASSETS_FAILPOINTS"] = failpoints
    folder = Folder(base)
    if action == "apply":
        folder.apply()
    else:
        folder.revert(folder.ledger.plan(plan_id))


def run(action: str, base: Path, failpoints: str, plan_id: str = "", *, kill_after: float | None = None) -> bool:
    """Do the work; returns whether the process was killed."""
    begun = _CONTEXT.Event()
    process = _CONTEXT.Process(target=_work, args=(action, base, failpoints, plan_id, begun))
    process.start()
    begun.wait(30)
    if kill_after is not None:
        time.sleep(kill_after)
        process.kill()
    process.join(60)
    assert process.exitcode in (0, -signal.SIGKILL), process.exitcode
    return process.exitcode != 0
