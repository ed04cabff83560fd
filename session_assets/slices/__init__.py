"""The list of slices: the only place that names them all. A new slice is its folder and one line here."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from session_assets.graph.slice import Slice

_DEFINED_IN = {
    "web": "session_assets.web.definitions",
    "identity": "session_assets.identity.definitions",
    "contest": "session_assets.contest.definitions",
    "kintell": "session_assets.kintell.definitions",
    "flow": "session_assets.flow.definitions",
}
"""By name: the module that makes the record, as `RECORD`. In the order in which people see them."""
NAMES = tuple(_DEFINED_IN)


@cache
def slices() -> Mapping[str, Slice]:
    """All slices by name. The first call loads them, with Dagster and all drivers, which takes seconds."""
    records: list[Slice] = [import_module(module).RECORD for module in _DEFINED_IN.values()]
    return {record.name: record for record in records}
