"""The whole check: servers, the released tree at work, then this tree."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from session_assets_tests.shared_home import fast_folder
from session_assets_tests.upgrade.parts import Part
from session_assets_tests.upgrade.released import current_tree, released_tree, require_history
from session_assets_tests.upgrade.report import Report
from session_assets_tests.upgrade.shell import Shell, exported, opened

_DAYS = 40  # partitions: a little more than the samples cover


def upgrade_check(parts: Sequence[Part], report: Report, *, without: Sequence[str] = ()) -> None:
    """Let the released tree make a home with these parts, and this tree take it over.

    `without` names variables of embedded servers that no part needs. Raises `ReleaseMissing`.
    """
    require_history()
    with _folder() as folder, released_tree(folder / "released") as released:
        home = folder / "home"
        with opened(released, folder / "released-output", home) as old:
            old.variables |= _settings()
            made: list[Part] = []
            try:
                with _timed(report, f"{released.name} starts its servers"):
                    old("up", "--detach", variables=dict.fromkeys(without, "http://not.needed"))
                    old.variables |= _stores(old)
                for part in parts:
                    with _timed(report, f"{released.name} makes {part.name}"), report.part(f"{part.name}: made"):
                        part.make(old)
                        made.append(part)
            finally:
                with opened(current_tree(), folder / "this-output", home) as new:
                    _take_over(made, report, old, new)


def _take_over(parts: Sequence[Part], report: Report, old: Shell, new: Shell) -> None:
    """Also the servers that run are taken over, and stopped at the end."""
    try:
        new.variables |= _settings()
        if parts:
            report.equal("servers: this tree finds those that run", _stores(old), stores := _stores(new))
            new.variables |= stores
        for part in parts:
            with _timed(report, f"this tree takes over {part.name}"), report.part(f"{part.name}: taken over"):
                part.take_over(new, report)
    finally:
        new("down")


def _stores(shell: Shell) -> dict[str, str]:
    return exported(shell("env").out)


def _settings() -> dict[str, str]:
    since = datetime.now(UTC) - timedelta(days=_DAYS)
    return {
        "WEB_START_DATE": since.date().isoformat(),
        "SESSION_ASSETS_MAX_UNREADABLE_SHARE": "0.1",  # small samples plant more documents of wrong types than 1 %
    }


@contextmanager
def _folder() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="session-assets-upgrade-", dir=fast_folder()))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _timed(report: Report, what: str) -> Iterator[None]:
    began = time.monotonic()
    yield
    report.say(f"       {what}: {time.monotonic() - began:.1f} s")
