"""`demo`: local servers, sample data with known defects, verify → plan → apply → verify, and whether it all came out right.

It works on a database, a ledger and a storage of its own, on embedded servers only: whatever the user has set stays
untouched, and a second demo begins anew.
"""

from __future__ import annotations

import os
import shlex
import shutil
import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import click

from session_assets.cli.demo import contest, flow, identity, kintell, web
from session_assets.cli.demo.steps import StepFailed, step
from session_assets.cli.runner import Runner
from session_assets.cli.servers import run_ui, servers
from session_assets.durable import own_folder
from session_assets.embedded import ports
from session_assets.embedded.environment import is_users, offered
from session_assets.embedded.flow_app_sample import app_variables
from session_assets.embedded.servers import Servers
from session_assets.embedded.state import exclusive, write_private
from session_assets.errors import UsageError

SLICES = (web, identity, contest, kintell, flow)
DATABASE = "web_demo"
NEEDED = ("mongodb", "postgresql", "nats", "cosmos")
_DAYS = 40  # partitions: a little more than the sample covers
_MONTHS = 6
_DAGSTER, _NATS = "DAGSTER_POSTGRES_URL", "NATS_URL"
_LEFT_ALONE = (  # the demo's UI must not reach them
    "AZURE_COSMOS_DB_PREFIX", "FLOW_STAGING_DATABASE_URL", "FLOW_WAIVE_STAGING", "FLOW_BACKUP_FOLDER",
    "FLOW_CODE_ROOT", "FLOW_VALIDATION_ROOT", "FLOW_SESSION_MAP", "FLOW_METRICS_URL", "FLOW_METRICS_FILE",
    "FLOW_METRICS_PATH", "FLOW_MIGRATED_ON", "FLOW_SCHEMA", "FLOW_SCRATCH_URL", "FLOW_PROBE_SQL",
    "FLOW_WAIVE_TWIN", "FLOW_DEPLOYED",
     "SESSION_ASSETS_ALERT_WEBHOOK_URL", "SESSION_ASSETS_ALERT_SMTP_URL",
    "SESSION_ASSETS_ALERT_EMAIL_TO", "SESSION_ASSETS_REPAIR_WEB", "SESSION_ASSETS_REPAIR_IDENTITY",
    "SESSION_ASSETS_REPAIR_CONTEST", "WEB_MAPPING",
)  # fmt: skip
_DEFAULTS = (  # what was planted was counted with the defaults
    "SESSION_ASSETS_SETTLE_MINUTES", "SESSION_ASSETS_ORPHAN_GRACE_DAYS", "SESSION_ASSETS_ALLOW_SHRINK",
    "SESSION_ASSETS_MAX_CHANGE_SHARE", "KINTELL_ENCODING", "KINTELL_TIMEZONE", "KINTELL_MAX_REJECTED_SHARE", "COSMOS_CONCURRENCY",
    "COSMOS_REQUEST_UNITS", "COSMOS_VERIFY_TLS", "FLOW_BATCH_ROWS", "FLOW_LOCK_TIMEOUT_MS", "FLOW_LOCK_TRIES",
    "FLOW_STATEMENT_TIMEOUT_SECONDS", "FLOW_MAX_REPLICATION_LAG_SECONDS", "FLOW_MAX_TRANSACTION_SECONDS",
    "FLOW_MAX_PAUSE_SECONDS", "FLOW_REHEARSAL_HOURS", "FLOW_TWIN_ROWS", "FLOW_MAX_UNMAPPED_SHARE",
)  # fmt: skip
_PORTS_TRIED = 50
_RUNS = ("/runs", "the runs that this terminal has just made")
_SERVERS = "MongoDB, PostgreSQL, NATS or Cosmos DB"


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
    own_folder(folder)
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
        with step(_SERVERS.replace(" or ", " and "), "start" if mine else "run already"):
            here.up(NEEDED)
        yield bool(mine)
    finally:
        if mine:
            with step("servers of this demo", "stop"):
                here.down(mine)


