"""Deletions as their own plans: duplicates of one session_id are folded into one document, empty orphans are removed.

Both are planned over the whole collection, since a duplicate or a late event may stand in any partition. Each delete recounts
inside its transaction. Neither runs as part of `apply web`.

What they delete is nowhere else in the store. So a plan is applied by a later command or run than the one that recorded it, and
never where `events` is empty, missing or unreadable, when the plan is made or when it is applied: without events every session
looks like an orphan. 50 of 50 sessions were once planned and deleted by one command, on a database whose `events` had another
name; and 98 of 100 on one whose events had a number as `session_id`.
"""

from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import dagster as dg
import polars as pl

from session_assets.changes.change_set import CHANGES
from session_assets.changes.ledger import Ledger
from session_assets.changes.session import ApplyReport, raise_for
from session_assets.errors import NoEvidence, PlannedOnly, PlanRefused
from session_assets.graph.environment import Environment
from session_assets.graph.evidence import Evidence, refuse
from session_assets.graph.loop import ApplyConfig, Loop, apply_loop, apply_summary
from session_assets.graph.markdown import escaped, md, md_table, paragraphs
from session_assets.graph.partition_checks import keep_connections
from session_assets.graph.planned import plan_summary
from session_assets.graph.preview import preview_changes
from session_assets.graph.tables import column_schema
from session_assets.graph.target import Target
from session_assets.masking import shown
from session_assets.selection import Selection
from session_assets.settings import Settings
from session_assets.stores.mongo import MongoSource, database
from session_assets.stores.mongo_changes import MongoStore
from session_assets.stores.mongo_recounts import stays_if_empty, stays_if_found, stays_if_last
from session_assets.web import model
from session_assets.web.assets import LOCK, OWNERS, key, mapping_digest, open_web, target
from session_assets.web.pipeline import Web
from session_assets.web.repairs import OTHER_VALUES, fold_rows, kept_orphans, orphan_rows
from session_assets.web.stored import web_shape

_SHOWN = 3
_SOURCE_NOTE = "source_documents"
"""In the recording of a plan: how many events there were."""


