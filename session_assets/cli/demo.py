"""`demo`: local servers, sample data with known defects, verify → plan → apply → verify, and whether it all came out right.

It works on a database, a ledger and a storage of its own, on embedded servers only: whatever the user has set stays
untouched, and a second demo begins anew.
"""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import click
import polars as pl
from rich.console import Console
from rich.table import Table

from session_assets.cli.runner import Result, Runner
from session_assets.cli.servers import run_ui, servers
from session_assets.embedded import ports
from session_assets.embedded.environment import is_users, offered
from session_assets.embedded.servers import Servers
from session_assets.embedded.state import exclusive, write_private
from session_assets.embedded.web_sample import GRACE_DAYS, Planted, replant
from session_assets.errors import SessionAssetsError, UsageError
from session_assets.masking import safe_text
from session_assets.web.model import REASON, SLICE, VARIABLE, Fix

DATABASE = "web_demo"
NEEDED = ("mongodb", "postgresql")
_DAYS = 40  # partitions: a little more than the sample covers
_DAGSTER = "DAGSTER_POSTGRES_URL"
_LEFT_ALONE = (  # the demo's UI must not reach them
    "CONTEST_MONGO_URI", "AZURE_COSMOS_ENDPOINT", "AZURE_COSMOS_KEY", "KINTELL_DATABASE_URL", "FLOW_DATABASE_URL",
    "NATS_URL",
)  # fmt: skip
_DEFAULTS = (  # what was planted was counted with the defaults
    "SESSION_ASSETS_SETTLE_MINUTES", "SESSION_ASSETS_ORPHAN_GRACE_DAYS", "SESSION_ASSETS_ALLOW_SHRINK",
    "SESSION_ASSETS_MAX_CHANGE_SHARE",
)  # fmt: skip
_PORTS_TRIED = 50


class StepFailed(SessionAssetsError):
    """A step of the demo did not work: the message says which and why."""

    def __init__(self, text: str, exit_code: int) -> None:
        super().__init__(text)
        self.exit_code = exit_code


@dataclass(frozen=True)
class Defect:
    """One kind of defect: how often it was planted, found before and after, and what is wrong with that, if anything."""

    name: str
    kind: str
    planted: int
    before: int
    after: int
    faults: tuple[str, ...]


Found = Mapping[str, list[str]]
"""Reason → ids, one for each document or event."""


