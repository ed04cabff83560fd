"""What a staging database proves: that contract was completed there, with the same description and the same tables."""

from __future__ import annotations

from session_assets.changes.owner import Accepts
from session_assets.errors import SessionAssetsError
from session_assets.flow.model import CONTRACT, STAGING_VARIABLE
from session_assets.stores.flow_gates import StagingRecord
from session_assets.stores.flow_owner import refuse_foreign
from session_assets.stores.flow_work import Work
from session_assets.stores.postgres import Database

_SAME = "SELECT pg_postmaster_start_time()::text || (SELECT oid FROM pg_database WHERE datname = current_database())"


def staging_record(work: Work, staging: Database | None, accepted: Accepts | None) -> StagingRecord | None:
    """How to ask the staging database; None if there is none.

    What it raises: `SessionAssetsError` if it is the database that is migrated, or has the record of another one.
    """
    if staging is None:
        return None

    def record() -> tuple[str, dict[str, str]] | None:
        with staging.connected("flow staging") as connection:
            other = Work(connection, work.migration, work.limits, work.say)
            if other.one(_SAME) == work.one(_SAME):
                raise SessionAssetsError(f"{STAGING_VARIABLE} leads to the very database that is migrated.")
            step = other.steps.newest(CONTRACT, "completed")
            if step is None:
                return None
            refuse_foreign(connection, [step], accepted)
            return step.counts.get("migration", ""), step.counts.get("shapes", {})

    return record
