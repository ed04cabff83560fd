"""A step of a slice, below Dagster, in a process of its own in which one call to a store or a file fails or is the last one.

Work is done in one thread where the product would use several, so that the n-th call is the same one each time.
"""

from __future__ import annotations

import json
import logging
import os
import secrets
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from pymongo import common

from session_assets.changes import revert as revert_module
from session_assets.changes import session as session_module
from session_assets.changes.apply import apply_part
from session_assets.changes.session import raise_for
from session_assets.contest.assets import SESSIONS as CONTEST
from session_assets.drops.folder import drop_key, fingerprint
from session_assets.errors import LockHeld, SessionAssetsError
from session_assets.flow.assets import open_flow
from session_assets.flow.model import EXPAND
from session_assets.graph.environment import Environment
from session_assets.graph.loop import ApplyConfig, Loop, RevertConfig, apply_loop, revert_loop
from session_assets.identity.assets import USER_SESSIONS
from session_assets.io_calls import VARIABLE
from session_assets.kintell import importing
from session_assets.kintell.assets import open_imports, options_of
from session_assets.kintell.results import publish
from session_assets.stores import cosmos_changes, cosmos_transport, kintell_outbox, mongo_changes, postgres
from session_assets.stores.kintell_revert import Undo
from session_assets.web.assets import SESSIONS as WEB
from session_assets_tests.fork_server import CONTEXT

BATCH = 2  # rows: two batches of each target
BUG = 70
"""Code of a process that ended with an error of no class of ours."""
_PATIENCE_SECONDS = 120
_LOCK_SECONDS = 20
_LOOPS: dict[str, Callable[[], Loop]] = {
    "web": lambda: WEB.loop,
    "contest": lambda: CONTEST.loop,
    "identity": lambda: USER_SESSIONS.loop,
}
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Call:
    """One call as it was counted: of which process, its server, its kind, and what it is about."""

    process: int
    server: str
    kind: str
    about: str


@dataclass(frozen=True)
class Work:
    """What the process does. `ids` are what earlier steps told, by step: a plan, a job, a step of the migration."""

    slice_: str
    step: str
    variables: Mapping[str, str]
    ids: Mapping[str, str]
    file: str = ""


@dataclass(frozen=True)
class Ended:
    """How it ended: 0, the exit code of an error of ours, `BUG`, or minus a signal. `told` is the id of what was done."""

    code: int
    error: str
    told: str
    calls: list[Call] = field(repr=False)


def run(work: Work, folder: Path, fault: str = "") -> Ended:
    """Do the work once. `fault` is `N=MODE`."""
    name = folder / secrets.token_hex(6)
    answer, counted = name.with_suffix(".json"), name.with_suffix(".calls")
    spec = ";".join(filter(None, [f"count={counted}", fault]))
    process = CONTEXT.Process(target=_work, args=(work, spec, str(answer)))
    process.start()
    process.join(_PATIENCE_SECONDS)
    hung = process.is_alive()
    process.kill()
    process.join()
    assert not hung, f"{work.slice_} {work.step} hung with {fault}"
    told = json.loads(answer.read_text()) if answer.exists() else {}
    calls = [_call(line) for line in counted.read_text().splitlines()] if counted.exists() else []
    for file in (answer, counted):
        file.unlink(missing_ok=True)
    assert process.exitcode is not None
    return Ended(told.get("code", process.exitcode), told.get("error", ""), told.get("told", ""), calls)


def finish(work: Work, folder: Path) -> Ended:
    """Do the same work again, as soon as the servers have seen that a killed process is gone."""
    deadline = time.monotonic() + _LOCK_SECONDS
    while (ended := run(work, folder)).code == LockHeld.exit_code and time.monotonic() < deadline:
        pass
    return ended


def _call(line: str) -> Call:
    process, _, server, kind, about = line.split("\t")
    return Call(int(process), server, kind, about)


