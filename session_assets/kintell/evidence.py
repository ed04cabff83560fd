"""Whether the database that is looked at is the one that holds the imports of this home (E1)."""

from __future__ import annotations

from collections.abc import Mapping

from session_assets.changes.evidence import Lack
from session_assets.changes.target import Known
from session_assets.graph.environment import Environment
from session_assets.graph.evidence import ALLOW_EMPTY_TAG, Evidence, allowed_empty, require_evidence
from session_assets.kintell.imports import Imports
from session_assets.kintell.model import SLICE, VARIABLE
from session_assets.stores.kintell_schema import Schema
from session_assets.stores.postgres_target import postgres_target

_SEEN = f"{SLICE}/seen.json"


def lack_of_imports(imports: Imports, environment: Environment, tags: Mapping[str, str], run_id: str) -> Lack | None:
    """Why nothing can be said of imports: tables, columns or all jobs are gone, types are others, or it is another database.

    None before the first import, and if everything is there; the number of jobs is noted then. No command deletes jobs: a table
    of jobs that held some and is empty now was emptied by hand, and what the jobs wrote cannot be counted any more. What is
    lacking is kept: no file is imported before another look.
    """
    known = _known(imports, environment)
    may_be_empty = ALLOW_EMPTY_TAG in tags or SLICE in allowed_empty()
    lack = _lack(imports, environment, known, may_be_empty=may_be_empty)
    Evidence(environment, SLICE, VARIABLE, known).note(lack, run_id)
    return lack


def require_imports_evidence(imports: Imports, environment: Environment) -> None:
    """Raise `PlanRefused` if the last verify of this database found no evidence: nothing may be written then."""
    require_evidence(environment, SLICE, _known(imports, environment), [])


def _lack(imports: Imports, environment: Environment, known: Known, *, may_be_empty: bool) -> Lack | None:
    is_new = imports.jobs.is_new()
    stored = environment.storage.find_json(_SEEN) or {}
    seen = int(stored.get("jobs", 0))
    of_targets: dict[str, int] = stored.get("by_target", {})
    if is_new:
        if not seen or may_be_empty:
            return None
        return Lack(
            f"{known.shown} holds no imports, but {seen:,} import jobs were seen from here before: nothing was compared",
            f"Correct the database that {VARIABLE} names, or restore it, then verify again. If a new one is meant:"
            " session-assets verify kintell --allow-empty.",
        )
    wrong = _wrong_schema(imports)
    if wrong:
        return Lack(
            f"{known.shown} {wrong}: nothing was compared",
            f"Restore it from a backup, or correct the database that {VARIABLE} names, then verify again.",
        )
    jobs, before = imports.jobs.count(), _most(of_targets, known)
    if before and not jobs and not may_be_empty:
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


def _wrong_schema(imports: Imports) -> str:
    """What the catalog lacks or has otherwise than imports left it; empty if nothing."""
    with imports.database.connected("kintell evidence") as connection:
        schema = Schema(connection)
    lacking = schema.missing_tables() or schema.missing_columns()
    if lacking:
        return f"has no {' and no '.join(lacking)}"
    wrong = schema.wrong_types()
    return f"has columns of other types: {', '.join(wrong)}" if wrong else ""


def _known(imports: Imports, environment: Environment) -> Known:
    with imports.database.connected("kintell evidence") as connection:
        return environment.known(postgres_target(connection))


def _most(of_targets: Mapping[str, int], known: Known) -> int:
    """The most jobs that a verify found in a database, under any name that was accepted for it."""
    return max((of_targets.get(name, 0) for name in known.names), default=0)
