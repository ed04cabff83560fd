"""Whether the database that is looked at is the one that holds the imports of this home (E1)."""

from __future__ import annotations

from collections.abc import Mapping

from session_assets.changes.evidence import Lack
from session_assets.changes.target import Known
from session_assets.graph.environment import Environment
from session_assets.graph.evidence import ALLOW_EMPTY_TAG, allowed_empty
from session_assets.kintell.imports import Imports
from session_assets.kintell.model import SLICE, VARIABLE
from session_assets.stores.kintell_schema import Schema
from session_assets.stores.postgres_target import postgres_target

_SEEN = f"{SLICE}/seen.json"


def lack_of_imports(imports: Imports, environment: Environment, tags: Mapping[str, str]) -> Lack | None:
    """Why nothing can be said of imports: tables or all jobs are gone, or another database is named than the one seen before.

    None before the first import, and if all tables are there; their number of jobs is noted then. No command deletes jobs: a
    table of jobs that held some and is empty now was emptied by hand, and what the jobs wrote cannot be counted any more.
    """
    is_new = imports.jobs.is_new()
    stored = environment.storage.find_json(_SEEN) or {}
    seen = int(stored.get("jobs", 0))
    of_targets: dict[str, int] = stored.get("by_target", {})
    with imports.database.connected("kintell evidence") as connection:
        known = environment.known(postgres_target(connection))
        missing = [] if is_new else Schema(connection).missing_tables()
    if is_new and seen:
        return Lack(
            f"{known.shown} holds no imports, but {seen:,} import jobs were seen from here before: nothing was compared",
            f"Correct the database that {VARIABLE} names, or restore it, then verify again.",
        )
    if missing:
        return Lack(
            f"{known.shown} has no {' and no '.join(missing)}: nothing was compared",
            f"Restore it from a backup, or correct the database that {VARIABLE} names, then verify again.",
        )
    if is_new:
        return None
    jobs, before = imports.jobs.count(), _most(of_targets, known)
    if before and not jobs and not (ALLOW_EMPTY_TAG in tags or SLICE in allowed_empty()):
        return Lack(
            f"backfill_jobs of {known.shown} is empty, but held {before:,} import jobs when it was verified before: nothing was"
            " compared",
            "Restore it from a backup, then verify again. If it may be empty: --allow-empty, or"
            " SESSION_ASSETS_ALLOW_EMPTY=kintell.",
        )
    if jobs > min(seen, before):
        of_targets[known.id] = max(jobs, before)
        environment.storage.write_json(_SEEN, {"jobs": max(jobs, seen), "by_target": of_targets})
    return None


def _most(of_targets: Mapping[str, int], known: Known) -> int:
    """The most jobs that a verify found in a database, under any name that was accepted for it."""
    return max((of_targets.get(name, 0) for name in known.names), default=0)
