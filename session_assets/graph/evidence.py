"""What the last verify or plan of a target could say at all (E1): it decides what may follow.

    {slice}/evidence/{target}.json   the lack that was found last, if any, and the most documents that were ever found

A target whose last look found no evidence is not written to, and no repair starts by itself.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from session_assets.changes.evidence import (
    Figures,
    Holding,
    Lack,
    Target,
    Types,
    lack_of_documents,
    lack_of_target,
    worst,
)
from session_assets.changes.target import Known
from session_assets.errors import NoEvidence, PlanRefused
from session_assets.graph.environment import Environment

ALLOW_EMPTY_TAG = "session_assets/allow_empty"
"""Of a run for which somebody said that its target may be empty."""
ALLOW_EMPTY = "SESSION_ASSETS_ALLOW_EMPTY"


class Evidence:
    """The evidence of one slice on one target."""

    def __init__(self, environment: Environment, slice_: str, variable: str, known: Known) -> None:
        self._environment, self._slice, self._variable, self._known = environment, slice_, variable, known

    def look(
        self,
        holdings: Sequence[Holding],
        figures: Figures,
        unmatched: int,
        *,
        run_id: str,
        tags: Mapping[str, str],
        partitions: Iterable[str] | None = None,
        types: Types = str,
        unclaimed: str = "",
        of_plan: bool = False,
    ) -> Lack | None:
        """Decide whether a run of these partitions (None: all) saw enough, and keep the answer.

        Too many unreadable documents fail a verify, and what it says stands until the next one. A plan leaves such documents out:
        it neither sets nor clears that.
        """
        target = self._target(holdings, tags)
        lack = worst([lack_of_target(target, types), lack_of_documents(target, figures, unmatched, types, unclaimed)])
        if not (of_plan and lack is not None and not lack.everywhere):
            self._keep(lack, holdings, run_id, partitions)
        return lack

    def note(self, lack: Lack | None, run_id: str) -> None:
        """Keep what a look found that counts its evidence in another way than by collections."""
        self._keep(lack, (), run_id, None)

    def lack_of(
        self,
        holdings: Sequence[Holding],
        tags: Mapping[str, str],
        figures: Figures = Figures(),  # noqa: B008 - frozen
        types: Types = str,
    ) -> Lack | None:
        """What a look at single documents lacks, or can be told without reading any; nothing is kept."""
        target = self._target(holdings, tags)
        unread = lack_of_documents(target, figures, 0, types) if figures.unreadable else None
        return worst([lack_of_target(target, types), unread])

    def _target(self, holdings: Sequence[Holding], tags: Mapping[str, str]) -> Target:
        return Target(
            self._known.shown,
            self._variable,
            holdings,
            self.seen(),
            allow_empty=ALLOW_EMPTY_TAG in tags or self._slice in allowed_empty(),
            most_unreadable=self._environment.settings.max_unreadable_share,
        )

    def seen(self) -> dict[str, int]:
        """The most documents that were ever found in this place, by name."""
        found: dict[str, int] = {}
        for name in self._known.names | self._known.before:
            for holding, count in self._stored(name).get("seen", {}).items():
                found[holding] = max(count, found.get(holding, 0))
        return found

    def _keep(
        self, lack: Lack | None, holdings: Sequence[Holding], run_id: str, partitions: Iterable[str] | None
    ) -> None:
        seen = self.seen()
        for one in holdings:
            seen[one.name] = max(one.documents or 0, seen.get(one.name, 0))
        before = self._stored(self._known.id)
        about = None if partitions is None else sorted(partitions)
        kept = {
            "lack": None if lack is None else lack.as_dict(),
            "partitions": about,
            "run_id": run_id,
            "at": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        if before.get("lack") and about is not None and not _covers(about, before["partitions"]):
            # Some partitions say nothing of the others: what was said of those stands.
            if lack is None or (before["lack"]["is_error"] and not lack.is_error):
                kept = {name: before[name] for name in kept}
            elif before["lack"]["is_error"]:
                kept["partitions"] = _joined(about, before["partitions"])
        self._environment.storage.write_json(self._name(self._known.id), {**kept, "seen": seen})

    def _stored(self, target_id: str) -> dict[str, Any]:
        return self._environment.storage.find_json(self._name(target_id)) or {}

    def _name(self, target_id: str) -> str:
        return _name(self._slice, target_id)


def require_evidence(environment: Environment, slice_: str, known: Known, partitions: Iterable[str]) -> None:
    """Raise `PlanRefused` where the last look at one of these partitions found no evidence: nothing may be written then."""
    stored: dict[str, Any] = environment.storage.find_json(_name(slice_, known.id)) or {}
    lack = stored.get("lack")
    if not lack or not lack["is_error"]:
        return
    if stored["partitions"] is None or set(stored["partitions"]) & set(partitions):
        raise PlanRefused(
            f"the last look at {slice_} (run {stored['run_id']}) found no evidence, so nothing is applied:"
            f" {lack['text'].rstrip('.')}. {lack['next_step']}"
        )


def refuse(lack: Lack | None, what: str, done: str = "planned") -> None:
    """Raise `NoEvidence` where a target gives none at all: a plan of nothing would read as *nothing to do*."""
    if lack is not None and lack.is_error and lack.everywhere:
        raise NoEvidence(f"{what} found no evidence, so nothing is {done}: {lack.text.rstrip('.')}. {lack.next_step}")


def allowed_empty(env: Mapping[str, str] | None = None) -> set[str]:
    """The slices whose collections may be empty."""
    text = (os.environ if env is None else env).get(ALLOW_EMPTY, "")
    return {one.strip() for one in text.split(",") if one.strip()}


def _name(slice_: str, target_id: str) -> str:
    return f"{slice_}/evidence/{target_id}.json"


def _covers(partitions: Sequence[str], before: Sequence[str] | None) -> bool:
    return before is not None and set(before) <= set(partitions)


def _joined(partitions: Sequence[str], before: Sequence[str] | None) -> list[str] | None:
    return None if before is None else sorted({*partitions, *before})
