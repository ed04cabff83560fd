"""Named failpoints: how tests stop, kill or break the loop between any two of its steps.

`SESSION_ASSETS_FAILPOINTS` holds `name=action` pairs separated by `;`. Actions: `kill` (SIGKILL to this process), `raise`,
`pause:PATH` (creates PATH, then waits until somebody removes it). `name@N=action` acts at the N-th time only. `@PATH` as the
whole value reads the pairs from a file each time, so that a running server can be told otherwise.
Without the variable a failpoint costs one dictionary look-up.
"""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from pathlib import Path

VARIABLE = "SESSION_ASSETS_FAILPOINTS"
_seen: Counter[str] = Counter()


class FailpointRaised(RuntimeError):
    """Raised by the `raise` action."""


def armed() -> bool:
    """Whether any failpoint is set: lets loops over many names cost nothing."""
    return bool(os.environ.get(VARIABLE))


def failpoint(name: str) -> None:
    """Act as the environment says for this name; do nothing otherwise."""
    spec = os.environ.get(VARIABLE)
    if not spec:
        return
    if spec.startswith("@"):
        spec = Path(spec[1:]).read_text() if Path(spec[1:]).exists() else ""
    _seen[name] += 1
    for pair in spec.split(";"):
        target, _, action = pair.partition("=")
        wanted, _, nth = target.strip().partition("@")
        if wanted == name and (not nth or int(nth) == _seen[name]):
            _act(name, action.strip())


def _act(name: str, action: str) -> None:
    if action == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    elif action == "raise":
        raise FailpointRaised(f"failpoint {name}")
    elif action.startswith("pause:"):
        marker = Path(action.removeprefix("pause:"))
        marker.touch()
        while marker.exists():
            time.sleep(0.01)
    else:
        raise ValueError(f"{VARIABLE}: unknown action for {name}")
