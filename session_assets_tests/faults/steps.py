"""The steps of each slice that read or write a store, on a right target, and the state that each of them leaves."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from session_assets.stores.postgres import Database
from session_assets_tests.flow.test_kills import state as state_of_flow
from session_assets_tests.kintell.scenario import Kintell
from session_assets_tests.kintell.streams import messages
from session_assets_tests.slices.sql_worlds import FlowWorld, KintellWorld
from session_assets_tests.slices.worlds import Command, CosmosWorld, MongoWorld, Variables, World
from session_assets_tests.web.acceptance.terminal import Answer, Running, Terminal

_WRITTEN = re.compile(r'"(updated_at|updatedAt|enhanced_at|backfill_updated_at)": ("[^"]*"|\{"\$date": "[^"]*"\})')
_KEYS = re.compile(r'\{"\$oid": "[0-9a-f]{24}"\}')
_NOW = re.compile(
    r"20(2[6-9]|[3-9][0-9])-[0-9]{2}-[0-9]{2}T[0-9:.+]*"
)  # the sample is of 2024, but for defaults of columns
Ids = list[str]


@dataclass(frozen=True)
class Step:
    """A command of a slice. `of` makes it from the ids that the steps before it told; `code` is what it exits with."""

    name: str
    of: Callable[[Ids], Command]
    code: int = 0
    tells: str = "plan_id"


def _loop(slice_: str) -> tuple[Step, ...]:
    return (
        Step("plan", lambda _: ("plan", slice_)),
        Step("apply", lambda _: ("apply", slice_, "--batch-size", "3")),
        Step("revert", lambda ids: ("revert", slice_, "--plan-id", ids[-1], "--batch-size", "3")),
    )


STEPS: dict[str, tuple[Step, ...]] = {
    **{slice_: _loop(slice_) for slice_ in ("web", "contest", "identity")},
    "kintell": (
        Step("import", lambda ids: ("import", ids[0], "--batch-size", "3"), code=1, tells="job_id"),  # a reject is open
        Step("revert", lambda ids: ("revert", "kintell", "--plan-id", ids[-1])),
    ),
    "flow": (
        Step("expand, backfill", lambda _: ("apply", "flow")),
        Step("rehearsal", lambda _: ("apply", "flow/rehearsal")),
        Step("contract", lambda _: ("apply", "flow/contract", "--waive-staging", "a test")),
        Step("revert of contract", lambda ids: ("revert", "flow", "--plan-id", ids[-1])),
        Step("revert", lambda ids: ("revert", "flow", "--plan-id", ids[0])),
    ),
}


@dataclass
class Scene:
    """A slice on a target of its own, and what the steps so far told."""

    world: World
    variable: str
    url: str
    ids: Ids
    nats: str = ""
    """Address of the server that events are published to."""

    def until(self, cli: Terminal, step: Step) -> None:
        """All steps before one."""
        for one in STEPS[self.world.slice_]:
            if one is step:
                return
            self.note(one, self.run(cli, one))

    def start(self, cli: Terminal, step: Step, *options: str, **variables: str) -> Running:
        return cli.start(*step.of(self.ids), *options, **variables)

    def run(self, cli: Terminal, step: Step) -> Answer:
        return self.start(cli, step, "--json").wait()

    def note(self, step: Step, answer: Answer) -> None:
        assert answer.code == step.code, (step.name, answer)
        if (told := answer.body.get(step.tells)) and step.name != "revert":
            self.ids.append(told)

    def state(self) -> Any:
        """What the target holds, without times of writing and ids that differ from run to run."""
        if isinstance(self.world, KintellWorld):
            kintell = Kintell(Database.from_env(self.variable, {self.variable: self.url}))
            text = repr(kintell.dump())
            for key, mail in kintell.all("SELECT id, email FROM users"):
                text = text.replace(str(key), mail)
            return text, self._events()
        if isinstance(self.world, FlowWorld):
            return _NOW.sub("now", repr(state_of_flow(self.world.guide)))
        made = _KEYS if self.world.slice_ == "contest" else _WRITTEN  # the sample makes keys of its own each time
        return sorted(made.sub("", _WRITTEN.sub(r'"\1"', one)) for one in self.world.dump({}))

    def _events(self) -> list[tuple[str, str]]:
        """What was published, each message as often as the stream holds it."""
        published = messages(self.nats) if self.nats else []
        return sorted((subject, body["data"]["externalSessionId"]) for _, subject, body in published)


def scene_of(slice_: str, variables: Variables, folder: Path) -> Scene:
    """A slice on an empty database, filled. `variables` lead to it; the first is the server's address."""
    variable, url = next(iter(variables.items()))
    if slice_ == "identity":
        scene = Scene(CosmosWorld(variables), variable, url, [])
    elif slice_ == "kintell":
        folder.mkdir(exist_ok=True)
        scene = Scene(world := KintellWorld(url, folder), variable, url, [str(world.file)])
    elif slice_ == "flow":
        scene = Scene(FlowWorld(url), variable, url, [])
    else:
        scene = Scene(MongoWorld(slice_, variable, url, (), ""), variable, url, [])
    scene.world.fill()
    return scene
