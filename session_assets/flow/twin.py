"""The whole road tried on a twin, before the first write: the real schema and a sample of its rows in a scratch database.

The real database is read in one snapshot and nothing else is done there. `FLOW_PROBE_SQL` names a file with statements of the
application, `FLOW_SCRATCH_URL` a server for the twin, `FLOW_TWIN_ROWS` how many rows of a table come.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from sqlglot.dialects.postgres import Postgres
from sqlglot.errors import TokenError
from sqlglot.tokenizer_core import TokenType

from session_assets.errors import UsageError
from session_assets.failpoints import failpoint
from session_assets.flow.model import EXPAND, TARGET
from session_assets.flow.obstacle import APPLY
from session_assets.flow.rehearsal import programs_for
from session_assets.flow.twin_model import Obstacle, Report, Statement
from session_assets.flow.twin_road import Road, TwinFlow
from session_assets.masking import one_line
from session_assets.settings import number
from session_assets.storage import Storage
from session_assets.stores.flow_catalog import OURS
from session_assets.stores.flow_gates import digest_of
from session_assets.stores.flow_layout import Layout
from session_assets.stores.flow_migration import Flow
from session_assets.stores.flow_rehearsal import server_version
from session_assets.stores.flow_work import Work
from session_assets.stores.postgres_programs import run_program
from session_assets.stores.postgres_target import postgres_target
from session_assets.stores.twin_catalogue import naming
from session_assets.stores.twin_compare import catalogue, fingerprint
from session_assets.stores.twin_sample import ROWS, choose, copy
from session_assets.stores.twin_schema import Note, make, planned, turn_off, unreadable
from session_assets.stores.twin_scratch import Scratch, scratch
from session_assets.stores.twin_statements import given, recorded, statements

PROBES, SIZE = "FLOW_PROBE_SQL", "FLOW_TWIN_ROWS"
FLOORS = {"new": 0, "expanded": 1, "backfilled": 2}
_SCHEMA = ("-s", "-v", "--no-owner", "--no-privileges", "--no-tablespaces", "--lock-wait-timeout=30s")
_CONTROL = ("BEGIN", "START", "COMMIT", "END", "ROLLBACK", "SAVEPOINT", "ABORT")


def try_road(flow: Flow, storage: Storage, target: str, env: Mapping[str, str] | None = None) -> Report:
    """Make a twin, drive it, drop it. Returns what was tried and found.

    Raises `UsageError` if no twin can be made; `StoreUnavailable` if a server is lost.
    """
    env = os.environ if env is None else env
    began = time.monotonic()
    probes = probe_file(env)
    begins = flow.state()
    with flow.reading() as work:
        report = Report(target, fingerprint(catalogue(work.connection)), digest_of(flow.migration), begins)
        report.must_be_deployed += naming(work.connection, work.layout)
    for one in flow.obstacles():
        if one.blocks == APPLY:
            report.add(Obstacle(one.object, EXPAND, "", "", one.why, one.remedy))
    if report.obstacles:  # no step would begin
        return report
    with scratch(flow.database, env) as place:
        flow.say(f"twin: {place.name}")
        seen = _copy(flow, storage, place, report, int(number(env, SIZE, ROWS)))
        limits = replace(flow.limits, lock=5.0, tries=3, lag=math.inf, transaction=math.inf)  # nobody else is there
        twin = TwinFlow(
            place.database, flow.migration, limits, waived_by="the twin", say=flow.say, described=flow.described
        )
        try:
            _adopt(place, flow)
            with twin.reading() as work:
                made = [*statements(work.connection, work.layout)]
                olds = {one.linked.old.lower() for one in work.layout.places}
        except UsageError as error:
            told = "; ".join(report.notes) or "nothing was left out"
            raise UsageError(
                f"The twin cannot be made as the database is: {error} Of the schema: {told}. Nothing was changed. See to it, or"
                " do without the twin: FLOW_WAIVE_TWIN=NAME."
            ) from None
        given_ones = [given(text, f"{PROBES} {place_}", olds) for place_, text in enumerate(probes, 1)]
        failpoint("flow.twin.made")
        with place.database.connected("twin application") as application:
            Road(twin, application, FLOORS[begins], [*made, *given_ones, *seen], report, storage).go()
    report.seconds = round(time.monotonic() - began, 1)
    return report


def probe_file(env: Mapping[str, str]) -> list[str]:
    """The statements of FLOW_PROBE_SQL. Raises `UsageError` for a file that cannot be read, or controls transactions."""
    if not env.get(PROBES):
        return []
    path = Path(env[PROBES])
    try:
        text = path.read_text(encoding="utf-8")
        tokens = Postgres.Tokenizer().tokenize(text)
    except (OSError, UnicodeDecodeError, TokenError) as error:
        raise UsageError(
            f"{PROBES}: {one_line(path)} cannot be read: {one_line(error)}. Correct it, or leave {PROBES} out."
        ) from None
    found, first = list[str](), None
    for token in [*tokens, None]:
        if token is not None and token.token_type is not TokenType.SEMICOLON:
            first = first or token
            continue
        if first is not None:
            if first.text.upper() in _CONTROL:
                raise UsageError(
                    f"{PROBES}: {one_line(path)}, line {first.line}: remove {first.text.upper()}. Each statement is tried in a"
                    " transaction of its own, which is taken back."
                )
            found.append(text[first.start : token.start if token is not None else len(text)])
        first = None
    return found


def _copy(flow: Flow, storage: Storage, place: Scratch, report: Report, rows: int) -> list[Statement]:
    """Schema and sample of the real database, as of one snapshot. Returns the statements that its server recorded."""
    programs = programs_for(server_version(flow.database))
    with storage.scratch() as folder, flow.database.connected("flow twin") as real:
        real.execute("BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        snapshot = real.execute("SELECT pg_export_snapshot()").fetchone()
        assert snapshot is not None
        script, without = folder / "schema.sql", unreadable(real)
        script.touch(mode=0o600)
        complaint = run_program(
            programs / "pg_dump",
            flow.database,
            [
                *_SCHEMA,
                f"--snapshot={snapshot[0]}",
                *(f"--exclude-table={name}" for name in without),
                "-f",
                str(script),
            ],
        )
        if complaint is not None:
            raise UsageError(
                f"The schema cannot be copied to a twin: {complaint}. Nothing was changed. Do without it: FLOW_WAIVE_TWIN=NAME."
            )
        plan = planned(real, script, without)
        layout = Layout(real, flow.migration)
        with place.database.connected("twin maker") as maker:
            maker.execute("SET session_assets.flow_quiet = 'on'")
            make(maker, plan.early, plan.notes)
            copied = copy(real, maker, choose(real, layout, rows), plan.notes)
            report.rows = {name: count for name, count in copied.items() if OURS not in name}
            make(maker, plan.late, plan.notes)
            turn_off(maker, plan)
        real.execute("COMMIT")
        seen, why_none = recorded(real, layout)
    for one in [*plan.notes, *([Note("recorded statements", why_none)] if why_none else [])]:
        report.note(f"{one_line(one.about)}: {one_line(one.text)}")
    return seen


def _adopt(place: Scratch, flow: Flow) -> None:
    """Steps that came along were done on the real database: on the twin they are its own."""
    with place.database.connected("twin maker") as connection:
        work = Work(connection, flow.migration, flow.limits, flow.say)
        if work.steps.exist():
            work.steps.move_to(postgres_target(connection, TARGET))
