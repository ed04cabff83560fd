"""A step of the migration in a process of its own that dies at a failpoint or when it is told to."""

from __future__ import annotations

from dataclasses import dataclass, field

from session_assets.embedded.flow_sample import PlantedFlow
from session_assets_tests.flow.dying import is_killed
from session_assets_tests.flow.scenario import Guide, contracted, downgraded


@dataclass(frozen=True)
class Work:
    """What the process does: go `up` through all steps, or `down` again."""

    url: str = field(repr=False)
    direction: str
    failpoints: str = ""


def _work(work: Work) -> None:
    flow = Guide(work.url, PlantedFlow(0)).flow()
    if work.direction == "down":
        downgraded(flow)
    elif flow.state() != "contracted":
        with flow.reading() as opened:
            is_begun = not all(one.has_old for one in opened.layout.places)
        if is_begun:
            flow.contract()
        else:
            contracted(flow)


def run(work: Work, *, kill_after: float | None = None) -> bool:
    """Do the work; returns whether the process was killed."""
    return is_killed(_work, work, failpoints=work.failpoints, kill_after=kill_after)
