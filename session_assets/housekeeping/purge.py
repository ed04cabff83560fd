"""What runs left behind long ago and nobody needs: their reports, the full lists of their findings, the lines of their logs.

Ledgers are never touched: they are what an undo is made of. Neither is the newest list of each kind, which checks point to.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from session_assets.storage import Storage
from session_assets.stores.dagster_events import old_runs, purge_log_lines

_REPORTS = "runs"
_KINDS = ("checks", "plans")


@dataclass(frozen=True)
class Purged:
    """Numbers of what is gone, or in a dry run would be."""

    log_lines: int
    reports: int
    lists: int


def purge(storage: Storage, before: datetime, *, dry_run: bool) -> Purged:
    """Remove what runs left that ended before a moment. Raises as the Dagster database and the storage do."""
    old = old_runs(before)
    reports = [f"{_REPORTS}/{run_id}" for run_id in storage.names(_REPORTS) if run_id in old]
    lists = [folder for base in _list_folders(storage) for folder in _old_lists(storage, base, old)]
    if not dry_run:
        for folder in [*reports, *lists]:
            storage.remove(folder)
    return Purged(purge_log_lines(before, dry_run=dry_run), len(reports), len(lists))


def _list_folders(storage: Storage) -> list[str]:
    """`{slice}/findings/{kind}`, for a collection's other plans too."""
    bases = [f"{name}/findings" for name in storage.names("") if name != "ledger"]
    return [f"{base}/{kind}" for base in bases for kind in _KINDS if storage.exists(f"{base}/{kind}")]


def _old_lists(storage: Storage, base: str, old: set[str]) -> list[str]:
    """Those of old runs, as long as a later run left one too."""
    runs = storage.names(base)
    return [f"{base}/{run_id}" for run_id in runs if run_id in old] if set(runs) - old else []
