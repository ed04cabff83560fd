"""Values that contract archived and that the archive does not hold any more: somebody deleted them, and they cannot come back."""

from __future__ import annotations

from session_assets.flow.model import CONTRACT, EXPAND
from session_assets.stores.flow_layout import Place, q
from session_assets.stores.flow_work import Work

LOST = "lost_from_archive"
"""The word of such values; the key under which an undo of contract records them, by table."""


def lost_values(work: Work) -> dict[str, int]:
    """By table, how many fewer values the archive holds than the newest contract recorded; tables that lack none are left out."""
    step = work.steps.newest(CONTRACT)
    archived: dict[str, int] = step.counts.get("archived", {}) if step else {}
    lacking = {one.name: archived.get(one.name, 0) - _held(work, one) for one in work.layout.places}
    return {name: count for name, count in lacking.items() if count > 0}


def still_lost(work: Work) -> dict[str, int]:
    """The same once contract is undone: what its undo could not bring back, until it is there or the migration begins again."""
    undo, begun = work.steps.newest(f"undo of {CONTRACT}", "completed"), work.steps.newest(EXPAND)
    recorded: dict[str, int] = undo.counts.get(LOST, {}) if undo else {}
    if not recorded or undo is None or begun is None or begun.started_at > undo.started_at:
        return {}
    now = lost_values(work)
    return {name: min(count, now[name]) for name, count in recorded.items() if name in now}


def _held(work: Work, place: Place) -> int:
    if place.archive_table is None:
        return 0
    return work.one(q("SELECT count(old_value) FROM {archive}", archive=place.archive))
