"""A step of the migration in a process of its own that dies at a failpoint or when it is told to.

Processes come from a fork server that has loaded everything, so that a kill costs a fraction of a second.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from dataclasses import dataclass, field
from multiprocessing.synchronize import Event

from session_assets.embedded.flow_sample import PlantedFlow
from session_assets_tests.flow.scenario import Guide, contracted, downgraded

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload([__name__, "alembic.command", "alembic.config"])


@dataclass(frozen=True)
class Work:
    """What the process does: go `up` through all steps, or `down` again."""

    url: str = field(repr=False)
    direction: str
    failpoints: str = ""


def _work(work: Work, begun: Event) -> None:
    begun.set()
    os.environ["SESSION_ASSETS_FAILPOINTS"] = work.failpoints
    flow = Guide(work.url, PlantedFlow(0)).flow()
    if work.direction == "up":
        if flow.state() != "contracted":
            with flow.reading() as opened:
                is_begun = not all(one.has_old for one in opened.layout.places)
            if is_begun:
                flow.contract()
            else:
                contracted(flow)
    else:
        downgraded(flow)


def run(work: Work, *, kill_after: float | None = None) -> bool:
    """Do the work; returns whether the process was killed."""
    begun = _CONTEXT.Event()
    process = _CONTEXT.Process(target=_work, args=(work, begun))
    process.start()
    begun.wait(30)
    if kill_after is not None:
        time.sleep(kill_after)
        process.kill()
    process.join(60)
    assert process.exitcode in (0, -signal.SIGKILL), process.exitcode
    return process.exitcode != 0