def _work(work: Work, spec: str, answer: str) -> None:
    from session_assets_tests.loaded import SET_AT_IMPORT

    os.environ.clear()
    os.environ.update(SET_AT_IMPORT | dict(work.variables) | {VARIABLE: spec})
    session_module._PARTITIONS_AT_ONCE = 1
    session_module.apply_part = revert_module.apply_part = partial(apply_part, workers=1)
    importing._PAUSES, postgres._PAUSES = (0.01,) * 3, (0.01,) * 5  # a server that is lost stays so
    mongo_changes._FIRST_PAUSE = common.MIN_HEARTBEAT_INTERVAL = 0.01
    cosmos_transport._LONGEST_PAUSE = cosmos_changes._LONGEST_PAUSE = 0.01
    kintell_outbox._PAUSES, kintell_outbox._PAGE = (0.01,) * len(kintell_outbox._PAUSES), 12
    told: dict[str, Any]
    try:
        told = {"code": 0, "told": _STEPS[work.step](work) or ""}
    except SessionAssetsError as error:
        told = {"code": error.exit_code, "error": str(error)}
    except BaseException:
        told = {"code": BUG, "error": traceback.format_exc()}
    Path(answer).write_text(json.dumps(told))


def _plan(work: Work) -> str:
    environment, loop = Environment.load(), _LOOPS[work.slice_]()
    loop.plan_first(environment, None, secrets.token_hex(4))
    return next(iter(loop.ledger(environment).pending()))


def _apply(work: Work) -> str:
    loop = _LOOPS[work.slice_]()
    config = ApplyConfig(batch_size=BATCH)
    report = apply_loop(loop, Environment.load(), None, config, secrets.token_hex(4), _log)
    raise_for(report.failed, f"apply {loop.name}")
    return ""


def _revert(work: Work) -> str:
    loop = _LOOPS[work.slice_]()
    config = RevertConfig(loop=loop.name, plan_id=work.ids["plan"], batch_size=BATCH)
    revert_loop(loop, Environment.load(), config, secrets.token_hex(4), _log)
    return ""


def _import(work: Work) -> str:
    environment, path = Environment.load(), Path(work.file)
    imports = open_imports(environment)
    taken = imports.take(drop_key(path, fingerprint(path)), path)
    options = options_of(environment.settings, None, 7, None, max_rejected_share=None)
    job, _ = imports.run(taken, options, say=_log.info)
    imports.write_errors(job)
    return job.id


def _publish(work: Work) -> str:
    publish(open_imports(Environment.load()))
    return ""


def _take_back(work: Work) -> str:
    imports = open_imports(Environment.load())
    job = imports.jobs.get(work.ids["import"])
    Undo(imports.jobs, job).run()
    imports.forget(imports.jobs.get(job.id))
    return ""


def _flow(work: Work) -> Any:
    flow = open_flow(waived_by="a test")
    flow.limits = replace(flow.limits, batch=6, settle_minutes=0, unmapped_share=1)
    return flow


def _undo(step: str, work: Work) -> str:
    _flow(work).undo(work.ids[step])
    return ""


def _undo_expand(work: Work) -> str:
    flow = _flow(work)
    with flow.reading() as opened:
        step = opened.steps.newest(EXPAND)
    flow.undo(step.id)
    return ""


_STEPS: dict[str, Callable[[Work], str]] = {
    "plan": _plan,
    "apply": _apply,
    "revert": _revert,
    "import": _import,
    "publish": _publish,
    "revert of import": _take_back,
    "expand, backfill": lambda work: _flow(work).apply().id,
    "rehearsal": lambda work: _flow(work).rehearse(lambda _: {}).id,
    "contract": lambda work: _flow(work).contract().id,
    "revert of contract": partial(_undo, "contract"),
    "revert of backfill": partial(_undo, "expand, backfill"),
    "revert of expand": _undo_expand,
}
