"""What a step tells of its plan, and the look that decides whether there may be one at all."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from session_assets.changes.evidence import Lack
from session_assets.changes.tally import Tally
from session_assets.graph.environment import Environment
from session_assets.graph.evidence import refuse
from session_assets.pipeline import Planned


@dataclass
class Judged:
    """The judge of a plan: what too little was seen for is refused before it is recorded, and told all the same."""

    environment: Environment
    run_id: str
    loop: str
    lack_of: Callable[[Tally], Lack | None]
    lack: Lack | None = None

    def __call__(self, tally: Tally) -> None:
        """Raises `NoEvidence`. A plan that was left behind would be applied after the next good verify."""
        self.lack = self.lack_of(tally)
        self.environment.report(self.run_id, "plan", _read_summary(self.loop, tally, self.lack))
        refuse(self.lack, f"plan {self.loop}")

    def tell(self, planned: Planned) -> None:
        self.environment.report(self.run_id, "plan", plan_summary(self.loop, planned, self.lack))


def plan_summary(loop: str, planned: Planned, lack: Lack | None = None) -> dict[str, Any]:
    """What the terminal prints of a plan."""
    return {
        **_read_summary(loop, planned.tally, lack),
        "plan_id": planned.plan.plan_id,
        "planned": planned.plan.rows,
        "lists": planned.lists,
        "failed": planned.failures,
    }


def _read_summary(loop: str, tally: Tally, lack: Lack | None) -> dict[str, Any]:
    return {
        "loop": loop,
        "plan_id": None,
        "partitions": tally.partitions,
        **tally.all_figures().as_dict(),
        "lack": None if lack is None else lack.as_dict(),
        "planned": 0,
        "classes": tally.total_classes(),
        "reasons": tally.total_reasons(),
        "lists": {},
        "failed": {},
    }
