"""The flow migration of one database: its steps, each recorded and resumable, and how each is taken back.

Alembic's revisions and the graph both call these steps; whoever calls holds one lock, so that they never work at once.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from session_assets.changes.owner import Accepts
from session_assets.errors import PlanRefused, UsageError
from session_assets.failpoints import failpoint
from session_assets.flow.description import Described, described
from session_assets.flow.model import (
    BACKFILL,
    CONTRACT,
    EXPAND,
    LOCK,
    MIGRATION,
    REHEARSAL,
    REVISIONS,
    STAGING_VARIABLE,
    VARIABLE,
    Limits,
    Migration,
)
from session_assets.stores.flow_alembic import move, version
from session_assets.stores.flow_backfill import backfill
from session_assets.stores.flow_contract import contract
from session_assets.stores.flow_described import forget_description, require_same_description
from session_assets.stores.flow_expand import expand, undo_expand
from session_assets.stores.flow_gates import Gate, GatesShut, TwinGates, digest_of, original_shapes, shut_gates
from session_assets.stores.flow_left import left_rows
from session_assets.stores.flow_memory import rename_session
from session_assets.stores.flow_obstacles import Obstacle, find_obstacles, looked_at, refuse_obstacles
from session_assets.stores.flow_owner import require_own_steps
from session_assets.stores.flow_pooler import require_sessions
from session_assets.stores.flow_restore import restore
from session_assets.stores.flow_rights import rights_of
from session_assets.stores.flow_shown import (
    dropped_by_hand,
    is_contracted,
    lacks,
    not_contracted,
    remains,
    require_columns_of_contract,
)
from session_assets.stores.flow_staging import staging_record
from session_assets.stores.flow_steps import StepRecord
from session_assets.stores.flow_unfill import undo_backfill
from session_assets.stores.flow_waits import Say
from session_assets.stores.flow_work import Work, begin_snapshot
from session_assets.stores.postgres import Database

BELOW = {EXPAND: "base", BACKFILL: REVISIONS[EXPAND], CONTRACT: REVISIONS[BACKFILL]}
"""The revision that the undo of a step ends in."""


def _quiet(_: str) -> None:
    return None


class Flow:
    """One database and the description of its schema."""

    def __init__(
        self,
        database: Database,
        migration: Migration = MIGRATION,
        limits: Limits | None = None,
        *,
        staging: Database | None = None,
        waived_by: str | None = None,
        say: Say = _quiet,
        accepted: Accepts | None = None,
        twin: TwinGates | None = None,
        described: Described | None = None,
    ) -> None:
        self.twin = twin
        self.waived: dict[str, str] = {}
        """By whom a proof is waived, for the record of the step."""
        self.before_expand: Callable[[Work], None] | None = None
        """What is asked before anything is written; it raises what refuses."""
        self.database, self.migration, self.limits = database, migration, limits or Limits()
        self.described = described or Described(migration)
        self.staging, self.waived_by, self.say, self.accepted = staging, waived_by, say, accepted
        self._work: Work | None = None

    @staticmethod
    def from_env(
        env: Mapping[str, str] | None = None,
        say: Say = _quiet,
        waived_by: str | None = None,
        accepted: Accepts | None = None,
    ) -> Flow:
        """Raises `NotConfigured` where FLOW_DATABASE_URL is unset, `UsageError` for a wrong FLOW_SCHEMA. Connects to nothing."""
        env = os.environ if env is None else env
        found = described(env)
        staging = Database.from_env(STAGING_VARIABLE, env) if env.get(STAGING_VARIABLE) else None
        return Flow(
            Database.from_env(VARIABLE, env),
            found.migration,
            limits=Limits.from_env(env),
            staging=staging,
            waived_by=waived_by or env.get("FLOW_WAIVE_STAGING") or None,
            say=say,
            accepted=accepted,
            described=found,
        )

    # -- opening -------------------------------------------------------------------------------------------------------

    @property
    def work(self) -> Work:
        assert self._work is not None, "opened by `holding`"
        return self._work

    @contextmanager
    def holding(self) -> Iterator[Work]:
        """The lock of the migration and a connection to work on; nested calls share them."""
        if self._work is not None:
            yield self._work
            return
        with self.database.connected("flow migration") as connection:
            require_sessions(self.database, connection)
            with self.database.lock(LOCK, "flow migration", "The flow migration"):
                require_own_steps(connection, self.migration, self.accepted)
                require_same_description(connection, self.migration)
                self._work = looked_at(connection, self.described, self.limits, self.say)
                try:
                    yield self._work
                finally:
                    self._work = None

    @contextmanager
    def reading(self) -> Iterator[Work]:
        """One snapshot to read from, without the lock."""
        with self.database.connected("flow reading") as connection:
            require_same_description(connection, self.migration)
            begin_snapshot(connection, self.migration)
            yield Work(connection, self.migration, self.limits, self.say)
            connection.execute("COMMIT")

    # -- steps ---------------------------------------------------------------------------------------------------------

    def state(self) -> str:
        """new | expanded | backfilled | half contracted | contracted.

        It is contracted if the tables show it and the step has ended; half, if columns are gone or not restored to their end.
        """
        with self.reading() as work:
            contracted = work.steps.newest(CONTRACT)
            if is_contracted(work) and not dropped_by_hand(work) and contracted and contracted.state == "completed":
                return "contracted"
            if any(remains(work, CONTRACT)):
                return "half contracted"
            return {None: "new", "0001": "expanded", "0002": "backfilled"}.get(version(work), "backfilled")

    def apply(self) -> StepRecord:
        """Expand and backfill, or backfill again; goes on where a killed one stopped. Returns the backfill's step."""
        with self.holding() as work:
            self._settle()
            at = version(work)
            if is_contracted(work):
                raise PlanRefused("The old columns are gone already: there is nothing to backfill from.")
            if at == REVISIONS[CONTRACT]:
                raise PlanRefused(not_contracted(work))
            if at == REVISIONS[BACKFILL]:
                require_columns_of_contract(work)
                if not all(one.has_old for one in work.layout.places):
                    raise PlanRefused(
                        "A contract is half done. Finish it (`apply flow/contract`), or revert it, first."
                    )
                refuse_obstacles(self.obstacles())
                self.run_expand()  # somebody may have dropped a trigger, a column or an archive by hand
                self.run_backfill(again=True)
            else:
                move(self, REVISIONS[BACKFILL])
            step = self.work.steps.newest(BACKFILL, "completed")
            assert step is not None
            return step

    def contract(self) -> StepRecord:
        """Drop the old columns; done already, by the record and by the tables, it is the same step. Raises `GatesShut`."""
        with self.holding() as work:
            self._settle()
            if version(work) != REVISIONS[CONTRACT]:
                self.require_open_gates()
                move(self, REVISIONS[CONTRACT])
            elif reason := not_contracted(work):
                raise PlanRefused(reason)
            step = self.work.steps.newest(CONTRACT, "completed")
            assert step is not None
            return step

    def obstacles(self) -> list[Obstacle]:
        """All that expand, backfill or a later step would meet, found in one snapshot; those of the description first."""
        with self.database.connected("flow obstacles") as connection:
            return find_obstacles(connection, self.described, self.limits)

    def gates(self) -> list[Gate]:
        """The gates of contract that are shut now."""
        with self.holding() as work:
            return shut_gates(work, staging_record(self.work, self.staging, self.accepted), self.waived_by, self.twin)

    def rehearse(self, run: Callable[[StepRecord], dict[str, Any]]) -> StepRecord:
        """Record a rehearsal."""
        with self.holding():
            return self._run(REHEARSAL, run)

    def undo(self, step_id: str, *, dry_run: bool = False) -> dict[str, Any]:
        """Take a step back: the newest of expand, backfill and contract first. Returns what was, or would be, undone."""
        with self.holding() as work:
            self._settle()
            step = work.steps.get(step_id)
            if step.kind not in REVISIONS:
                raise UsageError(f"Step {step.id} is a {step.kind}: there is nothing to undo.")
            if step.state == "undone" and not self._is_still_there(step):
                return {"kind": step.kind, "nothing": True, "refused": [], "left": []}
            newest = self._newest()
            if newest is not None and newest.kind != step.kind:
                raise PlanRefused(f"Undo {newest.kind} first: session-assets revert flow --plan-id {newest.id}")
            refuse_obstacles(rights_of(work))
            if dry_run:
                return {"kind": step.kind, **self._preview(step.kind), "left": left_rows(work, step.kind)}
            at = version(work)
            if at == REVISIONS[step.kind]:
                move(self, BELOW[step.kind], down=True)
            else:  # it was not finished
                {EXPAND: self.run_undo_expand, BACKFILL: self.run_undo_backfill, CONTRACT: self.run_restore}[
                    step.kind
                ]()
            undo = self.work.steps.newest(f"undo of {step.kind}", "completed")
            assert undo is not None
            return {"kind": step.kind, **undo.counts, "left": left_rows(self.work, step.kind)}

    # -- what revisions call -------------------------------------------------------------------------------------------

    def run_expand(self) -> None:
        if self._is_done(EXPAND):
            return
        refuse_obstacles(self.obstacles())
        if self.before_expand is not None:
            self.before_expand(self.work)
        self._run(EXPAND, lambda _: {**self.waived, **expand(self.work)})

    def run_backfill(self, *, again: bool = False) -> None:
        if again or not self._is_done(BACKFILL):
            self._run(BACKFILL, lambda step: backfill(self.work, step))

    def run_contract(self) -> None:
        if self._is_done(CONTRACT):
            return
        self.require_open_gates()
        told = {"migration": digest_of(self.migration), "shapes": original_shapes(self.work)}
        waived = {"staging_waived_by": self.waived_by} if self.waived_by else {}
        self._run(CONTRACT, lambda _: {**told, **waived, **self.waived, **contract(self.work)})

    def run_restore(self) -> None:
        if self._is_undone(CONTRACT):
            return
        self._run(f"undo of {CONTRACT}", lambda _: restore(self.work))
        self.work.steps.undone(CONTRACT, REHEARSAL)

    def run_undo_backfill(self) -> None:
        if self._is_undone(BACKFILL):
            return
        self._require_old_columns()
        self._run(f"undo of {BACKFILL}", lambda _: undo_backfill(self.work))
        self.work.steps.undone(BACKFILL, REHEARSAL)

    def run_undo_expand(self) -> None:
        if self._is_undone(EXPAND):
            return
        self._require_old_columns()
        self._run(f"undo of {EXPAND}", lambda _: undo_expand(self.work))
        for place in self.work.layout.places:
            self.work.steps.forget(place.name, "original")
        forget_description(self.work.steps)
        self.work.steps.undone(EXPAND, REHEARSAL)

    # -- parts ---------------------------------------------------------------------------------------------------------

    def _run(self, kind: str, run: Callable[[StepRecord], dict[str, Any]]) -> StepRecord:
        step = self.work.steps.begin(kind)
        failpoint(f"flow.begun.{kind}")
        try:
            rename_session(self.work)
            counts = run(step)
        except Exception as error:
            if (
                not self.work.connection.closed
            ):  # a server that is gone cannot be told; the step goes on when it is back
                self.work.steps.mark(step, "failed", str(error))
            raise
        failpoint(f"flow.ended.{kind}")
        done = self.work.steps.complete(step, counts, self.work.layout.fingerprint)
        failpoint(f"flow.completed.{kind}")
        return done

    def _is_done(self, kind: str) -> bool:
        """Whether a step is completed, by its record and by the tables: the process may have been killed in between."""
        found = self.work.steps.newest(kind)
        return found is not None and found.state == "completed" and not lacks(self.work, kind)

    def _is_undone(self, kind: str) -> bool:
        """Whether a step is undone, by its record and by the tables: the process may have been killed in between."""
        found = self.work.steps.newest(kind)
        return found is not None and found.state == "undone" and not remains(self.work, kind)

    def _is_still_there(self, step: StepRecord) -> bool:
        """Whether the tables still show a step that is recorded as undone; a later one of its kind is another matter."""
        newest = self.work.steps.newest(step.kind)
        if newest is None or newest.id != step.id:
            return False
        found = remains(self.work, step.kind)
        if found:
            self.say(f"step {step.id} is recorded as undone, but there is still: {', '.join(found)}. It is undone now")
        return bool(found)

    def _settle(self) -> None:
        """Let the version table follow where the undo of a step was killed just before it was written."""
        for kind in (CONTRACT, BACKFILL, EXPAND):
            if version(self.work) == REVISIONS[kind] and self._is_undone(kind):
                move(self, BELOW[kind], down=True)

    def _require_old_columns(self) -> None:
        """The archive is all that is left of a dropped column, so what stands below contract cannot be undone before it."""
        require_columns_of_contract(self.work)
        if all(one.has_old for one in self.work.layout.places):
            return
        found = self.work.steps.newest(CONTRACT)
        how = f"session-assets revert flow --plan-id {found.id}" if found else "see flow/schema"
        raise PlanRefused(f"A contract is half done: nothing was undone. Undo contract first: {how}")

    def _newest(self) -> StepRecord | None:
        """The last of the three steps that was begun and is not undone."""
        for kind in (CONTRACT, BACKFILL, EXPAND):
            found = self.work.steps.newest(kind)
            if found is not None and (found.state != "undone" or remains(self.work, kind)):
                return found
        return None

    def _preview(self, kind: str) -> dict[str, Any]:
        if kind == CONTRACT:
            return restore(self.work, dry_run=True)
        return {BACKFILL: undo_backfill, EXPAND: undo_expand}[kind](self.work, dry_run=True)

    def require_open_gates(self) -> None:
        """Raises `GatesShut`."""
        staging = staging_record(self.work, self.staging, self.accepted)
        gates = shut_gates(self.work, staging, self.waived_by, self.twin)
        if gates:
            raise GatesShut(gates)
