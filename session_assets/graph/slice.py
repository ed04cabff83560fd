"""What a slice is to everybody outside it: one record, so that nobody lists the slices, their stores or their jobs by hand."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field

import dagster as dg

from session_assets.graph.loop import Loop
from session_assets.graph.target import AnyTarget
from session_assets.stores.reachable import Store


@dataclass(frozen=True)
class Slice:
    """Made by the slice's `definitions.py`, listed in `session_assets/slices`."""

    name: str
    stores: tuple[Store, ...]
    """Its own stores. The Dagster database and the storage belong to all slices: `reachable.SHARED`."""
    targets: tuple[AnyTarget, ...] = field(repr=False)
    """What the terminal can verify, plan, apply and revert; the main target is the first."""
    loops: tuple[Loop, ...] = field(repr=False)
    """All that keep a ledger, those of single sessions too."""
    definitions: dg.Definitions = field(repr=False)
    """What the code location gets."""

    @property
    def main(self) -> AnyTarget:
        return self.targets[0]

    def unset(self, env: Mapping[str, str] | None = None) -> list[str]:
        """The variables that must be set for the slice and are not. A slice is configured if there are none."""
        env = os.environ if env is None else env
        return [store.variable for store in self.stores if not store.optional and not env.get(store.variable)]

    def is_configured(self) -> bool:
        return not self.unset()
