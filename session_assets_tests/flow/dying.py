"""Work in a process of its own that dies at a failpoint or when it is told to.

Processes come from a fork server that has loaded everything, so that a kill costs a fraction of a second.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from multiprocessing.synchronize import Event
from typing import Any

from session_assets_tests.fork_server import CONTEXT


def _begin(work: Callable[..., None], arguments: tuple[Any, ...], failpoints: str, begun: Event) -> None:
    begun.set()
    os.environ["SESSION_ASSETS_FAILPOINTS"] = failpoints
    work(*arguments)


def is_killed(
    work: Callable[..., None], *arguments: Any, failpoints: str = "", kill_after: float | None = None
) -> bool:
    """Do the work, a function of a module; returns whether the process was killed."""
    begun = CONTEXT.Event()
    process = CONTEXT.Process(target=_begin, args=(work, arguments, failpoints, begun))
    process.start()
    begun.wait(30)
    if kill_after is not None:
        time.sleep(kill_after)
        process.kill()
    process.join(60)
    assert process.exitcode in (0, -signal.SIGKILL), process.exitcode
    return process.exitcode != 0
