"""PostgreSQL's own programs as child processes. One that waits in silence is ended, as our own calls are (see `silence`).

Nobody sees the bytes of another process. But one that got a byte uses the processor, however little.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psutil
import psycopg
from psycopg import pq

from session_assets.errors import StoreUnavailable
from session_assets.masking import safe_text
from session_assets.stores import silence
from session_assets.stores.postgres import Database
from session_assets.stores.postgres_silence import named_works

_LEAST_DENIALS = 2  # a statement may begin just after we asked


def run_program(program: Path, database: Database, options: Sequence[str]) -> str | None:
    """Run a program on a database; its first line of complaint if it failed, else None.

    Raises `StoreUnavailable` if the server is gone, or silent for SESSION_ASSETS_SILENCE_SECONDS without working for it.
    """
    name = f"session-assets {program.name} pid {os.getpid()}"
    clean = {key: value for key, value in os.environ.items() if not key.startswith("PG")}
    with subprocess.Popen(
        [program, *options],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env={**clean, **program_environment(database), "PGAPPNAME": name},
    ) as process:
        try:
            said = _Patience(process, database, name).wait()
        except BaseException:
            process.kill()
            raise
    if not process.returncode:
        return None
    database.connect(program.name).close()  # raises `StoreUnavailable` if the server is gone
    lines = [line for line in said.splitlines() if line.strip()] or ["it says nothing"]
    return f"{program.name} failed: {safe_text(lines[0])[:300]}"


class _Patience:
    """Waits for a program, and asks its server whether it works for it where it rests for too long."""

    def __init__(self, process: subprocess.Popen[str], database: Database, name: str) -> None:
        self._process, self._database, self._name = process, database, name
        self._used, self._since, self._denied = -1.0, 0.0, 0

    def wait(self) -> str:
        """What it complained of, once it has ended."""
        seconds = silence.limit()
        while True:
            try:
                return self._process.communicate(timeout=seconds / 6)[1]
            except subprocess.TimeoutExpired:
                if self._rests_for() >= seconds:
                    self._doubt(seconds)

    def _rests_for(self) -> float:
        """Seconds without any use of the processor."""
        used, now = self._used, time.monotonic()
        try:
            times = psutil.Process(self._process.pid).cpu_times()
            used = times.user + times.system
        except psutil.NoSuchProcess:  # it has just ended: `communicate` tells
            self._since = now
        if used != self._used:
            self._used, self._since, self._denied = used, now, 0
        return now - self._since

    def _doubt(self, seconds: float) -> None:
        try:
            works = named_works(self._database.url, self._name)
        except psycopg.Error:
            why = "and the server could not be asked whether it works for it"
        else:
            why = "and the server says that it does not work for it"
            if works:
                self._since, self._denied = time.monotonic(), 0
                return
        self._denied += 1
        if self._denied >= _LEAST_DENIALS:
            said = f"no byte came for {seconds:,.0f} s to {self._name}, {why}"
            raise StoreUnavailable("PostgreSQL", self._database.variable, said)


def program_environment(database: Database) -> dict[str, str]:
    """The database as variables for PostgreSQL's own programs: a URL among arguments would be seen by everybody."""
    found: dict[str, Any] = {}
    for option in pq.Conninfo.parse(database.url.encode()):
        if option.envvar and option.val is not None:
            found[option.envvar.decode()] = option.val.decode()
    return found
