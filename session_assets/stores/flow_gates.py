"""What must hold before contract: each gate that is shut gives its reason and what to do."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta

from psycopg import sql

from session_assets.errors import PlanRefused, SessionAssetsError
from session_assets.flow.model import BACKFILL, CONTRACT, REHEARSAL, REVISIONS, RULES, STAGING_VARIABLE, Migration
from session_assets.masking import safe_text
from session_assets.stores.flow_alembic import version
from session_assets.stores.flow_layout import q
from session_assets.stores.flow_recount import recount, unmapped_share
from session_assets.stores.flow_rights import rights_of
from session_assets.stores.flow_shown import dropped_by_hand, how_to_restore, is_contracted
from session_assets.stores.flow_work import Work

_LOCKS = """
    SELECT c.relname, l.mode, a.pid, a.application_name, extract(epoch FROM now() - a.xact_start)::bigint
    FROM pg_locks l JOIN pg_stat_activity a USING (pid) JOIN pg_class c ON c.oid = l.relation
    WHERE l.relation = ANY (%s) AND l.granted AND l.pid <> pg_backend_pid()
      AND (l.mode IN ('ShareLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock')
           OR a.xact_start < now() - make_interval(secs => %s))
    ORDER BY a.xact_start
"""
_LONG_LOCK = 5.0  # seconds: a transaction that is open for longer is no ordinary write
_SAMPLE = 5


@dataclass(frozen=True)
class Gate:
    """A gate that is shut."""

    name: str
    reason: str
    next_step: str


class GatesShut(PlanRefused):
    """Contract is refused: see to each reason, then run it again."""

    exit_code = 1

    def __init__(self, gates: list[Gate]) -> None:
        told = "; ".join(f"{one.name}: {one.reason}. {one.next_step}" for one in gates)
        super().__init__(f"Contract is refused, nothing was changed. {told}")
        self.gates = gates


StagingRecord = Callable[[], tuple[str, dict[str, str]] | None]
"""The digest of the migration and the original shapes of a staging database where contract was completed, else None. Raises
`SessionAssetsError` where it cannot be read."""


TwinGates = Callable[[Work], list[Gate]]
"""What the try on a twin says of the rest of the road: gates that are shut."""


def shut_gates(
    work: Work, staging: StagingRecord | None, waived_by: str | None, twin: TwinGates | None = None
) -> list[Gate]:
    """All gates that are shut now. Part of a contract that was begun does not ask for checks and rehearsal again."""
    if is_contracted(work) and version(work) == REVISIONS[CONTRACT]:
        return [Gate("contract", "contract is completed already", "There is nothing more to do")]
    if by_hand := dropped_by_hand(work):
        return [
            Gate("dropped_by_hand", f"{one.name}.{one.linked.old} is gone, and contract did not drop it",
                 f"Bring it back, with its indexes and constraints: {how_to_restore(work, one)}")
            for one in by_hand
        ]  # fmt: skip
    if version(work) != REVISIONS[BACKFILL]:
        return [Gate("backfill", "the database is not backfilled", "Run `session-assets apply flow` first")]
    gates = [*_activity(work), *_locks(work)]
    if all(one.has_old for one in work.layout.places):
        gates += [
            *_checks(work),
            *_unmapped(work),
            *_rehearsal(work),
            *_staging(work, staging, waived_by),
            *_obstacles(work),
            *(twin(work) if twin is not None else ()),
        ]
    return gates


def digest_of(migration: Migration) -> str:
    """Twelve characters that change whenever the description does."""
    return hashlib.sha256(json.dumps(asdict(migration), sort_keys=True, default=str).encode()).hexdigest()[:12]


def original_shapes(work: Work) -> dict[str, str]:
    """A digest of each table as it was before expand."""
    return {
        place: hashlib.sha256(json.dumps(one["shape"], sort_keys=True).encode()).hexdigest()[:12]
        for place, _, one in work.steps.kept("original")
    }


# -- gates -------------------------------------------------------------------------------------------------------------


def _activity(work: Work) -> Iterator[Gate]:
    flows = work.migration.flows
    rows = work.connection.execute(
        q("SELECT {flow}::text, count(*) OVER () FROM {flows} WHERE lower({status}::text) = ANY (%s) ORDER BY 1 LIMIT {limit}",
          flow=flows.flow, flows=work.layout.flows_ident, status=flows.status, limit=sql.Literal(_SAMPLE)),
        [list(flows.active)],
    ).fetchall()  # fmt: skip
    if rows:
        ids = ", ".join(safe_text(row[0]) for row in rows)
        yield Gate("active_flows", f"{rows[0][1]:,} flows are active ({ids})", "Wait until they have finished")


def _locks(work: Work) -> Iterator[Gate]:
    tables = [one.oid for one in work.layout.tables]
    rows = work.connection.execute(_LOCKS, [tables, _LONG_LOCK]).fetchall()
    if rows:
        told = "; ".join(
            f"{table} by pid {pid}, {safe_text(name) or 'nameless'} ({mode}, for {age or 0:,} s)"
            for table, mode, pid, name, age in rows[:3]
        )
        yield Gate("locked_tables", f"tables are locked: {told}", "Wait for these transactions, or end them")


def _checks(work: Work) -> Iterator[Gate]:
    for found in recount(work, [rule.name for rule in RULES.values() if rule.is_error and rule.shuts_contract]):
        if found.passed and found.unreadable > work.limits.unreadable_share * (found.read - found.not_applicable):
            yield Gate(
                f"check_{found.name}", f"too much of it could not be judged: {'; '.join(found.odd)}",
                "Give the columns types that can be compared, or restore the record; where such values are no ids of"
                " sessions, raise SESSION_ASSETS_MAX_UNREADABLE_SHARE",
            )  # fmt: skip
        if not found.passed:
            rule = RULES[found.name]
            sample = f" ({', '.join(safe_text(one) for one in found.sample[:3])})" if found.sample else ""
            yield Gate(f"check_{found.name}", f"{found.count:,} {rule.text}{sample}", rule.next_step)


def _unmapped(work: Work) -> Iterator[Gate]:
    count, total = unmapped_share(work)
    limit = work.limits.unmapped_share
    if total and count / total > limit:
        yield Gate("unmapped_rows", f"{count:,} of {total:,} rows have no flow, more than {limit:.1%}",
                   "See flow/changes for why, or raise FLOW_MAX_UNMAPPED_SHARE")  # fmt: skip


def _rehearsal(work: Work) -> Iterator[Gate]:
    step = "Run `session-assets apply flow/rehearsal`"
    rehearsal, filled = work.steps.newest(REHEARSAL, "completed"), work.steps.newest(BACKFILL, "completed")
    if rehearsal is None or rehearsal.finished_at is None:
        yield Gate("rehearsal_missing", "no backup was restored in rehearsal", step)
        return
    age = datetime.now(UTC) - rehearsal.finished_at
    if age > timedelta(hours=work.limits.rehearsal_hours):
        hours = age.total_seconds() / 3600
        yield Gate(
            "rehearsal_old", f"the rehearsal is {hours:,.1f} h old, more than {work.limits.rehearsal_hours:g}", step
        )
    if filled is None or filled.finished_at is None or rehearsal.started_at < filled.finished_at:
        yield Gate("rehearsal_before_backfill", "the last backfill is newer than the rehearsal", step)
    if rehearsal.fingerprint != work.layout.fingerprint:
        yield Gate("rehearsal_of_another_schema", "the schema was changed after the rehearsal", step)


def _staging(work: Work, staging: StagingRecord | None, waived_by: str | None) -> Iterator[Gate]:
    if waived_by:
        return
    step = "Complete the same steps there, or waive it by your name: --waive-staging NAME"
    if staging is None:
        yield Gate(
            "staging", f"{STAGING_VARIABLE} is not set, so nothing shows that the steps were completed on staging", step
        )
        return
    try:
        record = staging()
    except SessionAssetsError as error:
        yield Gate("staging", f"the staging database cannot be asked: {safe_text(error).rstrip('.')}", step)
        return
    if record is None:
        yield Gate("staging", "contract was not completed on the staging database", step)
        return
    digest, shapes = record
    if digest != digest_of(work.migration):
        yield Gate("staging", "staging was migrated by another description of the schema", step)
    elif other := [name for name, shape in original_shapes(work).items() if shapes.get(name) != shape]:
        yield Gate("staging", f"staging had another schema: {', '.join(other)}", step)


def _obstacles(work: Work) -> Iterator[Gate]:
    if work.layout.obstacles:
        yield Gate("obstacles", "; ".join(work.layout.obstacles), "Remove what stands in the way")
    for one in rights_of(work):
        yield Gate("rights", f"{one.object}: {one.why}", one.remedy)


__all__ = ["CONTRACT", "Gate", "GatesShut", "StagingRecord", "TwinGates", "digest_of", "original_shapes", "shut_gates"]
