"""The tick of a drop sensor, once for all slices: complete files become partitions and runs, the others wait."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dagster as dg

from session_assets.drops.folder import drop_key, find_drops, fingerprint, is_complete, look
from session_assets.errors import BadInput
from session_assets.masking import safe_text

_TICK_SECONDS = 40.0  # a tick has 60
_RUNS_PER_TICK = 25


@dataclass
class DropTick:
    """One look at a folder. `earlier` says what a partition's content is known as, where nothing is left to do for it."""

    context: dg.SensorEvaluationContext
    folder: Path
    partitions: str
    earlier: Callable[[str], str | None]
    beside: tuple[str, ...] = ()
    _requests: list[dg.RunRequest] = field(default_factory=list)
    _notes: list[str] = field(default_factory=list)
    _now: dict[str, Any] = field(default_factory=dict)

    def run(self) -> dg.SensorResult | dg.SkipReason:
        """One run a new file. A file whose content was taken up before is told, not run."""
        if not self.folder.is_dir():
            return dg.SkipReason(f"{self.folder} does not exist: create it to drop files there")
        seen: dict[str, Any] = json.loads(self.context.cursor) if self.context.cursor else {}
        known = set(self.context.instance.get_dynamic_partitions(self.partitions))
        deadline = time.monotonic() + _TICK_SECONDS
        for path in find_drops(self.folder, beside=self.beside):
            entry = self._now[path.name] = seen.get(path.name, {})
            if len(self._requests) >= _RUNS_PER_TICK or time.monotonic() > deadline:
                continue
            try:
                self._consider(path, entry, known)
            except OSError as error:
                self._notes.append(f"{path.name}: {error.strerror}; looked at again")
            except BadInput as error:
                self._notes.append(safe_text(error))
        keys = [str(request.partition_key) for request in self._requests]
        fresh = [one for one in dict.fromkeys(keys) if one not in known]
        if self._notes:
            self.context.log.info("; ".join(self._notes[:20]))
        add = dg.DynamicPartitionsDefinition(name=self.partitions).build_add_request(fresh)
        return dg.SensorResult(
            run_requests=self._requests,
            cursor=json.dumps(self._now),
            dynamic_partitions_requests=[add] if fresh else [],
            skip_reason=None if self._requests else dg.SkipReason("; ".join(self._notes[:5]) or "no new complete file"),
        )

    def _consider(self, path: Path, entry: dict[str, Any], known: set[str]) -> None:
        if path.is_symlink():
            raise BadInput(f"{path.name} is a symbolic link and is not followed: drop the file itself")
        current = list(look(path))
        if entry.get("taken") == current:
            return
        previous = entry.get("look")
        if not is_complete(path, tuple(previous) if previous else None):
            self._now[path.name] = {**entry, "look": current}
            return
        partition = drop_key(path, fingerprint(path))
        attempt = entry.get("attempt", 0) + 1
        self._now[path.name] = {"look": current, "taken": current, "attempt": attempt}
        earlier = self.earlier(partition) if partition in known else None
        if earlier is not None:
            self._notes.append(f"{path.name} was taken up before, as {earlier}: nothing to do")
            return
        self._requests.append(dg.RunRequest(run_key=f"{partition}#{attempt}", partition_key=partition))