@click.command()
@click.option("--no-ui", is_flag=True, help="Stop after the table, and stop the servers that the demo started.")
@click.option("--port", default=3000, show_default=True, help="Of the UI; the next free one is taken.")
def demo(no_ui: bool, port: int) -> int:
    """Sample data with known defects: find them, repair them, count again; then look at it in the UI.

    Exit 0 only where every planted defect was found exactly and no repairable one is left.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    here = servers()
    folder = here.home / "demo"
    folder.mkdir(parents=True, exist_ok=True)
    with _alone(folder), _servers(here) as are_stopped:
        _enter(here, folder)
        faults, plan_ids = _loop()
        _say_verdict(faults)
        if not no_ui:
            _say_undo(here.home, plan_ids, after_up=False)
            _show_ui(_free_port(port))
    if no_ui:
        _say_undo(here.home, plan_ids, after_up=are_stopped)
    return int(bool(faults))


# -- servers and environment -------------------------------------------------------------------------------------------


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """One demo at a time in a home: each begins with an empty database."""
    path = folder / "lock"
    with exclusive(path, 1.0, lambda _: click.echo("Another demo runs in this home.")):
        yield


@contextmanager
def _servers(here: Servers) -> Iterator[bool]:
    """The servers of the demo. Those that were not running before are stopped at the end; yields whether there are any."""
    running = {name for name, state in here.status().items() if state.running}
    mine = [name for name in NEEDED if name not in running]
    try:
        with _step("MongoDB and PostgreSQL", "start" if mine else "run already"):
            here.up(NEEDED)
        yield bool(mine)
    finally:
        if mine:
            with _step("servers of this demo", "stop"):
                here.down(mine)


def _enter(here: Servers, folder: Path) -> None:
    """Point this process, and the UI that it starts, at the demo alone; `{folder}/env` does it for a shell."""
    for name in (VARIABLE, _DAGSTER, "SESSION_ASSETS_STORAGE"):
        if is_users(os.environ, name):
            click.echo(f"{name} is your own: the demo leaves it alone and works on embedded servers, below {here.home}")
    found = here.environment({})
    port = here.status()["mongodb"].port
    if port is None or _DAGSTER not in found:
        raise StepFailed("MongoDB or PostgreSQL has stopped meanwhile. Run the demo again.", 3)
    storage = folder / "storage"
    shutil.rmtree(storage, ignore_errors=True)
    variables = {
        "SESSION_ASSETS_HOME": str(here.home),
        "SESSION_ASSETS_STORAGE": str(storage),
        "SESSION_ASSETS_DROPS": str(here.home / "demo" / "drops"),
        VARIABLE: here.mongodb.uri(port, DATABASE),
        "WEB_START_DATE": (datetime.now(UTC) - timedelta(days=_DAYS)).date().isoformat(),
        _DAGSTER: found[_DAGSTER],
        "DAGSTER_HOME": found["DAGSTER_HOME"],
    }
    variables = offered({}, variables)
    for name in (*_LEFT_ALONE, *_DEFAULTS):
        os.environ.pop(name, None)
    os.environ.update(variables)
    os.environ.setdefault("PYTHONWARNINGS", "ignore")  # Dagster warns of each beta feature, in each process
    write_private(folder / "env", "".join(f"export {name}={shlex.quote(one)}\n" for name, one in variables.items()))


# -- the loop ----------------------------------------------------------------------------------------------------------


def _loop() -> tuple[list[str], dict[str, str]]:
    """Plant, find, repair, count again, and show the table; returns what is wrong, and the plans that were applied."""
    with _step("sample data", "plant") as note:
        planted = replant(os.environ[VARIABLE], now=datetime.now(UTC))
        note(f"{planted.sessions:,} sessions, {planted.logins:,} log-ins, {planted.events:,} events")
    with _step("Dagster", "load"):
        runner = Runner(quiet=True)
    web, fold, orphans = (runner.target(name) for name in (SLICE, f"{SLICE}/duplicates", f"{SLICE}/orphans"))
    faults: list[str] = []
    with _step("verify web", "run") as note:
        before = _worked("verify web", runner.verify(web, (), ()))
        note(f"{before.body['read']:,} documents read, {sum(before.body['reasons'].values()):,} findings in sessions")
    plan_ids: dict[str, str] = {}
    for target in (web, fold):
        with _step(f"plan {target.name}", "run") as note:
            plan = _worked(f"plan {target.name}", runner.plan(target, (), ()))
            note(f"plan {plan.body['plan_id']}: {plan.body['planned']:,} changes")
        with _step(f"apply {target.name}", "run") as note:
            config = {"plan_id": plan.body["plan_id"], "force": False, "batch_size": 5000}
            outcomes = _worked(f"apply {target.name}", runner.apply(target, (), (), config)).body["outcomes"]
            note(", ".join(f"{count:,} {name}" for name, count in outcomes.items() if count) or "nothing to do")
        plan_ids[target.name] = plan.body["plan_id"]
        if outcomes["applied"] != plan.body["planned"]:
            faults.append(f"apply {target.name}: {plan.body['planned']:,} planned, {outcomes['applied']:,} applied")
    with _step("plan web/orphans", "run") as note:
        deletable = _worked("plan web/orphans", runner.plan(orphans, (), ())).body["planned"]
        note(f"{deletable:,} older than {GRACE_DAYS} days; not applied, they stay")
    with _step("verify web", "run again"):
        after = _worked("verify web", runner.verify(web, (), ()))
    defects = compare(planted, found(before), found(after))
    _show(defects)
    for defect in defects:
        faults.extend(f"{defect.name}: {fault}" for fault in defect.faults)
    return [*faults, *_account(planted, before, after, deletable)], plan_ids


def _worked(step: str, result: Result) -> Result:
    """The result of a step that ran to its end, whatever its checks say."""
    if result.error or result.body["failed_partitions"]:
        reason = result.error or f"partitions were set aside: {result.body['failed_partitions']}"
        raise StepFailed(f"{step}: {safe_text(reason)}", result.exit_code or 1)
    return result


def found(verified: Result) -> dict[str, list[str]]:
    """The ids of each reason, from the full lists that the checks name."""
    lists = {reason: path for check in verified.body["checks"] for reason, path in check["full_list"].items()}
    return {
        reason: sorted(pl.concat(pl.read_parquet(file, columns=["id"]) for file in Path(path).iterdir())["id"])
        for reason, path in lists.items()
    }


def compare(planted: Planted, before: Found, after: Found) -> list[Defect]:
    """Each kind of defect, planted or found: exact ids before; afterwards none where repairable, the same ones else."""
    result: list[Defect] = []
    for name in dict.fromkeys([*planted.ids, *before, *after]):
        reason = REASON.get(name)
        fix = reason.fix if reason else Fix.LISTED
        ids = planted.ids.get(name, [])
        left = [] if fix in (Fix.REPAIR, Fix.FOLD) else ids
        times = (("before", ids, before.get(name, [])), ("after", left, after.get(name, [])))
        faults = tuple(text for when, wanted, got in times if (text := _difference(when, wanted, got)))
        counts = len(ids), len(before.get(name, [])), len(after.get(name, []))
        result.append(Defect(name, fix.value, *counts, faults))
    return result


def _difference(when: str, wanted: list[str], got: list[str]) -> str:
    missed, extra = Counter(wanted) - Counter(got), Counter(got) - Counter(wanted)
    parts = [
        f"{sum(some.values()):,} {what} (such as {safe_text(min(some))})"
        for what, some in (("missed", missed), ("not expected", extra))
        if some
    ]
    return f"{when} the repair {' and '.join(parts)}" if parts else ""


def _account(planted: Planted, before: Result, after: Result, deletable: int) -> list[str]:
    """What is wrong with the totals."""
    removed = len(planted.ids["duplicate_session"]) - len(set(planted.ids["duplicate_session"]))
    figures = {
        "documents read before the repair": (planted.documents, before.body["read"]),
        "documents read after it": (planted.documents - removed, after.body["read"]),
        "log-ins left out before the repair": (planted.logins, before.body["classes"].get("not_applicable", 0)),
        "log-ins left out after it": (planted.logins, after.body["classes"].get("not_applicable", 0)),
        "orphans old enough to delete": (planted.old_orphans, deletable),
    }
    return [f"{what}: {got:,}, planted {wanted:,}" for what, (wanted, got) in figures.items() if wanted != got]


# -- what a person sees ------------------------------------------------------------------------------------------------


@contextmanager
def _step(what: str, how: str) -> Iterator[_Note]:
    """One line a step: what was done, what came out, and how long it took."""
    began, note = time.monotonic(), _Note()
    click.echo(f"{f'{what}: {how}':<40} ", nl=False)
    try:
        yield note
    except BaseException:
        click.echo("stopped")
        raise
    click.echo(f"{time.monotonic() - began:5.1f} s  {note.text}".rstrip())


class _Note:
    text = ""

    def __call__(self, text: str) -> None:
        self.text = text


def _show(defects: list[Defect]) -> None:
    table = Table("defect", "planted", "found before", "found after", "kind", "")
    for column in table.columns[1:4]:
        column.justify = "right"
    for one in defects:
        figures = (f"{one.planted:,}", f"{one.before:,}", f"{one.after:,}")
        style, mark = ("red", "wrong") if one.faults else ("green", "exact")
        table.add_row(one.name, *figures, one.kind, mark, style=style)
    Console().print(table)
    click.echo("repair: `apply web` · fold: `apply web/duplicates` · listed: a person decides · wait: the next run")


def _say_verdict(faults: list[str]) -> None:
    if not faults:
        click.secho("Every planted defect was found exactly, and 0 repairable ones are left.", fg="green")
    for fault in faults:
        click.secho(f"WRONG: {fault}", fg="red")


def _say_undo(home: Path, plan_ids: Mapping[str, str], *, after_up: bool) -> None:
    click.echo("To undo the repair of the sample (the last plan first), in a shell:")
    if after_up:
        click.echo(f"  SESSION_ASSETS_HOME={shlex.quote(str(home))} session-assets up --detach")
    click.echo(f"  . {shlex.quote(str(home / 'demo' / 'env'))}")
    for plan_id in reversed(list(plan_ids.values())):
        click.echo(f"  session-assets revert {SLICE} --plan-id {plan_id}")


def _free_port(port: int) -> int:
    for candidate in range(port, min(port + _PORTS_TRIED, 65_536)):
        if ports.is_free(candidate):
            return candidate
    raise UsageError(f"No port from {port} on is free. Choose another one with --port.")


def _show_ui(port: int) -> None:
    url = f"http://127.0.0.1:{port}"
    click.echo(f"\nThe Dagster UI comes up at {url} (in some ten seconds). Look at:")
    for path, text in (
        ("/asset-groups/web", "the graph: events → facts → changes → sessions"),
        ("/assets/web/session_changes", "the dry run, with a preview of before and after for each day"),
        ("/assets/web/sessions?view=checks", "the checks, their counts, ids, full lists and next steps"),
        ("/runs", "the runs that this terminal has just made"),
    ):
        click.echo(f"  {url + path:<56} {text}")
    click.echo("Ctrl-C stops the UI, and the servers that the demo started.")
    run_ui(ports.LOOPBACK, port, quiet=True)
