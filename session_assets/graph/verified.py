"""When a collection was verified last, as a whole, and how old that may be: one rule for the health endpoint and for alerts."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

from dagster import AssetCheckKey

from session_assets.graph.check_states import CheckState
from session_assets.graph.environment import Environment
from session_assets.settings import number
from session_assets.stores.places import places

VARIABLE = "SESSION_ASSETS_VERIFIED_WITHIN_HOURS"
_HOURS = 26  # the daily schedule, and two hours
_MOST = 24 * 365_000  # as good as for ever, and within what a calendar holds
Recounts = Mapping[AssetCheckKey, bool]
"""The checks of a verify, and whether each has partitions."""


def verified_within(env: Mapping[str, str] | None = None) -> timedelta:
    """How old a verify may be. Raises `UsageError` where the variable cannot be read."""
    return timedelta(hours=min(number(os.environ if env is None else env, VARIABLE, _HOURS), _MOST))


def recounts_of_slices(repository: Any) -> dict[str, Recounts]:
    """The checks of each slice's verify, for slices whose stores are configured."""
    from session_assets.slices import slices

    found: dict[str, Recounts] = {}
    for name, slice_ in slices().items():
        target = slice_.main
        if not slice_.unset() and target.verify:
            graph = repository.get_job(target.verify).asset_layer.asset_graph
            found[name] = {key: graph.get(key).partitions_def is not None for key in graph.asset_check_keys}
    return found


def of_today() -> str:
    """Changes when a variable leads to another database."""
    return hashlib.sha256(repr(sorted(places(os.environ).items())).encode()).hexdigest()


def of_these_stores(states: Iterable[CheckState]) -> list[CheckState]:
    """The states, where a run on another database than that of today counts as none: what it found is said of that one alone."""
    from session_assets.slices import slices

    environment, every = Environment.load(), slices()
    known: dict[tuple[str, str], bool] = {}

    def is_of_today(state: CheckState) -> bool:
        if state.run_id is None or state.slice_ not in every:
            return True
        key = (state.slice_, state.run_id)
        if key not in known:
            known[key] = environment.is_of(state.run_id, [one.variable for one in every[state.slice_].stores])
        return known[key]

    return [one if is_of_today(one) else CheckState(one.key, None) for one in states]


def last_verify(states: Iterable[CheckState], recounts: Recounts) -> datetime | None:
    """UTC; that of the check which was left out longest. None where nothing was verified as a whole.

    Where some checks have partitions, only those tell whether all of the collection was looked at.
    """
    split = any(recounts.values())
    found = [one.verified for one in states if recounts.get(one.key) is split and one.verified]
    return min(found, default=None)
