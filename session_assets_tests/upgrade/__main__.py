"""`python -m session_assets_tests.upgrade [PART…]`: all parts, or those that are named."""

from __future__ import annotations

import signal
import sys

import click

from session_assets_tests.upgrade.check import upgrade_check
from session_assets_tests.upgrade.contest import Contest
from session_assets_tests.upgrade.flow import Flow
from session_assets_tests.upgrade.identity import Identity
from session_assets_tests.upgrade.kintell import Kintell
from session_assets_tests.upgrade.released import ReleaseMissing
from session_assets_tests.upgrade.report import Report
from session_assets_tests.upgrade.schedules import Schedules
from session_assets_tests.upgrade.web import Web

_PARTS = {
    "web": Web,
    "contest": Contest,
    "identity": Identity,
    "kintell": Kintell,
    "flow": Flow,
    "schedules": Schedules,
}


def main(names: list[str]) -> int:
    """0: everything held. 1: something is broken. 2: the released tree, or a part of that name, is missing."""
    unknown = [name for name in names if name not in _PARTS]
    if unknown:
        click.echo(f"there is no part {unknown[0]}. Choose from: {', '.join(_PARTS)}.", err=True)
        return 2
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that servers are stopped
    report = Report(say=click.echo)
    try:
        upgrade_check([make() for name, make in _PARTS.items() if not names or name in names], report)
    except ReleaseMissing as missing:
        click.echo(f"upgrade-check cannot run: {missing}", err=True)
        return 2
    click.echo(f"{len(report.held)} held, {len(report.broken)} broken")
    return int(bool(report.broken))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
