"""The command group, and how errors become exit codes: one clear line, no traceback for what a person can mend."""

from __future__ import annotations

import importlib
import os
import sys
import warnings

import click

from session_assets.cli.interrupts import INTERRUPTED, STOPPED, end_in_time
from session_assets.cli.startup import quick_imports
from session_assets.disk import refused
from session_assets.errors import SessionAssetsError, StoreUnavailable
from session_assets.masking import safe_lines

_COMMANDS = {
    "up": "servers",
    "down": "servers",
    "env": "servers",
    "status": "servers",
    "dev": "servers",
    "verify": "loop",
    "plan": "loop",
    "apply": "loop",
    "revert": "loop",
    "ingest": "ingest",
    "import": "imports:import_files",
    "jobs": "jobs",
    "errors": "jobs",
    "rejects": "jobs",
    "pause": "jobs",
    "resume": "imports",
    "fail": "jobs",
    "index": "index",
    "summary": "summary",
    "target": "target",
    "ledger": "ledger",
    "flow": "flow",
    "api": "api",
    "demo": "demo",
}
_SERVING = {"up", "down", "dev", "api", "demo"}
"""Commands that end other programs first, each in its time."""


class _Lazy(click.Group):
    """Imports a command's module only when it is called: `up` need not wait for Dagster."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        module, _, function = _COMMANDS[cmd_name].partition(":")
        with quick_imports():
            return getattr(importlib.import_module(f"session_assets.cli.{module}"), function or cmd_name)


@click.command(cls=_Lazy)
@click.version_option(package_name="session-assets")
def cli() -> None:
    """Repair session collections: preview, apply beside live traffic, audit, undo.

    Exit codes: 0 clean · 1 a check failed as ERROR, or a row failed or was rejected · 2 usage or configuration · 3 a
    store cannot be reached · 4 someone else holds the lock · 130 interrupted.
    """


def _lost_store(error: Exception) -> SessionAssetsError | None:
    """The Dagster database or a disk behind an error of Dagster's or Python's own; None for what is a fault of ours."""
    if "dagster" in sys.modules:
        from session_assets.stores.dagster_database import explained

        if (found := explained(error)) is not None:
            return found
    why = refused(error)
    return None if why is None else StoreUnavailable("A disk", "SESSION_ASSETS_HOME or another folder", why)


def _unraisable(failed: sys.UnraisableHookArgs) -> None:
    """What fails while something is cleared away: a lost server in one line, as any other time; the rest as Python shows it."""
    if isinstance(failed.exc_value, SessionAssetsError):
        click.echo(f"note: {safe_lines(failed.exc_value)}", err=True)
    else:
        sys.__unraisablehook__(failed)


def main() -> None:
    """Entry point of `session-assets`."""
    sys.unraisablehook = _unraisable
    os.umask(0o077)  # whatever a command makes is for its user alone: documents are in ledgers, logs and databases
    warnings.simplefilter("ignore")  # Dagster's, of what is beta: each command that loads the assets would print them
    try:
        if not _SERVING.intersection(sys.argv[1:2]):
            end_in_time()
        code = cli.main(standalone_mode=False)
    except click.exceptions.Abort:
        click.echo(STOPPED, err=True)
        sys.exit(INTERRUPTED)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except Exception as error:
        told = error if isinstance(error, SessionAssetsError) else _lost_store(error)
        if told is None:
            raise
        click.echo(f"error: {safe_lines(told)}", err=True)
        sys.exit(told.exit_code)
    sys.exit(code if isinstance(code, int) else 0)
