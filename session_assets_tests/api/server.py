"""`session-assets api` as a process of its own, and calls of it."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from session_assets_tests.web.acceptance.terminal import Running, Terminal

TOKEN = "canary-token-0123456789abcdef"
TOKEN_VARIABLE = "SESSION_ASSETS_API_TOKEN"
_START_SECONDS = 60


@dataclass
class Api:
    """A running server."""

    url: str
    terminal: Terminal
    running: Running
    client: httpx.Client

    @property
    def log(self) -> str:
        return self.running.errors

    def get(self, path: str, **options: Any) -> httpx.Response:
        return self.client.get(path, **options)

    def post(self, path: str, **options: Any) -> httpx.Response:
        return self.client.post(path, **options)

    def upload(self, path: str, file: Path, name: str | None = None) -> httpx.Response:
        with file.open("rb") as content:
            return self.client.post(path, files={"file": (name or file.name, content)})

    def runbook(self, command: str, folder: Path, **variables: str) -> str:
        """A command of a runbook, with another host and port, and the token; its standard output."""
        there = command.replace("http://localhost:3002", self.url).replace(
            "https://your-app.azurewebsites.net", self.url
        )
        added = "" if "<token>" in there else f'-H "Authorization: Bearer {TOKEN}" '
        with_token = there.replace("curl ", f"curl {added}").replace("<token>", TOKEN)
        environment = {**os.environ, "no_proxy": "*", **variables}
        done = subprocess.run(
            ["bash", "-o", "pipefail", "-c", with_token], cwd=folder, env=environment, capture_output=True, timeout=120
        )
        assert done.returncode == 0, (command, done.stdout, done.stderr)
        return done.stdout.decode()


HAS_CURL = all(shutil.which(name) for name in ("bash", "curl", "jq", "awk"))


@contextmanager
def started(terminal: Terminal, **variables: str) -> Iterator[Api]:
    """A server on a free port; it is stopped at the end."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    running = terminal.start("api", "--port", str(port), **{TOKEN_VARIABLE: TOKEN, **variables})
    url = f"http://127.0.0.1:{port}"
    headers = {"Authorization": f"Bearer {variables.get(TOKEN_VARIABLE, TOKEN)}"}
    with httpx.Client(base_url=url, headers=headers, timeout=90, trust_env=False) as client:
        api = Api(url, terminal, running, client)
        deadline = time.monotonic() + _START_SECONDS
        while True:
            try:
                client.get("/openapi.json")
                break
            except httpx.ConnectError:
                assert running.is_alive() and time.monotonic() < deadline, running.errors
                time.sleep(0.05)
        yield api
    if running.is_alive():
        os.kill(running.pid, signal.SIGTERM)
    running.wait()
