"""Whether the database that is looked at is the one that holds the imports of this home (E1)."""

from __future__ import annotations

from session_assets.changes.evidence import Lack
from session_assets.kintell.imports import Imports
from session_assets.kintell.model import SLICE, VARIABLE
from session_assets.storage import Storage
from session_assets.stores.kintell_schema import Schema
from session_assets.stores.postgres_target import postgres_target

_SEEN = f"{SLICE}/seen.json"


def lack_of_imports(imports: Imports, storage: Storage) -> Lack | None:
    """Why nothing can be said of imports: tables are gone, or another database is named than the one seen before.

    None before the first import, and if all tables are there; their number of jobs is noted then.
    """
    is_new = imports.jobs.is_new()
    seen = storage.read_json(_SEEN)["jobs"] if storage.exists(_SEEN) else 0
    with imports.database.connected("kintell evidence") as connection:
        shown = postgres_target(connection).shown
        missing = [] if is_new else Schema(connection).missing_tables()
    if is_new and seen:
        return Lack(
            f"{shown} holds no imports, but {seen:,} import jobs were seen from here before: nothing was compared",
            f"Correct the database that {VARIABLE} names, or restore it, then verify again.",
        )
    if missing:
        return Lack(
            f"{shown} has no {' and no '.join(missing)}: nothing was compared",
            f"Restore it from a backup, or correct the database that {VARIABLE} names, then verify again.",
        )
    if not is_new and (jobs := imports.jobs.count()) > seen:
        storage.write_json(_SEEN, {"jobs": jobs})
    return None
