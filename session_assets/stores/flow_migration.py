"""The flow migration of one database: its steps, each recorded and resumable, and how each is taken back.

Alembic's revisions and the graph both call these steps; whoever calls holds one lock, so that they never work at once.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from session_assets.errors import PlanRefused, SessionAssetsError, UsageError
from session_assets.failpoints import failpoint
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
from session_assets.stores.flow_expand import expand, undo_expand
from session_assets.stores.flow_gates import Gate, GatesShut, digest_of, original_shapes, shut_gates
from session_assets.stores.flow_pooler import require_sessions
from session_assets.stores.flow_restore import restore
from session_assets.stores.flow_steps import StepRecord
from session_assets.stores.flow_unfill import undo_backfill
from session_assets.stores.flow_waits import Say
from session_assets.stores.flow_work import Work, begin_snapshot
from session_assets.stores.postgres import Database

BELOW = {EXPAND: "base", BACKFILL: REVISIONS[EXPAND], CONTRACT: REVISIONS[BACKFILL]}
"""The revision that the undo of a step ends in."""
_SAME = "SELECT pg_postmaster_start_time()::text || (SELECT oid FROM pg_database WHERE datname = current_database())"


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
    ) -> None:
        self.database, self.migration, self.limits = database, migration, limits or Limits()
        self.staging, self.waived_by, self.say = staging, waived_by, say
        self._work: Work | None = None

    @staticmethod
    def from_env(env: Mapping[str, str] | None = None, say: Say = _quiet, waived_by: str | None = None) -> Flow:
        """Raises `NotConfigured` where FLOW_DATABASE_URL is unset. Connects to nothing."""
        env = os.environ if env is None else env
        staging = Database.from_env(STAGING_VARIABLE, env) if env.get(STAGING_VARIABLE) else None
        return Flow(
            Database.from_env(VARIABLE, env),
            limits=Limits.from_env(env),
            staging=staging,
            waived_by=waived_by or env.get("FLOW_WAIVE_STAGING") or None,
            say=say,
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
                self._work = Work(connection, self.migration, self.limits, self.say)
                try:
                    yield self._work
                finally:
                    self._work = None

    @contextmanager
    def reading(self) -> Iterator[Work]:
        """One snapshot to read from, without the lock."""
        with self.database.connected("flow reading") as connection:
            begin_snapshot(connection, self.migration)
            yield Work(connection, self.migration, self.limits, self.say)
            connection.execute("COMMIT")

    # -- steps ---------------------------------------------------------------------------------------------------------

    def state(self) -> str:
        """new | expanded | backfilled | contracted."""
        with self.reading() as work:
            return {None: "new", "0001": "expanded", "0002": "backfilled"}.get(version(work), "contracted")

    def apply(self) -> StepRecord:
        """Expand and backfill, or backfill again; goes on where a killed one stopped. Returns the backfill's step."""
        with self.holding() as work:
            self._settle()
            at = version(work)
            if at == REVISIONS[CONTRACT]:
                raise PlanRefused("The old columns are gone already: there is nothing to backfill from.")
            if at == REVISIONS[BACKFILL]:
                if not all(one.has_old for one in work.layout.places):
                    raise PlanRefused(
                        "A contract is half done. Finish it (`apply flow/contract`), or revert it, first."
                    )
                self.run_backfill(again=True)
            else:
                move(self, REVISIONS[BACKFILL])
            step = self.work.steps.newest(BACKFILL, "completed")
            assert step is not None
            return step

    def contract(self) -> StepRecord:
        """Drop the old columns. Raises `GatesShut`."""
        with self.holding() as work:
            self._settle()
            at = version(work)
            if at == REVISIONS[CONTRACT]:
                raise PlanRefused("Contract is completed already.")
            self._require_open_gates()
            move(self, REVISIONS[CONTRACT])
            step = self.work.steps.newest(CONTRACT, "completed")
            assert step is not None
            return step

    def gates(self) -> list[Gate]:
        """The gates of contract that are shut now."""
        with self.holding() as work:
            return shut_gates(work, self._staging_record(), self.waived_by)

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
            if step.state == "undone":
                return {"kind": step.kind, "nothing": True, "refused": []}
            newest = self._newest()
            if newest is not None and newest.kind != step.kind:
                raise PlanRefused(f"Undo {newest.kind} first: session-assets revert flow --plan-id {newest.id}")
            if dry_run:
                return {"kind": step.kind, **self._preview(step.kind)}
            at = version(work)
            if at == REVISIONS[step.kind]:
                move(self, BELOW[step.kind], down=True)
            else:  # it was not finished
                {EXPAND: self.run_undo_expand, BACKFILL: self.run_undo_backfill, CONTRACT: self.run_restore}[
                    step.kind
                ]()
            undo = self.work.steps.newest(f"undo of {step.kind}", "completed")
            assert undo is not None
            return {"kind": step.kind, **undo.counts}

    # -- what revisions call -------------------------------------------------------------------------------------------

    def run_expand(self) -> None:
        if self._is_done(EXPAND):
            return
        self._run(EXPAND, lambda _: expand(self.work))

    def run_backfill(self, *, again: bool = False) -> None:
        if again or not self._is_done(BACKFILL):
            self._run(BACKFILL, lambda step: backfill(self.work, step))

    def run_contract(self) -> None:
        if self._is_done(CONTRACT):
            return
        self._require_open_gates()
        told = {"migration": digest_of(self.migration), "shapes": original_shapes(self.work)}
        waived = {"staging_waived_by": self.waived_by} if self.waived_by else {}
        self._run(CONTRACT, lambda _: {**told, **waived, **contract(self.work)})

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
        self.work.steps.undone(EXPAND, REHEARSAL)

    # -- parts ---------------------------------------------------------------------------------------------------------

    def _run(self, kind: str, run: Callable[[StepRecord], dict[str, Any]]) -> StepRecord:
        step = self.work.steps.begin(kind)
        failpoint(f"flow.begun.{kind}")
        try:
            counts = run(step)
        except Exception as error:
            self.work.steps.mark(step, "failed", str(error))
            raise
        failpoint(f"flow.ended.{kind}")
        done = self.work.steps.complete(step, counts, self.work.layout.fingerprint)
        failpoint(f"flow.completed.{kind}")
        return done

    def _is_done(self, kind: str) -> bool:
        """Whether a step is completed, though the version table does not say so: the process was killed in between."""
        found = self.work.steps.newest(kind)
        return found is not None and found.state == "completed"

    def _is_undone(self, kind: str) -> bool:
        """Whether a step is undone, though the version table does not say so: the process was killed in between."""
        found = self.work.steps.newest(kind)
        return found is not None and found.state == "undone"

    def _settle(self) -> None:
        """Let the version table follow where the undo of a step was killed just before it was written."""
        for kind in (CONTRACT, BACKFILL, EXPAND):
            if version(self.work) == REVISIONS[kind] and self._is_undone(kind):
                move(self, BELOW[kind], down=True)

    def _require_old_columns(self) -> None:
        """The archive is all that is left of a dropped column, so what stands below contract cannot be undone before it."""
        if all(one.has_old for one in self.work.layout.places):
            return
        found = self.work.steps.newest(CONTRACT)
        how = f"session-assets revert flow --plan-id {found.id}" if found else "see flow/schema"
        raise PlanRefused(f"A contract is half done: nothing was undone. Undo contract first: {how}")

    def _newest(self) -> StepRecord | None:
        """The last of the three steps that was begun and is not undone."""
        for kind in (CONTRACT, BACKFILL, EXPAND):
            found = self.work.steps.newest(kind)
            if found is not None and found.state != "undone":
                return found
        return None

    def _preview(self, kind: str) -> dict[str, Any]:
        if kind == CONTRACT:
            return restore(self.work, dry_run=True)
        return {BACKFILL: undo_backfill, EXPAND: undo_expand}[kind](self.work, dry_run=True)

    def _require_open_gates(self) -> None:
        gates = shut_gates(self.work, self._staging_record(), self.waived_by)
        if gates:
            raise GatesShut(gates)

    def _staging_record(self) -> Callable[[], tuple[str, dict[str, str]] | None] | None:
        staging = self.staging
        if staging is None:
            return None

        def record() -> tuple[str, dict[str, str]] | None:
            with staging.connected("flow staging") as connection:
                other = Work(connection, self.migration, self.limits, self.say)
                if other.one(_SAME) == self.work.one(_SAME):
                    raise SessionAssetsError(f"{STAGING_VARIABLE} leads to the very database that is migrated.")
                step = other.steps.newest(CONTRACT, "completed")
                return None if step is None else (step.counts.get("migration", ""), step.counts.get("shapes", {}))

        return record
