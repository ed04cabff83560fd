"""An import, a publication or a revert in a process of its own that dies at a failpoint or when it is told to.

Processes come from a fork server that has loaded everything, so that a kill costs a fraction of a second.
"""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass, field
from multiprocessing.context import ForkServerProcess
from multiprocessing.synchronize import Event

from session_assets.stores import kintell_outbox, kintell_revert
from session_assets.stores.postgres import Database
from session_assets_tests.fork_server import CONTEXT
from session_assets_tests.kintell.scenario import VARIABLE, File, Kintell


@dataclass(frozen=True)
class Work:
    """What the process does: `import` of a file, `publish`, or `revert` of a job."""

    action: str
    url: str = field(repr=False)
    file: File | None = None
    job_id: str = ""
    nats: str = ""
    batch_size: int = 10
    failpoints: str = ""
    page: int = 20  # events, or rows to undo, between two notes of how far it is


def _work(work: Work, begun: Event) -> None:
    begun.set()
    os.environ["SESSION_ASSETS_FAILPOINTS"] = work.failpoints
    kintell = Kintell(Database.from_env(VARIABLE, {VARIABLE: work.url}))
    if work.action == "import":
        assert work.file is not None
        kintell.run(work.file, batch_size=work.batch_size)
    elif work.action == "publish":
        kintell_outbox._PAGE = work.page
        kintell_outbox.publish_events(kintell.database, {"NATS_URL": work.nats})
    else:
        kintell_revert._BATCH = work.page
        kintell.revert(work.job_id)


def start(work: Work) -> ForkServerProcess:
    """A process that has loaded everything and begins its work now."""
    begun = CONTEXT.Event()
    process = CONTEXT.Process(target=_work, args=(work, begun))
    process.start()
    begun.wait(30)
    return process


def run(work: Work, *, kill_after: float | None = None) -> bool:
    """Do the work; returns whether the process was killed."""
    process = start(work)
    if kill_after is not None:
        time.sleep(kill_after)
        process.kill()
    process.join(60)
    assert process.exitcode in (0, -signal.SIGKILL), process.exitcode
    return process.exitcode != 0