def _enter(here: Servers, folder: Path) -> None:
    """Point this process, and the UI that it starts, at the demo alone; `{folder}/env` does it for a shell."""
    for name in (*(slice_.VARIABLE for slice_ in SLICES), _NATS, _DAGSTER, "SESSION_ASSETS_STORAGE"):
        if is_users(os.environ, name):
            click.echo(f"{name} is your own: the demo leaves it alone and works on embedded servers, below {here.home}")
    found = here.environment({})
    mongodb, postgresql = (here.status()[name].port for name in ("mongodb", "postgresql"))
    if mongodb is None or postgresql is None or not {_DAGSTER, _NATS, identity.VARIABLE} <= found.keys():
        raise StepFailed(f"{_SERVERS} has stopped meanwhile. Run the demo again.", 3)
    storage = folder / "storage"
    for name in (storage, folder / "drops", folder / "flow"):
        shutil.rmtree(name, ignore_errors=True)
    variables = {
        "SESSION_ASSETS_HOME": str(here.home),
        "SESSION_ASSETS_STORAGE": str(storage),
        "SESSION_ASSETS_DROPS": str(here.home / "demo" / "drops"),
        web.VARIABLE: here.mongodb.uri(mongodb, DATABASE),
        contest.VARIABLE: here.mongodb.uri(mongodb, contest.DATABASE),
        kintell.VARIABLE: here.postgresql.uri(postgresql, kintell.DATABASE),
        flow.VARIABLE: here.postgresql.uri(postgresql, flow.DATABASE),
        **app_variables(folder / "flow"),
        _NATS: found[_NATS],
        identity.VARIABLE: found[identity.VARIABLE],
        "AZURE_COSMOS_KEY": found["AZURE_COSMOS_KEY"],
        "COSMOS_DATABASE_NAME": identity.DATABASE,
        "WEB_START_DATE": (datetime.now(UTC) - timedelta(days=_DAYS)).date().isoformat(),
        "CONTEST_START_DATE": (datetime.now(UTC) - timedelta(days=_MONTHS * 31)).date().isoformat(),
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


def _loop() -> tuple[list[str], dict[str, list[str]]]:
    """Each slice in turn; what is wrong, and by slice the plans that were applied."""
    with step("Dagster", "load"):
        runner = Runner(quiet=True)
    faults: list[str] = []
    plans: dict[str, list[str]] = {}
    for slice_ in SLICES:
        wrong, plans[slice_.SLICE] = slice_.run(runner)
        faults += wrong
    return faults, plans


# -- what a person sees ------------------------------------------------------------------------------------------------


def _say_verdict(faults: list[str]) -> None:
    if not faults:
        click.secho("Every planted defect was found exactly, and 0 repairable ones are left.", fg="green")
    for fault in faults:
        click.secho(f"WRONG: {fault}", fg="red")


def _say_undo(home: Path, plan_ids: Mapping[str, list[str]], *, after_up: bool) -> None:
    click.echo("To undo the repair of the sample (the last plan first), in a shell:")
    if after_up:
        click.echo(f"  SESSION_ASSETS_HOME={shlex.quote(str(home))} session-assets up --detach")
    click.echo(f"  . {shlex.quote(str(home / 'demo' / 'env'))}")
    for slice_, ids in plan_ids.items():
        if after_up and slice_ == identity.SLICE:
            click.echo(f"  # {slice_}: the emulator keeps documents in memory, they went with it")
            continue
        for plan_id in reversed(ids):
            click.echo(f"  session-assets revert {slice_} --plan-id {plan_id}")


def _free_port(port: int) -> int:
    for candidate in range(port, min(port + _PORTS_TRIED, 65_536)):
        if ports.is_free(candidate):
            return candidate
    raise UsageError(f"No port from {port} on is free. Choose another one with --port.")


def _show_ui(port: int) -> None:
    url = f"http://127.0.0.1:{port}"
    click.echo(f"\nThe Dagster UI comes up at {url} (in some ten seconds). Look at:")
    for path, text in (*(look for slice_ in SLICES for look in slice_.LOOK), _RUNS):
        click.echo(f"  {url + path:<56} {text}")
    click.echo("Ctrl-C stops the UI, and the servers that the demo started.")
    run_ui(ports.LOOPBACK, port, quiet=True)
