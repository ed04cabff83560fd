"""The tick of a drop sensor, once for all slices: complete files become partitions and runs, the others wait."""

from __future__ import annotations

import hashlib
import json
import os
import stat
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dagster as dg

from session_assets.drops.folder import drop_key, find_drops, fingerprint, is_complete, look
from session_assets.errors import BadInput
from session_assets.masking import mask_emails, safe_text

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
            name = _known_as(path)
            entry = self._now[name] = seen.get(name, {})
            if len(self._requests) >= _RUNS_PER_TICK or time.monotonic() > deadline:
                continue
            try:
                self._consider(path, name, entry, known)
            except OSError as error:
                self._note(f"{path.name}: {error.strerror}; looked at again")
            except BadInput as error:
                self._note(str(error))
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

    def _consider(self, path: Path, name: str, entry: dict[str, Any], known: set[str]) -> None:
        if path.is_symlink():
            raise BadInput(f"{path.name} is a symbolic link and is not followed: drop the file itself")
        seen = path.lstat()
        if not stat.S_ISREG(seen.st_mode):
            raise BadInput(f"{path.name} is not a regular file and is left")
        current = list(look(path))
        if entry.get("taken") == current:
            return
        previous = entry.get("look")
        if not is_complete(path, tuple(previous) if previous else None):
            self._now[name] = {**entry, "look": current}
            return
        partition = drop_key(path, fingerprint(path))
        attempt = entry.get("attempt", 0) + 1
        self._now[name] = {"look": current, "taken": current, "attempt": attempt}
        earlier = self.earlier(partition) if partition in known else None
        if earlier is not None:
            self._note(f"{path.name} was taken up before, as {earlier}: nothing to do")
            return
        # A run key counts for ever, attempts only while the file lies there: dropped again later it has another change time.
        run_key = f"{partition}#{attempt}.{seen.st_ctime_ns}"
        self._requests.append(dg.RunRequest(run_key=run_key, partition_key=partition))

    def _note(self, text: str) -> None:
        self._notes.append(safe_text(text))


def _known_as(path: Path) -> str:
    """The name of a file in the cursor, which people can see: names that hold e-mails are masked, and stay apart."""
    masked = mask_emails(path.name)
    return path.name if masked == path.name else f"{masked} {hashlib.sha256(os.fsencode(path.name)).hexdigest()[:12]}"