class _NotPlanned:
    """Documents that a clean-up leaves out of its plan: how many for each reason, and a few ids."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self._ids: dict[str, list[str]] = {}

    def add(self, reason: str, ids: list[str]) -> None:
        self.counts[reason] += len(ids)
        self._ids[reason] = [*self._ids.get(reason, []), *ids][:_SHOWN]

    def notes(self) -> list[str]:
        """A line for each reason."""
        return [
            f"Not planned: {count:,} {model.NOT_PLANNED[reason]}: {', '.join(map(shown, self._ids[reason]))}"
            + (", …" if count > _SHOWN else "")
            for reason, count in self.counts.items()
            if count
        ]


_RowsOf = Callable[[pl.DataFrame, _NotPlanned, Web], pl.DataFrame]


def _orphan_store() -> MongoStore:
    db, shape = database(model.VARIABLE, model.DATABASE), web_shape()
    events, sessions = db[shape.events.collection], db[shape.sessions.collection]
    field, holder = shape.events.stored("session_id"), shape.sessions.stored("session_id")
    arrived = "events of this session have arrived since it was planned"
    recount = stays_if_empty(events, stays_if_found(events, field, arrived, holder=holder))
    return MongoStore(sessions, model.VARIABLE, place=(holder,), recount=recount)


def _duplicate_store() -> MongoStore:
    db, shape = database(model.VARIABLE, model.DATABASE), web_shape()
    sessions, field = db[shape.sessions.collection], shape.sessions.stored("session_id")
    recount = stays_if_last(sessions, field, "it has become the only document of its session_id")
    recount = stays_if_empty(db[shape.events.collection], recount)
    return MongoStore(sessions, model.VARIABLE, place=(field,), recount=recount)


def _orphans(classified: pl.DataFrame, not_planned: _NotPlanned, web: Web) -> pl.DataFrame:
    rule: dict[str, Any] = {
        "first": web.source.oldest_event,
        "now": datetime.now(UTC),
        "grace_days": Settings.from_env().orphan_grace_days,
    }
    kept = kept_orphans(classified, **rule)
    for (reason,), group in kept.partition_by("reason", as_dict=True).items():
        not_planned.add(str(reason), group["id"].to_list())
    return orphan_rows(classified, **rule)


def _folds(classified: pl.DataFrame, not_planned: _NotPlanned, web: Web) -> pl.DataFrame:
    too_large: list[str] = []
    rows = fold_rows(classified, too_large, shape=web.shape)
    not_planned.add("too_large", too_large)
    return rows


def _counted_events(loop: str, done: str) -> int:
    """How many events there are, about; raises where there is none: every session would look like an orphan."""
    db = database(model.VARIABLE, model.DATABASE)
    events = MongoSource(db[web_shape().events.collection], model.VARIABLE)
    if not events.holds_any():
        raise NoEvidence(
            f"{loop}: nothing is {done}. {db.name}.{events.collection.name} is empty or missing, so nobody can tell which"
            f" sessions have no events. Check the database in {model.VARIABLE} and the name of the collection, or restore the"
            f" events. Then run `session-assets plan {loop}`."
        )
    return max(1, events.estimated_count())


def _refuse_without_evidence(loop: Loop, environment: Environment, command: str, done: str) -> None:
    """Raise where nobody can tell the sessions of too many events: some that look like orphans are none."""
    evidence = Evidence(environment, model.SLICE, model.VARIABLE, loop.known(environment))
    web = open_web(environment)
    holdings = web.source.holdings(environment.settings.max_unreadable_share, quickly=False)
    refuse(evidence.lack_of(holdings, {}, types=web.types), f"{command} {loop.name}", done)


def _plan(loop: Loop, rows_of: _RowsOf, environment: Environment, run_id: str) -> dict[str, Any]:
    web, ledger = open_web(environment), loop.ledger(environment)
    noted = {_SOURCE_NOTE: _counted_events(loop.name, "planned")}
    _refuse_without_evidence(loop, environment, "plan", "planned")
    keys, not_planned = web.standing(), _NotPlanned()
    with loop.lock(ledger, keys, f"plan {loop.name}"):
        planned = web.plan_now(
            ledger,
            Selection(),
            lambda frame, **_: rows_of(frame, not_planned, web),
            run_id,
            visited=keys,
            noted=noted,
        )
    summary = plan_summary(loop.name, planned)
    summary["notes"] = not_planned.notes()
    summary["reasons"] |= {reason: count for reason, count in not_planned.counts.items() if count}
    if others := sum(_with_other_values(rows) for part in planned.plan.parts for rows in ledger.rows(part)):
        summary["reasons"][OTHER_VALUES] = others
    environment.report(run_id, "plan", summary)
    parts = [part for part in planned.plan.parts if part.rows]
    changes = preview_changes(next(ledger.rows(parts[0])).head(10)) if parts else escaped("nothing")
    return {
        "plan_id": planned.plan.plan_id,
        "planned": planned.plan.rows,
        "documents": summary["read"],
        "reasons": md(md_table(summary["reasons"].items(), ["reason", "documents"])),
        "preview": md(changes),
        "events": noted[_SOURCE_NOTE],
        **({"not_planned": md(paragraphs(escaped(one, 2000) for one in summary["notes"]))} if summary["notes"] else {}),
    }


def _refuse_unseen(loop: str, ledger: Ledger, plan_ids: list[str], run_id: str) -> None:
    """Raise where a plan was recorded by this very run, or when there were no events."""
    recordings = [one for one in ledger.recordings() if one.plan_id in plan_ids]
    for plan_id in plan_ids:
        mine = [one for one in recordings if one.plan_id == plan_id]
        if mine and all(one.run_id == run_id for one in mine):
            rows = ledger.plan(plan_id).rows
            raise PlannedOnly(
                f"{loop}: planned, not applied. Plan {plan_id} changes or deletes {rows:,} documents, and what it deletes is"
                f" nowhere else in the database. Look at it, then apply it: session-assets apply {loop} --plan-id {plan_id}"
                f" (in the UI: job {loop.replace('/', '_')}_apply)."
            )
        if mine and mine[0].summary.get(_SOURCE_NOTE) == 0:
            raise PlanRefused(f"{loop}: plan {plan_id} was made without any event. Run `session-assets plan {loop}`.")


def _with_other_values(rows: pl.DataFrame) -> int:
    """Deletes of documents that hold values of their own; their names stand in the reasons of the row."""
    return int(rows["reasons"].list.eval(pl.element().str.starts_with(OTHER_VALUES)).list.any().sum())


def _cleanup(step: str, plan_asset: str, apply_asset: str, store: Any, rows_of: _RowsOf, texts: tuple[str, str]) -> Any:
    """The plan asset, the apply asset, their jobs and target of one clean-up."""
    name = f"{model.SLICE}/{step}"

    def plan_first(environment: Environment, _partitions: list[str] | None, run_id: str) -> None:
        raise PlanRefused(f"{name} deletes documents: look at a plan first, `session-assets plan {name}`.")

    loop = Loop(name, LOCK, store, plan_first, target, mapping=mapping_digest)
    common: dict[str, Any] = {"group_name": model.SLICE, "owners": OWNERS, "pool": "web_mongodb"}
    metadata = {"dagster/column_schema": column_schema(CHANGES)}

    @dg.asset(
        key=key(plan_asset),
        deps=[key("sessions"), key("events")],
        kinds={"polars", "parquet"},
        description=texts[0],
        metadata=metadata,
        **common,
    )
    def plan(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
        keep_connections(context.instance)
        return dg.MaterializeResult(metadata=_plan(loop, rows_of, Environment.load(), context.run_id))

    @dg.asset(
        key=key(apply_asset),
        deps=[key(plan_asset)],
        kinds={"mongodb"},
        description=texts[1],
        metadata={"dagster/column_schema": column_schema(model.SESSION_COLUMNS)},
        **common,
    )
    def apply(context: dg.AssetExecutionContext, config: ApplyConfig) -> dg.MaterializeResult:
        keep_connections(context.instance)
        environment = Environment.load()
        ledger = loop.ledger(environment)
        pending = [config.plan_id] if config.plan_id else list(ledger.pending())
        if not pending and not ledger.planned_by(context.run_id):
            _plan(loop, rows_of, environment, context.run_id)
            pending = list(ledger.pending())
        _refuse_unseen(name, ledger, pending, context.run_id)
        if not pending:  # the plan of this run changes nothing
            summary = apply_summary(name, ApplyReport())
            environment.report(context.run_id, "apply", summary)
            return dg.MaterializeResult(metadata={"planned": 0, **summary["outcomes"]})
        _counted_events(name, "deleted")
        _refuse_without_evidence(loop, environment, "apply", "deleted")
        report = apply_loop(loop, environment, None, config, context.run_id, context.log)
        raise_for(report.failed, name)
        summary = apply_summary(name, report)
        return dg.MaterializeResult(metadata={"planned": summary["planned"], **summary["outcomes"]})

    job = f"web_{step}"
    jobs = [
        dg.define_asset_job(f"{job}_plan", selection=dg.AssetSelection.assets(key(plan_asset)), description=texts[0]),
        dg.define_asset_job(
            f"{job}_apply",
            selection=dg.AssetSelection.assets(key(apply_asset)),
            description=f"{texts[1]} Without a pending plan it plans, and does not apply.",
        ),
        dg.define_asset_job(
            f"{job}_apply_pending",
            selection=dg.AssetSelection.assets(key(apply_asset)),
            description="Apply the newest plan.",
        ),
    ]
    return [plan, apply], jobs, Target(loop, model.VARIABLE, f"{job}_plan", f"{job}_apply", f"{job}_apply_pending")


_ORPHANS = _cleanup(
    "orphans",
    "orphan_sessions",
    "removed_orphans",
    _orphan_store,
    _orphans,
    (
        "The dry run of the orphan clean-up: sessions without events, count or pages, older than the grace period.",
        "Deletes the planned orphans, each after a recount in its own transaction; journaled whole.",
    ),
)
_DUPLICATES = _cleanup(
    "duplicates",
    "duplicate_sessions",
    "folded_duplicates",
    _duplicate_store,
    _folds,
    (
        "The dry run of the fold: several documents for one session_id become the most complete one, recomputed.",
        "Writes each survivor, reads it back, then deletes the other documents of its session_id; journaled whole.",
    ),
)

ASSETS = [*_ORPHANS[0], *_DUPLICATES[0]]
JOBS = [*_ORPHANS[1], *_DUPLICATES[1]]
TARGETS = [_DUPLICATES[2], _ORPHANS[2]]
