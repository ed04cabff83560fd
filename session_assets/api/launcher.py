"""Imports at work: each in a process of its own, as `session-assets resume JOB` starts one, so that it outlives this server.

The run is seen in the Dagster UI. Who holds a job is told by its lock in the database, whoever started it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from session_assets.api.settings import TOKEN
from session_assets.errors import LockHeld
from session_assets.kintell.jobs import Job

_LOOK_SECONDS = 0.1


class Busy(Exception):
    """As many imports are at work as may be."""


class NotBegun(Exception):
    """An import ended before it began; `code` is the exit code of the terminal."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code


class Launcher:
    """Starts imports, at most `most` at once, each job once."""

    def __init__(self, home: Path, most: int) -> None:
        self._logs = home / "api"
        self._most = most
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._attempts: dict[str, int] = {}
        """Of each job when its process was started: it has begun once it has another one."""
        self._lock = threading.Lock()

    def start(self, job: Job, *arguments: str) -> subprocess.Popen[bytes]:
        """Begin or go on with a job, or do with it what the arguments of `session-assets` say.

        Raises `LockHeld` if somebody works on it already, and `Busy`.
        """
        with self._lock:
            self._require_idle(job)
            if len(self._running) >= self._most:
                raise Busy(f"{self._most} imports are at work. Resume job {job.id} when one of them is done.")
            self._running[job.id] = process = self._process(job.id, arguments or ("resume", job.id))
            self._attempts[job.id] = job.attempt
            return process

    def require_idle(self, job: Job) -> None:
        """Raises `LockHeld` where somebody works on a job."""
        with self._lock:
            self._require_idle(job)

    def seen(self, job: Job) -> Job:
        """The job as of now: a process that was started for it, and does not hold it so far, is about to."""
        with self._lock:
            process = self._running.get(job.id)
            is_starting = process is not None and process.poll() is None and job.attempt == self._attempts[job.id]
        if process is None or not is_starting or job.holder is not None:
            return job
        return replace(job, phase="starting", holder=f"process {process.pid} of this server")

    def _require_idle(self, job: Job) -> None:
        self._running = {known: one for known, one in self._running.items() if one.poll() is None}
        if job.holder or job.id in self._running:
            who = job.holder or f"process {self._running[job.id].pid} of this server"
            raise LockHeld(f"{job.file_name} (job {job.id}) is worked on by: {who}. Its status tells how far it is.")

    def wait(self, job: Job, process: subprocess.Popen[bytes], seconds: float, get: Callable[[str], Job]) -> Job:
        """The job at its end, or after some seconds. Raises what kept it from beginning."""
        self._wait(process, seconds)
        now = get(job.id)
        code = process.poll()
        has_begun = now.attempt != job.attempt or now.status == "failed"
        if code and not has_begun and (code >= 2 or (job.status == "completed" and self._error(job.id))):
            raise NotBegun(code, self._said(job.id))
        return self.seen(now)

    def answer(self, job: Job, process: subprocess.Popen[bytes], seconds: float) -> dict[str, Any] | None:
        """The object of `--json` that a process ended with; None if it is at work still. Raises `NotBegun` if it has none."""
        self._wait(process, seconds)
        code = process.poll()
        if code is None:
            return None
        found = self._objects(job.id)
        if not found or found[-1].get("error"):
            raise NotBegun(code, self._said(job.id))
        return found[-1]

    def _wait(self, process: subprocess.Popen[bytes], seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while process.poll() is None and time.monotonic() < deadline:
            time.sleep(_LOOK_SECONDS)

    def _process(self, job_id: str, arguments: Sequence[str]) -> subprocess.Popen[bytes]:
        self._logs.mkdir(mode=0o700, parents=True, exist_ok=True)
        command = [str(Path(sys.executable).parent / "session-assets"), *arguments, "--json"]
        environment = {name: value for name, value in os.environ.items() if name != TOKEN}
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
        with os.fdopen(os.open(self._log(job_id), flags, 0o600), "wb") as log:
            return subprocess.Popen(
                command, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )

    def _log(self, job_id: str) -> Path:
        return self._logs / f"{job_id}.log"

    def _said(self, job_id: str) -> str:
        """The error that a process ended with."""
        return self._error(job_id) or f"Job {job_id} could not be started. The log of its run says why."

    def _error(self, job_id: str) -> str:
        for line in reversed(self._log(job_id).read_text(errors="replace").splitlines()):
            if line.startswith("error: "):
                return line.removeprefix("error: ")
        return next((str(one["error"]) for one in reversed(self._objects(job_id)) if one.get("error")), "")

    def _objects(self, job_id: str) -> list[dict[str, Any]]:
        lines = self._log(job_id).read_text(errors="replace").splitlines()
        return [json.loads(line) for line in lines if line.startswith("{")]
