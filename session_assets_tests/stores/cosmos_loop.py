"""The loop over sessions in Cosmos DB, and a process of its own that does part of it and dies at a failpoint.

Processes come from a fork server that has loaded everything, so that a kill costs a fraction of a second.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from session_assets.stores.cosmos import container
from session_assets.stores.cosmos_changes import CosmosStore
from session_assets_tests.changes.scenario import Loop
from session_assets_tests.fork_server import CONTEXT
from session_assets_tests.stores.cosmos_scenario import store_of


class CosmosLoop(Loop):
    """A ledger, and `collection` is the container."""

    @property
    def store(self) -> CosmosStore:
        return store_of(self.collection)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Work:
    """What the process does: `apply`, or `revert` of a plan."""

    settings: Mapping[str, str]
    folder: Path
    plan_id: str
    action: str = "apply"
    failpoints: str = ""


def loop_of(settings: Mapping[str, str], folder: Path) -> CosmosLoop:
    """A loop with a ledger on disk."""
    sessions = container("user_sessions", settings)
    return CosmosLoop.new(sessions, folder, base=str(folder / "storage"), batch_size=4)  # type: ignore[arg-type]


def _work(work: Work) -> None:
    os.environ["SESSION_ASSETS_FAILPOINTS"] = work.failpoints
    loop = loop_of(work.settings, work.folder)
    plan = loop.ledger.plan(work.plan_id)
    loop.apply(plan) if work.action == "apply" else loop.revert(plan)


def run(work: Work) -> bool:
    """Do the work; returns whether the process was killed."""
    process = CONTEXT.Process(target=_work, args=(work,))
    process.start()
    process.join(60)
    assert process.exitcode in (0, -signal.SIGKILL), process.exitcode
    return process.exitcode != 0
