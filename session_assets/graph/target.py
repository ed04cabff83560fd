"""What the terminal can verify, plan, apply and revert: one target a loop, named SLICE or SLICE/STEP."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from session_assets.graph.environment import Environment
from session_assets.graph.loop import Loop


@dataclass(frozen=True)
class Target:
    """A loop with its jobs. `standing` and `order` are None where its assets have no partitions."""

    loop: Loop
    variable: str
    plan: str
    apply: str  # plans and applies
    apply_pending: str  # applies what is planned
    verify: str | None = None
    one_session: str | None = None  # the job behind `--session`
    standing: Callable[[Environment], list[str]] | None = None
    """The partitions that hold documents now."""
    order: Callable[[], Sequence[str]] | None = None
    """All partition keys, in order."""
    checks: tuple[str, ...] = ()
    """Names of the step reports that hold check results, beside `checks`."""

    @property
    def name(self) -> str:
        return self.loop.name
