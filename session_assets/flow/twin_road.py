"""The road on a twin: up to each step, back from it, and with writes of the application in between. What fails is an obstacle."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from session_assets.errors import LockHeld, SessionAssetsError, StoreUnavailable
from session_assets.flow.model import BACKFILL, CONTRACT, EXPAND, REVISIONS, RULES
from session_assets.flow.rehearsal import rehearse
from session_assets.flow.twin_model import BEFORE, STAGES, Obstacle, Report, Statement, is_by_design, remedy_of
from session_assets.masking import one_line
from session_assets.progress import tell
from session_assets.storage import Storage
from session_assets.stores.flow_alembic import move
from session_assets.stores.flow_catalog import Table
from session_assets.stores.flow_migration import Flow
from session_assets.stores.flow_recount import recount
from session_assets.stores.flow_waits import TooBusy
from session_assets.stores.twin_compare import Catalogue, catalogue, changed_rows, differences, fires, keep_rows
from session_assets.stores.twin_scratch import REHEARSED
from session_assets.stores.twin_statements import Connection, Failure, Sender, database_failure, full_name

STEPS = (EXPAND, BACKFILL, CONTRACT)
_JUDGED = ("rows_follow_their_session", "archive_holds_every_value", "schema_is_as_its_step")
"""Checks that must pass on the twin after a backfill, whatever the data."""
_NEW_APPLICATION = ("23502", "23514")
"""How an INSERT that knows flows only fails if the old column, or a check on it, must have a value."""
_WITH_WRITES = "writes of the application"


class TwinFlow(Flow):
    """The migration of a twin. Gates are about people, time and data of the real one: they are open."""

    def require_open_gates(self) -> None:
        return None


class Road:
    """Drives one twin. `floor` is how many steps were done when it was made."""

    def __init__(
        self,
        flow: TwinFlow,
        keeper: Connection,
        floor: int,
        statements: Sequence[Statement],
        report: Report,
        storage: Storage,
    ) -> None:
        self._flow, self._twin, self._floor, self._report, self._storage = flow, keeper, floor, report, storage
        self._statements = list(statements)
        self._sender = Sender(keeper)
        self._was: Catalogue = {}
        self._tables: list[Table] = []
        self._inserted = set[str]()
        """Tables that took a row before the first step."""
        self._later: list[Statement] = []
        """INSERTs without the old column that failed then: it had to have a value."""
        self._done = 0

    def go(self) -> None:
        """Up to each step and back; then once more with writes in between. Stops climbing where a step fails."""
        self._before()
        tops = range(self._floor + 1, len(STEPS) + 1)
        for top in tops:
            reached = self._climb(top)
            is_back = self._descend(top)
            if is_back:
                self._compare(STEPS[top - 1])
            if not (reached and is_back):
                return
        if self._climb(len(STEPS), is_told=False):
            self._write()
            self._descend(len(STEPS), _WITH_WRITES)

    # -- stages --------------------------------------------------------------------------------------------------------

    def _before(self) -> None:
        with self._flow.reading() as work:
            self._tables = work.layout.tables
        self._was = catalogue(self._twin)
        keep_rows(self._twin, self._tables)
        stage = (BEFORE, *STEPS)[self._floor]
        sent = [one for one in self._statements if STAGES.index(one.since) <= self._floor]
        failed = {one: failure for one in sent if (failure := self._sender.fails(one)) is not None}
        worked = [one for one in sent if one not in failed]
        for table in sorted({full_name(one) for one in self._tables} - {one.table for one in worked}):
            self._report.note(f"table {table}: no statement could be made from its rows, so none was tried there")
        for one, failure in failed.items():
            if one.is_own:
                self._report.note(
                    f"{one.about}: it fails before the migration ({failure.sqlstate}), so it says nothing"
                )
        self._inserted = {one.table for one in worked if one.is_insert}
        self._later = [one for one in failed if one.is_insert and not one.names_old]
        self._statements = [one for one in self._statements if one not in failed]
        self._report.stages[stage] = len(sent)

    def _climb(self, top: int, *, is_told: bool = True) -> bool:
        for place in range(self._floor, top):
            step = STEPS[place]
            self._tell(step)
            if not self._tries(step, f"the step {step}", partial(self._do, step)):
                return False
            if is_told and place == top - 1:
                self._send(step)
        return True

    def _do(self, step: str) -> None:
        flow = self._flow
        if step == CONTRACT:  # as the real one: a backup comes first
            name = f"{flow.database.url.rpartition('/')[2].partition('?')[0]}{REHEARSED}"
            flow.rehearse(lambda done: rehearse(flow.database, self._storage, done.id, flow.say, twin=name))
        with flow.holding():
            move(flow, REVISIONS[step])
        if step == BACKFILL:
            with flow.reading() as work:
                wrong = [one for one in recount(work, list(_JUDGED)) if not one.passed]
            for one in wrong:
                self._add(Failure("", one.text, "the rows"), step, f"the check {one.name}", RULES[one.name].next_step)

    def _descend(self, top: int, after: str = "") -> bool:
        """Undo what was done above the floor, a step that failed half-way, too."""
        for place in reversed(range(self._floor, top)):
            step = STEPS[place]
            stage = f"undo of {step}" + (f" after {after}" if after else "")
            with self._flow.reading() as work:
                found = work.steps.newest(step)
            if found is None or found.state == "undone":
                continue
            self._tell(stage)
            undo = partial(self._undo, found.id, stage, is_clean=not after)
            if not self._tries(stage, f"the undo of {step}", undo):
                return False
            if top == len(STEPS) and not after:
                self._send(STEPS[place - 1] if place else BEFORE, stage)
        return True

    def _undo(self, step_id: str, stage: str, *, is_clean: bool) -> None:
        undone = self._flow.undo(step_id)
        if is_clean and undone.get("left"):
            words = sorted({one.word for one in undone["left"]})
            told = f"{len(undone['left']):,} rows are left: {', '.join(words)}"
            self._add(Failure("", told, "rows that the migration wrote"), stage, "the undo")

    def _compare(self, top: str) -> None:
        """Whether the database is as it was, after the way back."""
        stage = f"way back from {top}"
        for one in differences(self._was, catalogue(self._twin)):
            self._add(
                Failure("", f"it does not come back as it was: {one_line(one.text)}", one.about), stage, "the undo"
            )
        fired = {f"table {full_name(table)}" for table in self._tables if fires(self._twin, table)}
        with self._flow.reading() as work:
            ours = {
                f"table {full_name(place.table)}": {place.linked.old, place.linked.flow} for place in work.layout.places
            }
        for one in changed_rows(self._twin, self._tables):
            if one.columns and one.about in fired and not ours.get(one.about, set[str]()) & {*one.columns}:
                self._report.note(
                    f"{one.about}: {one.text} after the {stage}. A trigger of yours writes it, so no undo brings it back"
                )
            else:
                self._add(Failure("", one.text, one.about), stage, "the undo")

    # -- the application -------------------------------------------------------------------------------------------------

    def _send(self, stage: str, told: str = "") -> None:
        """Statements of the application at a stage: what worked before must work, unless it names a column that is gone."""
        sent = 0
        for one in list(self._statements):
            if STAGES.index(one.since) > STAGES.index(stage) or (
                stage == CONTRACT and one.names_old and not one.is_own
            ):
                continue
            sent += 1
            failure = self._sender.fails(one)
            if failure is None:
                continue
            if is_by_design(failure.sqlstate, stage, one.names_old):
                if one.about not in self._report.must_be_deployed:
                    self._report.must_be_deployed.append(one.about)
            elif one.since == stage and not self._is_of_old(one, failure):
                self._statements.remove(one)
                self._report.note(f"{one.about}: it never worked ({failure.sqlstate}), so it says nothing")
            else:
                self._add(failure, told or stage, one.about, table=one.table)
        if stage == CONTRACT:
            sent += self._insert_after_contract(told or stage)
        self._report.stages[told or stage] = sent

    def _insert_after_contract(self, stage: str) -> int:
        """Each table that took rows before must take some after contract, of an application that names no old column."""
        sent = 0
        for table in sorted(self._inserted):
            tried = [one for one in (*self._statements, *self._later) if one.table == table and one.is_insert]
            failures = [(one, self._sender.fails(one)) for one in tried if not one.names_old]
            sent += len(failures)
            if failures and all(failure is not None for _, failure in failures):
                one, failure = failures[-1]
                assert failure is not None
                self._add(failure, stage, f"{one.about}; no other INSERT works", table=table)
        return sent

    def _is_of_old(self, statement: Statement, failure: Failure) -> bool:
        """Whether a statement fails since the old column, or a constraint on it or on the flow, must have a value."""
        if failure.sqlstate not in _NEW_APPLICATION:
            return False
        with self._flow.reading() as work:
            place = next(one for one in work.layout.places if full_name(one.table) == statement.table)
        names = {place.linked.old, place.linked.flow}
        names |= {one.name for one in place.table.constraints if names & {*one.columns}}
        return failure.object.rpartition(".")[2] in names

    def _write(self) -> None:
        """Writes that stay, as an application makes them after contract: each in its own transaction, and as far as it goes."""
        for one in self._statements:
            if not (one.names_old or one.is_own or one.is_prepared):
                self._sender.commits(one)

    # -- telling -------------------------------------------------------------------------------------------------------

    def _tries(self, stage: str, what: str, work: Callable[[], None]) -> bool:
        """Do it; a failure of the database, or a refusal of ours, is an obstacle."""
        try:
            work()
        except (StoreUnavailable, LockHeld, TooBusy):
            raise
        except SessionAssetsError as error:
            failure = database_failure(error) or Failure("", str(error), "the migration")
            self._add(failure, stage, what)
            return False
        return True

    def _add(self, failure: Failure, stage: str, statement: str, remedy: str = "", *, table: str = "") -> None:
        about = failure.object or (f"table {table}" if table else "the database")
        self._report.add(
            Obstacle(one_line(about), stage, one_line(statement), failure.sqlstate, one_line(failure.message).rstrip("."),
                     remedy or remedy_of(failure.sqlstate))
        )  # fmt: skip

    def _tell(self, stage: str) -> None:
        self._done += 1
        self._flow.say(f"twin: {stage}")
        tell("twin", self._done, 16)
