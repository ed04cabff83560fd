"""Ctrl-C ends a command within seconds, whatever its driver waits for.

Python tells nobody of a signal while a driver's C code waits for a server, and Dagster finishes its step first. So another
thread counts from the signal on, and ends the process as `kill -9` would: the next run of the same command goes on.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time

STOPPED = "stopped; run the same command again to go on"
INTERRUPTED = 130
_SECONDS = 8.0


def end_in_time() -> None:
    """From now on the process ends some seconds after SIGINT at the latest. Call in the main thread."""
    read, write = os.pipe()
    os.set_blocking(write, False)
    signal.set_wakeup_fd(write, warn_on_full_buffer=False)
    threading.Thread(target=_wait, args=(read,), name="interrupts", daemon=True).start()


def _wait(read: int) -> None:
    while signal.SIGINT not in os.read(read, 64):
        pass
    time.sleep(_SECONDS)
    sys.stderr.write(f"{STOPPED}\n")
    sys.stderr.flush()
    os._exit(INTERRUPTED)
