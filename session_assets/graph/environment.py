"""What each step opens first: settings and storage of the current environment, and the summary that the terminal reads."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from session_assets.changes.ledger import Ledger
from session_assets.changes.target import Known, StoreTarget
from session_assets.changes.targets import Targets
from session_assets.settings import Settings
from session_assets.storage import Storage, file_name
from session_assets.stores.places import places

_PLACES = "places"


@dataclass(frozen=True)
class Environment:
    """Settings and storage. Opened per step: clients and paths do not outlive a process."""

    settings: Settings
    storage: Storage

    @staticmethod
    def load() -> Environment:
        settings = Settings.from_env()
        return Environment(settings, Storage(settings.storage, settings.home / "tmp"))

    def known(self, target: StoreTarget) -> Known:
        """The target that answers now, with the id that it has in this home."""
        return Targets(self.storage).resolve(target)

    def ledger(self, loop: str, target: Known | None = None) -> Ledger:
        """The ledger of a loop on a target; without one, all that it holds, to read."""
        return Ledger(self.storage, loop, target)

    def report(self, run_id: str, step: str, value: dict[str, Any]) -> None:
        """Keep what a step of a run has to tell, and of which databases."""
        self.storage.write_json(f"runs/{run_id}/{step}.json", value)
        if not self.storage.exists(f"runs/{run_id}/{_PLACES}.json"):
            self.storage.write_json(f"runs/{run_id}/{_PLACES}.json", places(os.environ))

    def reported(self, run_id: str, step: str) -> dict[str, Any] | None:
        name = f"runs/{run_id}/{step}.json"
        return self.storage.read_json(name) if self.storage.exists(name) else None

    def is_of(self, run_id: str, variables: Iterable[str]) -> bool:
        """Whether a run worked on the databases that variables name now. One of an older version did not say: taken as so."""
        then, now = self.reported(run_id, _PLACES), places(os.environ)
        return then is None or all(then.get(one) == now.get(one) for one in variables)

    def set_aside(self, run_id: str, failures: dict[str, str]) -> None:
        """Note partitions that failed in a run: its later steps leave them out, its last check fails for them."""
        for partition, reason in failures.items():
            self.storage.write_json(f"runs/{run_id}/failed/{file_name(partition)}.json", [partition, reason])

    def failures(self, run_id: str) -> dict[str, str]:
        """Partitions set aside so far in a run, with the reason."""
        folder = f"runs/{run_id}/failed"
        return dict(self.storage.read_json(f"{folder}/{name}") for name in self.storage.names(folder))
